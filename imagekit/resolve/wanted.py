"""What Python layers ask for, in one form for all kinds."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, assert_never

from imagekit.layers import (
    PipPackages,
    PythonLayer,
    Requirements,
    UVProject,
    UVScript,
)
from imagekit.python_inputs.install_args import InstallArgs
from imagekit.records import dataclass, field
from imagekit.resolve.credentials import redact
from imagekit.resolve.indexes import Indexes

if TYPE_CHECKING:
    from imagekit.python_inputs.requirements_file import RequirementLine
    from imagekit.python_inputs.uv_project import ProjectFiles

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?=\s*(?:$|[^:/\w.-]))")
#: Options of uv that may be given more than once.
_REPEATABLE = frozenset(
    (
        "--no-binary",
        "--only-binary",
        "--prerelease-package",
        "--exclude-newer-package",
        "--no-sources-package",
        "--allow-insecure-host",
        "--refresh-package",
        "--constraints",
        "--overrides",
        "--excludes",
        "--build-constraints",
        "--extra",
        "--group",
    )
)
_FLAGS = frozenset(
    (
        "--no-build",
        "--no-sources",
        "--offline",
        "--system-certs",
        "--refresh",
        "--all-extras",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What one layer asks for.

    Attributes:
        lines: requirements.
        constraints: limits for versions, asking for nothing.
        overrides: requirements that replace those of distributions.
        sources: files whose dependencies uv itself reads.
        document: text of a pyproject.toml whose dependencies uv itself reads.
        options: options for ``uv pip compile``.
        project: the uv project, where its lock decides.
        variables: environment variables from secrets.
        rest: a hash of everything but *lines*.
    """

    layer: PythonLayer
    lines: tuple[RequirementLine, ...] = ()
    constraints: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    document: str | None = None
    options: tuple[str, ...] = ()
    indexes: Indexes = field(default_factory=Indexes)
    args: InstallArgs = field(default_factory=InstallArgs)
    require_hashes: bool = False
    project: ProjectFiles | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    rest: str = ""

    @property
    def origin(self) -> str:
        """Where the layer was written."""
        return str(self.layer.origin)

    @property
    def folder(self) -> str:
        """Where uv looks for its configuration."""
        if isinstance(self.layer, UVProject):
            return os.path.dirname(self.layer.pyproject.location)
        return self.layer.origin.folder

    @property
    def is_locked(self) -> bool:
        """Whether what it installs is not to be changed by other layers."""
        return self.project is not None or self.args.no_deps

    @property
    def texts(self) -> tuple[str, ...]:
        """The requirements without logins."""
        return tuple(redact(line.text) for line in self.lines)

    @property
    def names(self) -> frozenset[str]:
        """Normalized names of what is asked for, where the texts tell."""
        found = (requirement_name(line.text) for line in self.lines)
        return frozenset(name for name in found if name)

    @property
    def hashes(self) -> dict[str, tuple[str, ...]]:
        """The hashes that requirements list, by normalized name."""
        found: dict[str, tuple[str, ...]] = {}
        for line in self.lines:
            name = requirement_name(line.text)
            if name and line.hashes:
                found[name] = found.get(name, ()) + line.hashes
        return found

    @property
    def title(self) -> str:
        """What is asked for, for people."""
        match self.layer:
            case PipPackages():
                return ", ".join(map(repr, map(redact, self.layer.packages)))
            case Requirements():
                return f"the requirements in {self.layer.file.name!r}"
            case UVProject():
                return f"the project {self.layer.pyproject.name!r}"
            case UVScript():
                return f"the script {self.layer.script.name!r}"
            case _:
                assert_never(self.layer)


def requirement_name(text: str) -> str | None:
    """Return the normalized name that a requirement starts with, or None.

    >>> requirement_name("Typing_Extensions>=4; python_version < '3.12'")
    'typing-extensions'
    """
    if "://" in text.partition("@")[0] or text.startswith(("git+", "/", ".")):
        return None
    found = _NAME.match(text.strip())
    if not found:
        return None
    from imagekit.python_inputs.uv_project import normalized  # noqa: PLC0415

    return normalized(found[0])


def merged_options(options: Iterable[str]) -> tuple[str, ...]:
    """Return uv's *options* with each single-valued one once: the last one counts."""
    items = iter(options)
    single: dict[str, tuple[str, ...]] = {}
    repeated: dict[tuple[str, str], None] = {}
    for name in items:
        if name in _FLAGS or not name.startswith("-"):
            single[name] = (name,)
        elif name in _REPEATABLE:
            repeated[name, next(items)] = None
        else:
            single[name] = (name, next(items))
    flat = [word for words in single.values() for word in words]
    return (*flat, *(word for pair in repeated for word in pair))
