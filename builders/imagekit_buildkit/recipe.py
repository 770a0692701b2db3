"""What BuildKit is given: a Dockerfile, the files that it copies, and its secrets.

A recipe is data. :mod:`imagekit_buildkit.lowering` makes it from a plan and fetches
nothing; :mod:`imagekit_buildkit.context` writes its files.
"""

from __future__ import annotations

from typing import TypeAlias

from imagekit.origin import Origin
from imagekit.plan import BaseImage, Distribution
from imagekit.platform import Platform
from imagekit.records import dataclass
from imagekit.secret import Secret
from imagekit.sources import Tree

#: Named context of a base that is an OCI layout, and the stage of any other base.
BASE = "base"

#: Secret that holds the host's certificate authorities.
CA_SECRET = "imagekit-ca"  # noqa: S105  (a name, not a secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEntry:
    """A file of the context, with its bytes."""

    path: str
    content: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkEntry:
    """A symbolic link of the context."""

    path: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeEntry:
    """The files of a tree, in the folder *path* of the context; empty is its root."""

    path: str
    tree: Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelEntry:
    """A wheel, as the file *path* of the context."""

    path: str
    distribution: Distribution


ContextEntry: TypeAlias = TextEntry | LinkEntry | TreeEntry | WheelEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretUse:
    """A secret that BuildKit gets under *id*, and the step that asks for it."""

    id: str
    secret: Secret
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """An instruction of the Dockerfile, for people who look for what went wrong.

    Attributes:
        line: its first line in the Dockerfile, from 1.
        title: what it does (``apt packages curl``, ``command 'make'``).
        command: what it runs, as the user wrote it; empty where nothing is run.
        origin: where the user asked for it.
    """

    line: int
    title: str
    command: str = ""
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that one solve needs.

    Attributes:
        base: the base; None for a user's Dockerfile. One with a ``LayoutSource`` has
            to be given as the named context ``BASE``.
        build_args: values of ``ARG`` instructions: of a user's Dockerfile, or of
            environment variables with line breaks.
        target: stage to build; None for the last.
        downloads: whether a step reaches the network, and so needs ``CA_SECRET``.
        created: SOURCE_DATE_EPOCH of the build, in seconds.
    """

    platform: Platform
    dockerfile: str
    entries: tuple[ContextEntry, ...]
    base: BaseImage | None
    secrets: tuple[SecretUse, ...] = ()
    instructions: tuple[Instruction, ...] = ()
    build_args: tuple[tuple[str, str], ...] = ()
    target: str | None = None
    downloads: bool = False
    created: int
