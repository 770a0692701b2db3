"""``Image``: what an image is made of, as an immutable value.

Building an image value reads nothing and never fails for what is not there: see
:meth:`Image.validate` and :mod:`imagekit.contents` for the reading.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, ClassVar

from imagekit import arguments
from imagekit.canonical import fingerprint
from imagekit.errors import DefinitionError, InvalidLayerError
from imagekit.layers import (
    AptPackages,
    Base,
    Commands,
    DebianBase,
    DockerfileBase,
    DockerIgnore,
    Env,
    ImageBase,
    Layer,
    LayoutBase,
    PipPackages,
    ProjectInstallMode,
    Requirements,
    Runtime,
    SourceFile,
    SourceFolder,
    UVProject,
    UVScript,
    WorkDir,
)
from imagekit.origin import Origin, SourcePath, caller
from imagekit.platform import Architecture
from imagekit.records import dataclass
from imagekit.secret import SecretRequest, secrets_from_request

#: Name of images that were given none.
DEFAULT_NAME = "imagekit"

_BOTH: tuple[Architecture, ...] = ("linux/amd64", "linux/arm64")
_ONE: tuple[Architecture, ...] = ("linux/amd64",)


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Image:
    """A base and the layers on top of it.

    Start with one of the ``from_*`` constructors; each ``with_*`` method returns a new
    image. Images are equal if they are defined alike, wherever their files lie.

    >>> image = Image.from_base("docker.io/library/python:3.12-slim").clone(name="app")
    >>> image.with_pip_packages() is image
    True
    >>> image.with_env_vars({"A": "1"}) == image.with_env_vars({"A": "1"})
    True
    """

    kind: ClassVar[str] = "image"

    base: Base
    layers: tuple[Layer, ...]
    registry: str | None
    name: str | None
    platform: tuple[str, ...]
    requested_python: tuple[int, int] | None
    extendable: bool

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        raise TypeError(
            "an Image is made with Image.from_debian_base(), Image.from_base(), "
            "Image.from_dockerfile() or Image.from_uv_script(), not with Image(...)"
        )

    @classmethod
    def _new(cls, **values: Any) -> Image:
        image = object.__new__(cls)
        for name, value in values.items():
            object.__setattr__(image, name, value)
        return image

    # Constructors -----------------------------------------------------------------

    @classmethod
    def from_debian_base(
        cls,
        python_version: tuple[int, int] | None = None,
        flyte_version: str | None = None,
        install_flyte: bool = True,
        registry: str | None = None,
        name: str | None = None,
        platform: tuple[Architecture, ...] | None = None,
    ) -> Image:
        """Return an image on the official slim Python image, with a virtual env.

        Args:
            python_version: minor version; by default that of the interpreter that
                builds the image.
            flyte_version: a released version of the runtime, from the package index;
                by default the running installation's own files.
            install_flyte: whether the runtime is part of the image.
            registry: where the image is pushed.
            name: the image's name.
            platform: one or more platforms; by default amd64 and arm64.

        Raises:
            DefinitionError: an argument can't mean anything.
        """
        origin = caller()
        runtime = Runtime(
            version=flyte_version.removeprefix("v") if flyte_version else None,
            origin=origin,
        )
        return cls._new(
            base=DebianBase(origin=origin),
            layers=(runtime,) if install_flyte else (),
            registry=arguments.registry(registry),
            name=DEFAULT_NAME if name is None else arguments.name(name),
            platform=arguments.platforms(platform, _BOTH),
            requested_python=arguments.python_version(python_version),
            extendable=True,
        )

    @classmethod
    def from_base(cls, image_uri: str) -> Image:
        """Return the existing image *image_uri* as an image.

        Nothing is built for it. To add layers, give it a name with :meth:`clone`.

        Args:
            image_uri: a reference (``ghcr.io/team/base:1``), or ``oci:PATH``,
                ``oci:PATH:TAG`` for an OCI image layout on disk, or
                ``docker-daemon:NAME`` for an image of the local engine.
        """
        return cls.from_base_at(image_uri, caller())

    @classmethod
    def from_base_at(cls, image_uri: str, origin: Origin) -> Image:
        """Return what :meth:`from_base` returns where *origin* is."""
        image_uri = arguments.text("the reference of an image", image_uri)
        base: Base
        if image_uri.startswith("oci:"):
            path, reference = arguments.layout_reference(image_uri.removeprefix("oci:"))
            base = LayoutBase(
                path=SourcePath.of(path, origin), reference=reference, origin=origin
            )
        else:
            base = ImageBase(reference=image_uri, origin=origin)
        return cls._new(
            base=base,
            layers=(),
            registry=None,
            name=None,
            platform=_ONE,
            requested_python=None,
            extendable=True,
        )

    @classmethod
    def from_dockerfile(
        cls,
        file: Path | str,
        registry: str | None = None,
        name: str | None = None,
        platform: Architecture | tuple[Architecture, ...] | None = None,
        *,
        build_args: Mapping[str, str] | None = None,
        target: str | None = None,
    ) -> Image:
        """Return the image that *file* describes; its folder is the build context.

        It takes no further layers: write them into the Dockerfile.

        Args:
            file: path of the Dockerfile. ``<file>.dockerignore`` or ``.dockerignore``
                beside it says what is no part of the context.
            registry: where the image is pushed.
            name: the image's name.
            platform: one or more platforms; by default amd64.
            build_args: values of its ``ARG`` instructions. They can be read in the
                image's history: a secret does not belong here.
            target: the stage to build; by default the last.
        """
        if isinstance(platform, str):
            platform = (platform,)
        origin = caller()
        return cls._new(
            base=DockerfileBase(
                file=arguments.path("file", file, origin),
                build_args=arguments.build_args(build_args or {}, origin),
                target=arguments.text("the name of a stage", target)
                if target
                else None,
                origin=origin,
            ),
            layers=(),
            registry=arguments.registry(registry),
            name=arguments.name(name),
            platform=arguments.platforms(platform, _ONE),
            requested_python=None,
            extendable=True,
        )

    @classmethod
    def from_uv_script(
        cls,
        script: Path | str,
        *,
        name: str,
        registry: str | None = None,
        python_version: tuple[int, int] | None = None,
        index_url: str | None = None,
        extra_index_urls: str | Sequence[str] | None = None,
        pre: bool = False,
        extra_args: str | None = None,
        platform: tuple[Architecture, ...] | None = None,
        secret_mounts: SecretRequest | None = None,
    ) -> Image:
        """Return an image with what the header of *script* asks for (PEP 723).

        The script's ``requires-python`` chooses the Python where *python_version* does
        not; if they exclude each other, planning the build says so. The body of the
        script plays no part in the image.
        """
        origin = caller()
        path = arguments.path("script", script, origin)
        layer = UVScript(
            script=path,
            options=arguments.options(
                index_url, extra_index_urls, pre, extra_args, secret_mounts
            ),
            origin=origin,
        )
        return cls._new(
            base=DebianBase(script=path, origin=origin),
            layers=(Runtime(origin=origin), layer),
            registry=arguments.registry(registry),
            name=arguments.name(name),
            platform=arguments.platforms(platform, _BOTH),
            requested_python=arguments.python_version(python_version),
            extendable=True,
        )

    def clone(
        self,
        registry: str | None = None,
        name: str | None = None,
        python_version: tuple[int, int] | None = None,
        addl_layer: Layer | None = None,
        *,
        platform: Architecture | tuple[Architecture, ...] | None = None,
        extendable: bool | None = None,
    ) -> Image:
        """Return this image under another registry or name, or with another Python.

        Args:
            registry: where the copy is pushed; None keeps it.
            name: the copy's name; None keeps it.
            python_version: the copy's Python; None keeps it.
            addl_layer: a layer to add.
            platform: the copy's platforms; None keeps them.
            extendable: whether the copy takes further layers; None keeps it.
        """
        if isinstance(platform, str):
            platform = (platform,)
        copy = self._with(
            registry=arguments.registry(registry) or self.registry,
            name=arguments.name(name) or self.name,
            requested_python=arguments.python_version(python_version)
            or self.requested_python,
            platform=arguments.platforms(platform, self.platform),
        )
        if addl_layer is not None:
            copy = copy.with_layers(addl_layer)
        if extendable is not None:
            copy = copy._with(extendable=extendable)  # noqa: SLF001  (of this class)
        return copy

    # Layers -----------------------------------------------------------------------

    def with_layers(self, *layers: Layer) -> Image:
        """Return this image with *layers* on top; the image itself if there are none.

        Raises:
            DefinitionError: the image can't take layers.
        """
        if not layers:
            return self
        if isinstance(self.base, DockerfileBase):
            raise DefinitionError(
                "an image from a Dockerfile takes no further layers",
                hint="write them into the Dockerfile",
                origin=str(layers[0].origin),
            )
        if self.name is None:
            raise DefinitionError(
                f"can't add a layer to {self.uri!r}, which has no name of its own",
                hint="name the new image first: image.clone(name='app')",
                origin=str(layers[0].origin),
            )
        if not self.extendable:
            raise DefinitionError(
                "can't add a layer to an image that was cloned with extendable=False",
                hint="clone it with extendable=True",
                origin=str(layers[0].origin),
            )
        return self._with(layers=(*self.layers, *layers))

    def with_pip_packages(
        self,
        *packages: str,
        index_url: str | None = None,
        extra_index_urls: str | Sequence[str] | None = None,
        pre: bool = False,
        extra_args: str | None = None,
        secret_mounts: SecretRequest | None = None,
    ) -> Image:
        """Return this image with Python distributions from an index.

        Args:
            packages: requirements as pip writes them, one an argument.
            index_url: the index that replaces the default one.
            extra_index_urls: indexes that are asked before it.
            pre: whether pre-releases may be chosen.
            extra_args: further options of ``uv pip install``.
            secret_mounts: secrets for the step, such as an index password.
        """
        layer = PipPackages(
            packages=arguments.texts("with_pip_packages", packages),
            options=arguments.options(
                index_url, extra_index_urls, pre, extra_args, secret_mounts
            ),
            origin=caller(),
        )
        return self.with_layers(layer) if packages else self

    def with_requirements(
        self,
        file: str | Path,
        secret_mounts: SecretRequest | None = None,
        *,
        index_url: str | None = None,
        extra_index_urls: str | Sequence[str] | None = None,
        pre: bool = False,
        extra_args: str | None = None,
    ) -> Image:
        """Return this image with the distributions that a requirements file lists."""
        origin = caller()
        path = arguments.path("file", file, origin)
        if not path.location.endswith(".txt"):
            raise InvalidLayerError(
                f"a requirements file must end in '.txt', found {str(file)!r}",
                origin=str(origin),
            )
        options = arguments.options(
            index_url, extra_index_urls, pre, extra_args, secret_mounts
        )
        return self.with_layers(Requirements(file=path, options=options, origin=origin))

    def with_uv_project(
        self,
        pyproject_file: str | Path,
        uvlock: Path | str | None = None,
        index_url: str | None = None,
        extra_index_urls: Sequence[str] | str | None = None,
        pre: bool = False,
        extra_args: str | None = None,
        secret_mounts: SecretRequest | None = None,
        *,
        project_install_mode: ProjectInstallMode = "dependencies_only",
    ) -> Image:
        """Return this image with the locked dependencies of a uv project.

        Args:
            pyproject_file: the project's ``pyproject.toml``.
            uvlock: its lock; by default the ``uv.lock`` beside it, if there is one.
            index_url: the index that replaces the default one.
            extra_index_urls: indexes that are asked before it.
            pre: whether pre-releases may be chosen (without a lock).
            extra_args: further options, such as ``--extra web`` or ``--group test``.
            secret_mounts: secrets for the step, such as an index password.
            project_install_mode: ``install_project`` installs the project too.
        """
        if project_install_mode not in ("dependencies_only", "install_project"):
            raise InvalidLayerError(
                "project_install_mode must be 'dependencies_only' or "
                f"'install_project', found {project_install_mode!r}"
            )
        origin = caller()
        layer = UVProject(
            pyproject=arguments.path("pyproject_file", pyproject_file, origin),
            uvlock=None if uvlock is None else arguments.path("uvlock", uvlock, origin),
            mode=project_install_mode,
            options=arguments.options(
                index_url, extra_index_urls, pre, extra_args, secret_mounts
            ),
            origin=origin,
        )
        return self.with_layers(layer)

    def with_apt_packages(
        self, *packages: str, secret_mounts: SecretRequest | None = None
    ) -> Image:
        """Return this image with Debian packages, and no recommended ones."""
        layer = AptPackages(
            packages=arguments.texts("with_apt_packages", packages),
            secret_mounts=secrets_from_request(secret_mounts),
            origin=caller(),
        )
        return self.with_layers(layer) if packages else self

    def with_commands(
        self, commands: list[str], secret_mounts: SecretRequest | None = None
    ) -> Image:
        """Return this image with shell *commands* run in it, one after the other."""
        layer = Commands(
            commands=arguments.texts("with_commands", commands),
            secret_mounts=secrets_from_request(secret_mounts),
            origin=caller(),
        )
        return self.with_layers(layer) if commands else self

    def with_env_vars(self, env_vars: Mapping[str, str]) -> Image:
        """Return this image with environment variables; values are taken literally."""
        origin = caller()
        layer = Env(variables=arguments.variables(env_vars, origin), origin=origin)
        return self.with_layers(layer) if env_vars else self

    def with_workdir(self, workdir: str) -> Image:
        """Return this image with another working directory, made if it is missing."""
        origin = caller()
        workdir = arguments.text("a folder in the image as a text", workdir)
        return self.with_layers(WorkDir(path=workdir, origin=origin))

    def with_source_file(
        self, src: Path | str | Sequence[Path | str], dst: str = "."
    ) -> Image:
        """Return this image with a file; by default in the working directory.

        Args:
            src: a file, or several.
            dst: where it goes; a folder if it ends in ``/``, is ``.`` or if there are
                several files.
        """
        origin = caller()
        sources = [src] if isinstance(src, str | PurePath) else list(src)
        names = [PurePath(item).name for item in sources]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InvalidLayerError(
                f"two files named {twice!r} would both go to {dst!r}",
                hint="copy them one by one, each with its own dst",
                origin=str(origin),
            )
        folder = dst if len(sources) == 1 or dst.endswith("/") else f"{dst}/"
        return self.with_layers(
            *(
                SourceFile(
                    src=arguments.path("src", item, origin), dst=folder, origin=origin
                )
                for item in sources
            )
        )

    def with_source_folder(
        self, src: Path | str, dst: str = ".", copy_contents_only: bool = True
    ) -> Image:
        """Return this image with a folder; by default into the working directory.

        Version control, virtual environments, caches and ``.env`` files are left out
        (:data:`imagekit.ignore.DEFAULT_PATTERNS`); a ``.dockerignore`` in the folder
        or :meth:`with_dockerignore` adds to that, and brings back with ``!``.

        Args:
            src: the folder.
            dst: the folder in the image that receives it.
            copy_contents_only: False puts the folder itself into *dst*, under its name.
        """
        origin = caller()
        layer = SourceFolder(
            src=arguments.path("src", src, origin),
            dst=dst,
            copy_contents_only=copy_contents_only,
            origin=origin,
        )
        return self.with_layers(layer)

    def with_dockerignore(self, path: Path | str) -> Image:
        """Return this image with *path* as the ignore file of all its folders."""
        origin = caller()
        return self.with_layers(
            DockerIgnore(path=arguments.path("path", path, origin), origin=origin)
        )

    def with_local_v2(self) -> Image:
        """Return this image with the runtime from the checkout that is running.

        It replaces a runtime that the image has already.
        """
        layer = Runtime(checkout=True, origin=caller())
        others = tuple(item for item in self.layers if not isinstance(item, Runtime))
        return self._with(layers=others).with_layers(layer)

    # Names ------------------------------------------------------------------------

    @property
    def identifier(self) -> str:
        """Name of the definition: ``ik1-`` and 64 hex digits. Reads nothing.

        The specification is ``docs/identity.md``.
        """
        return f"ik1-{fingerprint('image', self)}"

    @property
    def content_id(self) -> str:
        """Name of the definition and of all bytes that it reads: the tag in *uri*.

        Raises:
            PlanError: a file that the image needs is not there or can't be read.
        """
        from imagekit.naming import content_id  # noqa: PLC0415  (reads the disk)

        return content_id(self)

    @property
    def uri(self) -> str:
        """Where the image is or will be: ``registry/name:tag``.

        For an existing image that is its own reference.

        Raises:
            PlanError: a file that the image needs is not there or can't be read.
        """
        from imagekit.naming import image_uri  # noqa: PLC0415  (reads the disk)

        return image_uri(self)

    def validate(self) -> None:
        """Check everything that the image reads, and that its names are valid.

        Raises:
            ValidationError: it has faults; all of them are listed.
        """
        from imagekit.validation import validate  # noqa: PLC0415  (reads the disk)

        validate(self)

    # The names of the seed's constructor parameters ---------------------------------

    @property
    def python_version(self) -> tuple[int, int]:
        """The requested Python, else that of the running interpreter."""
        return self.requested_python or sys.version_info[:2]

    @property
    def base_image(self) -> str | None:
        """The reference of the base as it was written; None for a Dockerfile."""
        from imagekit.bases import base_reference  # noqa: PLC0415  (reads a script)

        return base_reference(self)

    @property
    def dockerfile(self) -> Path | None:
        """The Dockerfile, if the image is made from one."""
        if isinstance(self.base, DockerfileBase):
            return Path(self.base.file.location)
        return None

    @property
    def _layers(self) -> tuple[Layer, ...]:
        return self.layers

    def _with(self, **changes: Any) -> Image:
        values = {name: getattr(self, name) for name in self.__slots__}
        return Image._new(**{**values, **changes})

    def __repr__(self) -> str:
        kinds = ", ".join(layer.kind for layer in self.layers) or "no layers"
        name = f" {self.name}" if self.name else ""
        return f"<Image{name} on {self.base.kind}: {kinds}>"
