"""Containers as environments: an image, some packages on top, and what runs in it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imagekit import arguments
from imagekit.building import BuildOptions, adapt, build_image, prepare
from imagekit.errors import ImageKitError, PlanError
from imagekit.image import DEFAULT_NAME, Image
from imagekit.layers import DebianBase, DockerfileBase, ImageBase, LayoutBase
from imagekit.naming import is_existing
from imagekit.platform import Platform
from imagekit.prefect_environments.base import Environment
from imagekit.prefect_environments.build_log import BuildLog
from imagekit.prefect_environments.dockerfile_folder import replaced
from imagekit.prefect_environments.local_engine import (
    engine_client,
    engine_errors,
    load_layout,
)
from imagekit.prefect_environments.secret_delivery import (
    FOLDER,
    secret_assignments,
    send_secrets,
    waiting_command,
)
from imagekit.redaction import Redactor
from imagekit.reference import Reference
from imagekit.secret import SecretRequest
from imagekit.secret_values import secret_value
from imagekit.settings import load_settings
from imagekit.task_errors import ImagePullBackOffError, RuntimeSystemError

if TYPE_CHECKING:
    import python_on_whales

_ENGINE_SCHEME = "docker-daemon:"


class ContainerEnvironment(Environment):
    """An image with Python packages, in the local engine, and its containers.

    Args:
        image: a reference (``python:3.12-slim``), ``oci:PATH`` for an OCI image layout
            on disk, ``docker-daemon:NAME`` for an image of the engine, or an
            :class:`imagekit.Image`.
        tag: name of the image that is built, as ``docker build --tag`` takes it.
        python_dependencies: requirements as pip writes them.
        secrets: secrets that containers get when they run, as environment variables
            or files. No image, log or description of a container has their values;
            the image needs a shell for it.

    Attributes:
        image: what is built, dependencies included.

    Raises:
        DefinitionError: an argument can't mean anything.
    """

    def __init__(
        self,
        image: str | Image,
        tag: str | None = None,
        python_dependencies: Sequence[str] | None = None,
        secrets: SecretRequest | None = None,
    ) -> None:
        super().__init__(secrets)
        self.tag = None if tag is None else _familiar(Reference.parse(tag))
        self.python_dependencies = arguments.texts(
            "python_dependencies", python_dependencies or ()
        )
        self._base = _as_image(image)
        self.image = self._base
        if self.python_dependencies:
            named = self._base.clone(name=self._base.name or DEFAULT_NAME)
            self.image = named.with_pip_packages(*self.python_dependencies)
        self._built: str | None = None

    def build(self) -> tuple[python_on_whales.Image, Iterator[str]]:
        """Build the image, and bring it into the engine.

        Returns:
            The engine's image, and the lines of the build's log.

        Raises:
            ImageKitError: it can't be built; see :mod:`imagekit.errors`.
            BuilderUnavailableError: there is no engine.
        """
        log = BuildLog()
        if is_existing(self.image):
            name = self._bring(log)
        else:
            options = BuildOptions(
                push=False, outputs=("docker",), platforms=(_platform(self.image),)
            )
            result = build_image(self.image, options, progress=log)
            log.lines += result.log.splitlines()
            name = str(result)
        docker = engine_client()
        with engine_errors(RuntimeSystemError, f"can't use the image {name!r}"):
            if self.tag is not None:
                docker.image.tag(name, self.tag)
                name = self.tag
            found = docker.image.inspect(name)
        self._built = name
        redact = Redactor(self._known_values())
        return found, iter([redact(line) for line in log.lines])

    def create_dockerfile(self, directory: Path | str | None = None) -> None:
        """Write the image as a Dockerfile, with the files that it copies.

        ``docker build`` with that folder makes the image; where it takes more, such as
        a build context for ``oci:PATH``, the first lines say so. It is for this
        machine's platform, if the image is for that.

        Args:
            directory: an existing or new folder; by default the working directory.
                What an earlier call wrote there is replaced.

        Raises:
            ImageKitError: it has no form as a Dockerfile, something that it needs is
                not there, or the folder has files of these names.
        """
        from imagekit.dockerfile_writing import dockerfile  # noqa: PLC0415  (builders)

        folder = Path.cwd() if directory is None else Path(directory)
        options = BuildOptions(platforms=(_platform(self.image),))
        settings = load_settings()
        image = adapt(self.image, options, settings)
        job = prepare(image, options, settings, BuildLog())
        try:
            with replaced(folder) as context:
                dockerfile(job, context)
        except OSError as error:
            if isinstance(error, ImageKitError):
                raise
            raise PlanError(
                f"can't write a Dockerfile to {str(folder)!r}: {error.strerror}",
                hint="name a folder that can be written",
            ) from error

    def pull_image(self) -> None:
        """Let the engine pull the image that this one is built on.

        Images that are on this machine already (``oci:PATH``, ``docker-daemon:NAME``)
        are only looked for. Building needs no pull: it takes from the registry what it
        lacks.

        Raises:
            ImagePullBackOffError: the engine can't pull it.
            SourceNotFoundError: there is no such layout.
        """
        base = self._base.base
        match base:
            case LayoutBase():
                from imagekit.oci.layout import Layout  # noqa: PLC0415

                Layout.open(base.path.location).resolve(base.reference)
            case DockerfileBase():
                raise ImagePullBackOffError(
                    f"can't pull {base.file.name!r}: it is a Dockerfile",
                    hint="build() pulls what it is built on",
                )
            case ImageBase() | DebianBase():
                reference = str(self._base.base_image)
                local = reference.startswith(_ENGINE_SCHEME)
                name = reference.removeprefix(_ENGINE_SCHEME)
                with engine_errors(ImagePullBackOffError, f"can't pull {name!r}"):
                    images = engine_client().image
                    images.inspect(name) if local else images.pull(name, quiet=True)

    def run(
        self, command: str | Sequence[str] | None = None, tty: bool = False
    ) -> python_on_whales.Container:
        """Start a container, and return it while it runs; build the image first.

        The container stays when its program has ended: its ``remove()`` is yours to
        call.

        Args:
            command: what to run in place of the image's command; a text is split as a
                shell does.
            tty: whether it gets a terminal, so that a shell or Python stays.

        Raises:
            PlanError: a secret has no value.
            RuntimeSystemError: the engine can't start it.
        """
        if self._built is None:
            self.build()
        assert self._built is not None
        argv = shlex.split(command) if isinstance(command, str) else list(command or ())
        docker = engine_client()
        with engine_errors(RuntimeSystemError, "can't start a container"):
            if not self.secrets:
                return docker.run(self._built, argv, detach=True, tty=tty)
            return self._run_with_secrets(docker, self._built, argv, tty=tty)

    def _run_with_secrets(
        self,
        docker: python_on_whales.DockerClient,
        image: str,
        argv: list[str],
        *,
        tty: bool,
    ) -> python_on_whales.Container:
        assignments = secret_assignments(self.secrets)
        config = docker.image.inspect(image).config
        own = [*(config.entrypoint or ()), *(argv or config.cmd or ())]
        shell, arguments_ = waiting_command(own)
        container = docker.run(
            image, arguments_, entrypoint=shell, detach=True, tty=tty, tmpfs=[FOLDER]
        )
        command = list(map(str, docker.client_config.docker_cmd))
        try:
            send_secrets(command, container.id, assignments)
        except BaseException:
            container.remove(force=True, volumes=True)
            raise
        return container

    def _bring(self, log: BuildLog) -> str:
        """Bring an image to which nothing is added into the engine; return its name."""
        base = self.image.base
        if isinstance(base, LayoutBase):
            return load_layout(base, self.tag or f"{DEFAULT_NAME}:latest", log)
        reference = str(self.image.base_image)
        name = reference.removeprefix(_ENGINE_SCHEME)
        with engine_errors(RuntimeSystemError, f"can't look for {name!r}"):
            known = engine_client().image.exists(name)
        if known:
            log.lines.append(f"the engine has {name}")
        else:
            self.pull_image()
            log.lines.append(f"pulled {name}")
        return name

    def _known_values(self) -> Iterator[str]:
        """Yield the values of those secrets that have one; building needs none."""
        for secret in self.secrets:
            try:
                yield secret_value(secret)
            except PlanError:
                continue  # what has no value can't be shown


def _as_image(image: object) -> Image:
    if isinstance(image, Image):
        return image
    if isinstance(image, str):
        found = Image.from_base(image)
        return found.clone(platform=str(Platform.host()))  # type: ignore[arg-type]  # one that images are built for
    raise TypeError(
        f"wanted an image as a text or an imagekit.Image, found {type(image).__name__}"
    )


def _familiar(reference: Reference) -> str:
    return str(reference if reference.tag else reference.with_tag("latest"))


def _platform(image: Image) -> str:
    here = str(Platform.host())
    return here if here in image.platform else image.platform[0]
