"""The bytes behind a definition: what an image reads, and the id that follows from it.

This is the only place that reads an image's own files. One walk gives the trees that
are hashed here and packed into layers later, so what is hashed is what is shipped.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, assert_never

from imagekit import ignore, sources
from imagekit.canonical import fingerprint
from imagekit.errors import (
    BaseNotFoundError,
    DefinitionError,
    ImageKitError,
    LayoutError,
    SourceNotFoundError,
    SourceUnreadableError,
    ValidationError,
)
from imagekit.layers import (
    AptPackages,
    Commands,
    DebianBase,
    DockerfileBase,
    DockerIgnore,
    Env,
    ImageBase,
    Layer,
    LayoutBase,
    PipPackages,
    PythonLayer,
    Requirements,
    Runtime,
    SourceFile,
    SourceFolder,
    UVProject,
    UVScript,
    WorkDir,
)
from imagekit.origin import Origin, SourcePath
from imagekit.reference import Reference, check_repository
from imagekit.runtime_files import checkout_fault, runtime_tree
from imagekit.settings import Settings, load_settings
from imagekit.sources import Tree

if TYPE_CHECKING:
    from imagekit.image import Image
    from imagekit.python_inputs.script_header import ScriptHeader
    from imagekit.stat_index import StatIndex

#: Debian release of the default base; a change is a new identity for its images.
_DEBIAN = "bookworm"

#: Time stamp of files and images where SOURCE_DATE_EPOCH is not set: 2 January 1980,
#: the first whole day that a zip file, and so a wheel, can express in every time zone.
DEFAULT_EPOCH = 315619200


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerContents:
    """A layer and what it reads.

    Attributes:
        tree: files of a source layer or of the runtime.
        reads: names and sha256 of other inputs, such as requirements files.
    """

    layer: Layer
    tree: Tree | None = None
    reads: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Everything that a definition reads from this machine.

    Attributes:
        base: reference of the base; None for a Dockerfile.
        base_key: what of the base enters the content id: the reference, or the digest
            of what a layout on disk holds.
        python: minor version that was asked for or follows from the interpreter or
            the script; None where the base decides.
        context: the build context of a Dockerfile, or None.
        created: time stamp of the image and its files, in seconds since the epoch.
    """

    base: str | None
    base_key: str | None
    python: tuple[int, int] | None
    platform: tuple[str, ...]
    layers: tuple[LayerContents, ...]
    context: Tree | None
    dockerfile: str | None
    created: int

    @property
    def content_id(self) -> str:
        """``ik1-`` and 64 hex digits, as ``docs/identity.md`` defines it."""
        key = (
            self.base_key,
            self.python,
            self.platform,
            tuple(_key(item) for item in self.layers),
            self.context.digest if self.context else None,
            self.dockerfile,
            None if self.created == DEFAULT_EPOCH else self.created,
        )
        return f"ik1-{fingerprint('content', key)}"


def read_contents(image: Image, *, index: StatIndex | None = None) -> Contents:
    """Read all that *image* names.

    Raises:
        PlanError: something is missing or can't be read.
        DefinitionError: something that was read is invalid.
    """
    rules = _ignore_rules(image)
    context = dockerfile = None
    with _at(image.base.origin):
        base, base_key, python = base_reference(image), _base_key(image), _python(image)
        if isinstance(image.base, DockerfileBase):
            context, dockerfile = _read_context(image.base.file, index)
    return Contents(
        base=base,
        base_key=base_key,
        python=python,
        platform=image.platform,
        layers=tuple(_read(layer, rules, index) for layer in image.layers),
        context=context,
        dockerfile=dockerfile,
        created=_created(),
    )


def content_id(image: Image) -> str:
    """Return the content id of *image*."""
    return read_contents(image).content_id


def image_uri(
    image: Image, *, settings: Settings | None = None, contents: Contents | None = None
) -> str:
    """Return where *image* is or will be."""
    if is_existing(image):
        assert not isinstance(image.base, DockerfileBase)
        return str(base_reference(image))
    contents = contents or read_contents(image)
    return f"{repository_name(image, settings)}:{tag(image, contents)}"


def is_existing(image: Image) -> bool:
    """Return whether *image* is a base and nothing else, so that nothing is built."""
    return isinstance(image.base, ImageBase | LayoutBase) and not image.layers


def repository_name(image: Image, settings: Settings | None = None) -> str:
    """Return ``registry/name``, or the name alone where no registry is known.

    Raises:
        InvalidReferenceError: no repository can have this name.
        DefinitionError: the image has no name.
    """
    settings = settings or load_settings()
    if image.name is None:
        raise DefinitionError(
            "the image has no name", hint="name it: image.clone(name='app')"
        )
    registry = image.registry or settings.registry
    prefix = f"{settings.name_prefix}" if settings.name_prefix else ""
    name = check_repository(f"{prefix}{image.name}")
    return f"{registry}/{name}" if registry else name


def tag(image: Image, contents: Contents) -> str:
    """Return the tag: the content id, after a speaking prefix for default images."""
    prefix = ""
    if isinstance(image.base, DebianBase) and contents.python:
        major, minor = contents.python
        if not image.layers:
            prefix = f"py{major}.{minor}-"
        elif len(image.layers) == 1 and isinstance(image.layers[0], Runtime):
            from imagekit import __version__  # noqa: PLC0415  (the package's own)

            version = image.layers[0].version or __version__
            prefix = f"py{major}.{minor}-v{version}-".replace("+", "-")
    return f"{prefix}{contents.content_id}"


def base_reference(image: Image) -> str | None:
    """Return the reference of the base as people write it; None for a Dockerfile."""
    base = image.base
    match base:
        case DebianBase():
            major, minor = _python(image) or sys.version_info[:2]
            return f"docker.io/library/python:{major}.{minor}-slim-{_DEBIAN}"
        case ImageBase():
            return base.reference
        case LayoutBase():
            if base.reference is None:
                return f"oci:{base.path.location}"
            joint = "@" if base.reference.startswith("sha256:") else ":"
            return f"oci:{base.path.location}{joint}{base.reference}"
        case DockerfileBase():
            return None
        case _:
            assert_never(base)


def _base_key(image: Image) -> str | None:
    if isinstance(image.base, LayoutBase):
        return f"oci@{_layout_digest(image.base)}"
    return base_reference(image)


def validate(image: Image) -> None:
    """Raise ValidationError with all faults of *image*, if it has any."""
    faults: list[ImageKitError] = []

    def attempt(action: Callable[[], object]) -> Any:
        try:
            return action()
        except ImageKitError as fault:
            faults.append(fault)
            return None

    if not is_existing(image):
        attempt(lambda: repository_name(image))
    attempt(lambda: _check_base(image))
    rules = attempt(lambda: _ignore_rules(image))
    for layer in image.layers:
        attempt(lambda layer=layer: _read(layer, rules, None))  # type: ignore[misc]
    unique = {str(fault): fault for fault in faults}
    if unique:
        raise ValidationError(tuple(unique.values()))


# Reading --------------------------------------------------------------------------


def _check_base(image: Image) -> None:
    base = image.base
    with _at(base.origin):
        match base:
            case DebianBase():
                base_reference(image)
            case ImageBase():
                if not base.reference.startswith("docker-daemon:"):
                    Reference.parse(base.reference)
            case LayoutBase():
                _layout_digest(base)
            case DockerfileBase():
                _read_context(base.file, None)
            case _:
                assert_never(base)


def _read(
    layer: Layer, rules: ignore.IgnoreRules | None, index: StatIndex | None
) -> LayerContents:
    with _at(layer.origin):
        match layer:
            case SourceFile():
                tree = sources.single_file(layer.src.location, _file_name(layer))
                return LayerContents(layer=layer, tree=tree)
            case SourceFolder():
                return LayerContents(
                    layer=layer, tree=_read_folder(layer, rules, index)
                )
            case Runtime():
                if layer.checkout:
                    checkout_fault()
                return LayerContents(
                    layer=layer, tree=None if layer.version else runtime_tree()
                )
            case PipPackages() | Requirements() | UVProject() | UVScript():
                reads = (*_python_reads(layer), *_option_reads(layer))
                return LayerContents(layer=layer, reads=tuple(sorted(reads)))
            case AptPackages() | Commands() | DockerIgnore() | Env() | WorkDir():
                return LayerContents(layer=layer)
            case _:
                assert_never(layer)


def _file_name(layer: SourceFile) -> str:
    if layer.dst.endswith("/") or PurePosixPath(layer.dst).name in ("", ".", ".."):
        return os.path.basename(layer.src.location)
    return PurePosixPath(layer.dst).name


def _read_folder(
    layer: SourceFolder, rules: ignore.IgnoreRules | None, index: StatIndex | None
) -> Tree:
    if rules is None:
        own = os.path.join(layer.src.location, ".dockerignore")
        rules = _rules_of(own) if os.path.isfile(own) else ignore.DEFAULT
    tree = sources.walk(layer.src.location, rules, index=index)
    if layer.copy_contents_only:
        return tree
    name = os.path.basename(layer.src.location)
    return tree.below(name)


def _python_reads(layer: PythonLayer) -> tuple[tuple[str, str], ...]:
    match layer:
        case PipPackages():
            return _read_packages(layer)
        case Requirements():
            return _read_requirements(layer)
        case UVProject():
            return _read_project(layer)
        case UVScript():
            header = _script_header(layer.script)
            local = _digests(header.files, header.folders)
            return (("header", _sha256(header.text)), *local)
        case _:
            assert_never(layer)


def _read_packages(layer: PipPackages) -> tuple[tuple[str, str], ...]:
    """Return local projects and archives; most packages are none."""
    suspects = [text for text in layer.packages if "/" in text or text[0] == "."]
    if not suspects:
        return ()
    from imagekit.python_inputs.local_path import local_requirement  # noqa: PLC0415

    folder = Path(layer.origin.folder)
    found = [
        (text, local)
        for text in suspects
        if (local := local_requirement(text, folder)) is not None
    ]
    return _digests(
        tuple((text, str(local.path)) for text, local in found if local.is_archive),
        tuple((text, str(local.path)) for text, local in found if not local.is_archive),
    )


def _read_requirements(layer: Requirements) -> tuple[tuple[str, str], ...]:
    from imagekit.python_inputs.requirements_file import (  # noqa: PLC0415
        read_requirements,
    )

    found = read_requirements(layer.file.location)
    return _digests(found.files, found.folders)


def _read_project(layer: UVProject) -> tuple[tuple[str, str], ...]:
    from imagekit.python_inputs.uv_project import read_project  # noqa: PLC0415

    lock = layer.uvlock.location if layer.uvlock else None
    found = read_project(layer.pyproject.location, lock, layer.mode)
    return _digests(found.files, found.folders)


def _option_reads(layer: PythonLayer) -> tuple[tuple[str, str], ...]:
    """Return the files that ``extra_args`` name, such as constraints."""
    if not layer.options.extra_args:
        return ()
    from imagekit.python_inputs.install_args import (  # noqa: PLC0415
        parse_extra_args,
    )

    found = parse_extra_args(
        layer.options.extra_args,
        folder=layer.origin.folder,
        project=isinstance(layer, UVProject),
    )
    return _digests(found.files, ())


def _digests(
    files: tuple[tuple[str, str], ...], folders: tuple[tuple[str, str], ...]
) -> tuple[tuple[str, str], ...]:
    reads = [
        (name, sources.single_file(location, "file").entries[0].sha256 or "")
        for name, location in files
    ]
    for name, location in folders:
        tree = sources.walk(location, ignore.DEFAULT)
        reads.append((f"{name}/", tree.digest))
    return tuple(sorted(reads))


def _read_context(file: SourcePath, index: StatIndex | None) -> tuple[Tree, str]:
    folder, name = os.path.split(file.location)
    text = _text(file.location)
    for candidate in (f"{file.location}.dockerignore", f"{folder}/.dockerignore"):
        if os.path.isfile(candidate):
            rules = ignore.IgnoreRules.parse(
                _text(candidate), name=candidate, defaults=False
            )
            break
    else:
        rules = ignore.NOTHING
    tree = sources.walk(folder, rules, index=index)
    return tree, _sha256(f"{name}\0{text}")


def _ignore_rules(image: Image) -> ignore.IgnoreRules | None:
    """Return the rules of the image's last ignore file, or None if it names none."""
    rules = None
    for layer in image.layers:
        if isinstance(layer, DockerIgnore):
            with _at(layer.origin):
                rules = _rules_of(layer.path.location)
    return rules


def _rules_of(path: str) -> ignore.IgnoreRules:
    return ignore.IgnoreRules.parse(_text(path), name=path)


def _python(image: Image) -> tuple[int, int] | None:
    if not isinstance(image.base, DebianBase):
        return image.requested_python
    if image.base.script is None:
        return image.requested_python or sys.version_info[:2]
    from imagekit.python_inputs.script_header import (  # noqa: PLC0415
        parse_script,
        python_for_script,
    )

    script = image.base.script
    header = parse_script(_text(script.location), name=script.location)
    return python_for_script(header, image.requested_python, sys.version_info[:2])


def _script_header(script: SourcePath) -> ScriptHeader:
    from imagekit.python_inputs.script_header import parse_script  # noqa: PLC0415

    return parse_script(_text(script.location), name=script.location)


def _layout_digest(base: LayoutBase) -> str:
    from imagekit.oci.layout import Layout  # noqa: PLC0415  (only for layouts)

    try:
        return str(Layout.open(base.path.location).resolve(base.reference).digest)
    except LayoutError as error:
        raise BaseNotFoundError(
            str(error), hint="wanted oci:PATH, oci:PATH:TAG or oci:PATH@DIGEST"
        ) from error


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise SourceNotFoundError(
            f"no file {path!r}", hint="create it, or correct the path"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise SourceUnreadableError(f"can't read {path!r}: {reason}") from error


def _sha256(text: str) -> str:
    return fingerprint("text", text)


def _created() -> int:
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if not text:
        return DEFAULT_EPOCH
    if not text.isascii() or not text.isdigit() or int(text) >= 1 << 33:
        raise DefinitionError(
            f"SOURCE_DATE_EPOCH must be seconds since 1970, found {text!r}",
            hint="unset it, or set it to a whole number",
        )
    return int(text)


@contextmanager
def _at(origin: Origin | None) -> Iterator[None]:
    try:
        yield
    except ImageKitError as error:
        error.at(str(origin) if origin else None)
        raise


# Keys -----------------------------------------------------------------------------


def _key(contents: LayerContents) -> tuple[object, ...]:
    """Return what of a layer enters the content id: no path of this machine."""
    layer, tree = contents.layer, contents.tree
    match layer:
        case SourceFile():
            assert tree is not None
            return (layer.kind, _folder_of(layer), tree.digest)
        case SourceFolder():
            assert tree is not None
            return (layer.kind, layer.dst, tree.digest)
        case Runtime():
            # A checkout and an installation with the same files are the same runtime.
            return (layer.kind, layer.version, tree.digest if tree else None)
        case Requirements() | UVScript():
            return (layer.kind, layer.options, contents.reads)
        case PipPackages():
            return (layer.kind, layer.packages, layer.options, contents.reads)
        case UVProject():
            return (layer.kind, layer.mode, layer.options, contents.reads)
        case AptPackages() | Commands() | Env() | WorkDir():
            return (layer.kind, layer)
        case DockerIgnore():
            return (layer.kind,)
        case _:
            assert_never(layer)


def _folder_of(layer: SourceFile) -> str:
    """Return the folder that receives the file; its name is in the tree."""
    if layer.dst.endswith("/") or PurePosixPath(layer.dst).name in ("", ".", ".."):
        return layer.dst
    return str(PurePosixPath(layer.dst).parent)
