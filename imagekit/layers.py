"""The closed union of layers that an image is made of.

Layers are data: what was asked for, in canonical form, and where it was written. They
read nothing. To add a kind, add it to the union: the type checker then names every
place that has to learn it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from imagekit.origin import Origin, SourcePath
from imagekit.records import dataclass, field
from imagekit.secret import Secret

if TYPE_CHECKING:
    from imagekit.sources import Tree

ProjectInstallMode: TypeAlias = Literal["dependencies_only", "install_project"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallOptions:
    """How Python distributions are looked for.

    Attributes:
        index_url: the index that replaces the default one.
        extra_index_urls: indexes that are asked before it, in order.
        pre: whether pre-releases may be chosen.
        extra_args: further options of ``uv pip install``, as a shell would split them.
        secret_mounts: secrets that the step may use.
    """

    kind: ClassVar[str] = "install-options"

    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    pre: bool = False
    extra_args: str | None = None
    secret_mounts: tuple[Secret, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PipPackages:
    """Distributions from an index, as requirement texts (PEP 508)."""

    kind: ClassVar[str] = "pip-packages"

    packages: tuple[str, ...]
    options: InstallOptions
    origin: Origin = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """Distributions that a requirements file lists."""

    kind: ClassVar[str] = "requirements"

    file: SourcePath
    options: InstallOptions
    origin: Origin = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class UVProject:
    """The locked dependencies of a uv project, and the project itself if asked."""

    kind: ClassVar[str] = "uv-project"

    pyproject: SourcePath
    uvlock: SourcePath | None
    mode: ProjectInstallMode
    options: InstallOptions
    origin: Origin = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class UVScript:
    """The dependencies in a script's header (PEP 723); the body plays no part."""

    kind: ClassVar[str] = "uv-script"

    script: SourcePath
    options: InstallOptions
    origin: Origin = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """imagekit's own runtime, so that tasks can run in the image.

    Attributes:
        version: a released version from the index; None is the running installation.
        checkout: whether the running installation has to be a source checkout.
    """

    kind: ClassVar[str] = "runtime"

    version: str | None = None
    checkout: bool = False
    origin: Origin = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AptPackages:
    """Debian packages."""

    kind: ClassVar[str] = "apt-packages"

    packages: tuple[str, ...]
    secret_mounts: tuple[Secret, ...] = ()
    origin: Origin = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """Shell commands, one after the other."""

    kind: ClassVar[str] = "commands"

    commands: tuple[str, ...]
    secret_mounts: tuple[Secret, ...] = ()
    origin: Origin = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file, copied to *dst* (a folder if it ends in ``/`` or is ``.``)."""

    kind: ClassVar[str] = "source-file"

    src: SourcePath
    dst: str
    origin: Origin = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFolder:
    """A folder, copied into *dst*: its contents, or under its own name."""

    kind: ClassVar[str] = "source-folder"

    src: SourcePath
    dst: str
    copy_contents_only: bool = True
    origin: Origin = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeBundle:
    """Files that were read already: the code of tasks, and what runs it.

    Attributes:
        digest: of the tree; names it in identities.
        dst: an absolute path.
        label: what the layer is called where it is listed.
    """

    kind: ClassVar[str] = "code-bundle"

    digest: str
    dst: str
    label: str = field(compare=False)
    tree: Tree = field(compare=False)
    origin: Origin = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerIgnore:
    """The ignore file of all source folders of the image."""

    kind: ClassVar[str] = "dockerignore"

    path: SourcePath
    origin: Origin = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Env:
    """Environment variables, sorted by name; values are taken literally."""

    kind: ClassVar[str] = "env"

    variables: tuple[tuple[str, str], ...]
    origin: Origin = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkDir:
    """The working directory from here on; relative to the one before."""

    kind: ClassVar[str] = "workdir"

    path: str
    origin: Origin = field(compare=False)


PythonLayer: TypeAlias = PipPackages | Requirements | UVProject | UVScript
SourceLayer: TypeAlias = SourceFile | SourceFolder | CodeBundle
ExecutingLayer: TypeAlias = AptPackages | Commands
ConfigLayer: TypeAlias = Env | WorkDir | DockerIgnore
Layer: TypeAlias = PythonLayer | SourceLayer | ExecutingLayer | ConfigLayer | Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class DebianBase:
    """The official slim Python image on Debian, with a virtual environment.

    Attributes:
        script: a PEP 723 script whose ``requires-python`` helps to choose the Python.
    """

    kind: ClassVar[str] = "debian-base"

    script: SourcePath | None = None
    origin: Origin | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBase:
    """An image in a registry, as *reference* was written."""

    kind: ClassVar[str] = "image-base"

    reference: str
    origin: Origin | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutBase:
    """An OCI image layout on disk, from ``oci:PATH[:TAG][@DIGEST]``.

    Attributes:
        path: folder of the layout.
        reference: tag or digest in its index; None where it has one image only.
    """

    kind: ClassVar[str] = "layout-base"

    path: SourcePath
    reference: str | None = None
    origin: Origin | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerfileBase:
    """A Dockerfile; its folder is the build context.

    Attributes:
        build_args: values of its ``ARG`` instructions, sorted by name.
        target: the stage to build; None for the last.
    """

    kind: ClassVar[str] = "dockerfile"

    file: SourcePath
    build_args: tuple[tuple[str, str], ...] = ()
    target: str | None = None
    origin: Origin = field(compare=False)


Base: TypeAlias = DebianBase | ImageBase | LayoutBase | DockerfileBase
