"""What a builder is given: pinned, resolved data that says exactly what to make.

A plan is made by :mod:`imagekit.resolve`, which does all the reading. Builders turn it
into an image and decide nothing about its contents.
"""

from __future__ import annotations

from typing import TypeAlias

from imagekit.digest import Digest
from imagekit.origin import Origin
from imagekit.platform import Platform
from imagekit.records import dataclass, field
from imagekit.secret import Secret
from imagekit.sources import Tree

#: Where the virtual environment of every image is.
VENV = "/opt/venv"

#: Time stamp of files and images where SOURCE_DATE_EPOCH is not set: 2 January 1980,
#: the first whole day that a zip file, and so a wheel, can express in every time zone.
DEFAULT_EPOCH = 315619200


@dataclass(frozen=True, slots=True, kw_only=True)
class Libc:
    """The C library of a base: ``glibc`` or ``musl`` and its version."""

    name: str
    version: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A Python inside the base image.

    Attributes:
        path: absolute path in the image, such as ``/usr/local/bin/python3.11``.
        version: minor version, ``(3, 11)``.
        full_version: ``3.11.9``, or the minor version where only that is known.
    """

    path: str
    version: tuple[int, int]
    full_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDescriptor:
    """A layer blob (OCI descriptor.md), with the digest of its uncompressed tar."""

    media_type: str
    digest: Digest
    size: int
    diff_id: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySource:
    """The base's blobs are in *repository* of *registry*."""

    registry: str
    repository: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutSource:
    """The base's blobs are in the OCI image layout at *path*."""

    path: str


BlobSource: TypeAlias = RegistrySource | LayoutSource


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseImage:
    """A base image for one platform, pinned.

    Attributes:
        name: the reference as people know it (annotation ``…base.name``).
        manifest: digest of its manifest for the platform.
        config: its OCI image config, as the JSON bytes that were hashed.
        layers: its layers, bottom first.
        source: where its blobs are.
        interpreter: its Python; None where it has none or none is needed.
        libc: its C library; None where unknown.
        links: symbolic links of its top folders, path to target
            (``/lib`` → ``usr/lib``), which layers on top must not replace.
    """

    name: str
    platform: Platform
    manifest: Digest
    config: bytes
    layers: tuple[LayerDescriptor, ...]
    source: BlobSource
    interpreter: Interpreter | None = None
    libc: Libc | None = None
    links: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """One wheel, pinned by hash, as it goes into a virtual environment.

    Attributes:
        name: normalized name (PEP 503).
        version: version text.
        filename: the wheel's file name.
        sha256: hex digest of the wheel file.
        size: bytes of the wheel file; None where unknown before it is fetched.
        url: where it can be fetched; None where the store holds it (built wheels).
        requested: whether the user asked for it, rather than another distribution.
        direct_url: text of ``direct_url.json`` (PEP 610), or None.
    """

    name: str
    version: str
    filename: str
    sha256: str
    size: int | None = None
    url: str | None = field(default=None, compare=False)
    requested: bool = False
    direct_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVenv:
    """Make the virtual environment on the base's interpreter."""

    interpreter: Interpreter
    prefix: str = VENV
    origin: Origin | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallDistributions:
    """Install wheels into the virtual environment.

    Attributes:
        distributions: what this layer adds or brings to another version, by name.
        removed: names of distributions of earlier layers that it takes away.
    """

    interpreter: Interpreter
    distributions: tuple[Distribution, ...]
    removed: tuple[str, ...] = ()
    prefix: str = VENV
    secret_mounts: tuple[Secret, ...] = ()
    origin: Origin | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyTree:
    """Copy the entries of *tree* into the folder *destination* (absolute)."""

    tree: Tree
    destination: str
    label: str
    origin: Origin | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetEnv:
    """Set environment variables to literal values, from here on."""

    variables: tuple[tuple[str, str], ...]
    origin: Origin | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetWorkdir:
    """Set the working directory to an absolute path, and make sure it exists."""

    path: str
    origin: Origin | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallAptPackages:
    """Install Debian packages. Must execute."""

    packages: tuple[str, ...]
    secret_mounts: tuple[Secret, ...] = ()
    origin: Origin | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCommands:
    """Run shell commands, one after the other. Must execute."""

    commands: tuple[str, ...]
    secret_mounts: tuple[Secret, ...] = ()
    origin: Origin | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildDockerfile:
    """Build a Dockerfile in its context. Must execute; is the only step.

    Attributes:
        file: name of the Dockerfile, for people.
        text: what it says; it may be left out of the context by the ignore file.
        build_args: values of its ``ARG`` instructions, sorted by name.
        target: the stage to build; None for the last.
    """

    file: str
    text: str
    context: Tree
    build_args: tuple[tuple[str, str], ...] = ()
    target: str | None = None
    origin: Origin | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddLayers:
    """Put layers on top that were made elsewhere: what an executing step became.

    No plan has such a step from the start; the hybrid builder replaces executing steps
    by it.

    Attributes:
        key: what decided the layers.
        titles: what each holds, for people.
        source: where the blobs are that the store lacks.
        reused: whether they were there before this build.
    """

    layers: tuple[LayerDescriptor, ...]
    titles: tuple[str, ...]
    key: str
    source: RegistrySource | None = field(default=None, compare=False)
    reused: bool = field(default=False, compare=False)
    origin: Origin | None = field(default=None, compare=False)


Step: TypeAlias = (
    CreateVenv
    | InstallDistributions
    | CopyTree
    | SetEnv
    | SetWorkdir
    | InstallAptPackages
    | RunCommands
    | BuildDockerfile
    | AddLayers
)
ExecutingStep: TypeAlias = InstallAptPackages | RunCommands | BuildDockerfile


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformPlan:
    """The steps for one platform.

    Attributes:
        base: None for a Dockerfile only.
        installer: uv for this platform, with which a builder can install distributions
            inside the image; None where nobody asked for it.
    """

    platform: Platform
    base: BaseImage | None
    steps: tuple[Step, ...]
    installer: Distribution | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that a builder needs to make an image.

    Attributes:
        identifier: name of the definition.
        content_id: name of the definition and of all the bytes that it reads; a tag.
        platforms: one plan a platform, in the order of the index.
        created: time stamp of every file and of the image, seconds since the epoch.
    """

    identifier: str
    content_id: str
    platforms: tuple[PlatformPlan, ...]
    created: int
