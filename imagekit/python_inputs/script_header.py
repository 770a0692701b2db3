"""The header of a script: its dependencies as inline metadata (PEP 723)."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from imagekit.errors import DefinitionError
from imagekit.python_inputs.local_path import local_requirement
from imagekit.records import dataclass, field

# The reference expression of the specification ("Inline script metadata").
_BLOCK = re.compile(
    r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$"
)
_OPENING = re.compile(r"(?m)^# /// script$")

#: Pythons that are tried, newest first, where neither user nor host decides.
_PYTHONS = tuple((3, minor) for minor in range(14, 9, -1))
#: More patch releases than a Python has ever had.
_PATCHES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptHeader:
    """What a script asks for.

    Attributes:
        requires_python: a version specifier, or None.
        dependencies: requirement texts (PEP 508).
        settings: the ``[tool.uv]`` table.
        folders: names and absolute paths of the local projects that it depends on.
        files: names and absolute paths of the local archives that it depends on.
        text: canonical form of the header: what is hashed. The body and the comments
            of the header play no part.
    """

    requires_python: str | None
    dependencies: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    folders: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    text: str = ""


def parse_script(text: str, *, name: str) -> ScriptHeader:
    """Return the header of the script *text*.

    Args:
        text: the script.
        name: its path, in whose folder relative paths start.

    Raises:
        DefinitionError: it has no header, or more than one, or an invalid one.
    """
    content = _content(text.replace("\r\n", "\n").replace("\r", "\n"), name)
    try:
        document = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise DefinitionError(
            f"the header of the script {name!r} is not TOML: {error}",
            hint="correct the lines between '# /// script' and '# ///'",
        ) from error
    dependencies = document.get("dependencies", [])
    if not isinstance(dependencies, list) or not all(
        isinstance(item, str) for item in dependencies
    ):
        raise DefinitionError(
            f"'dependencies' in the header of {name!r} must be an array of texts, "
            f"found {dependencies!r}"
        )
    requires = document.get("requires-python")
    if requires is not None:
        if not isinstance(requires, str):
            raise DefinitionError(
                f"'requires-python' in the header of {name!r} must be a text, "
                f"found {requires!r}"
            )
        _specifiers(requires, name)
    settings = document.get("tool", {}).get("uv", {})
    local = _local(dependencies, settings, Path(name).parent)
    return ScriptHeader(
        requires_python=requires,
        dependencies=tuple(dependencies),
        settings=settings,
        folders=tuple((key, path) for key, path, archive in local if not archive),
        files=tuple((key, path) for key, path, archive in local if archive),
        text=json.dumps(document, sort_keys=True, default=str, separators=(",", ":")),
    )


def python_for_script(
    header: ScriptHeader, requested: tuple[int, int] | None, host: tuple[int, int]
) -> tuple[int, int]:
    """Return the Python minor version that the script runs on.

    That is *requested*, which must do; else the one of the *host* if it does; else
    the newest one that does.

    Raises:
        DefinitionError: *requested* is excluded by the script, or every Python is.
    """
    wanted = header.requires_python
    if wanted is None:
        return requested or host
    if requested is not None:
        if not _allows(wanted, requested):
            raise DefinitionError(
                f"the script requires Python {wanted!r}, but Python "
                f"{requested[0]}.{requested[1]} was asked for",
                hint="change 'requires-python' in the script, or python_version=",
            )
        return requested
    for candidate in (host, *_PYTHONS):
        if _allows(wanted, candidate):
            return candidate
    newest, oldest = _PYTHONS[0], _PYTHONS[-1]
    raise DefinitionError(
        f"the script requires Python {wanted!r}, and none from "
        f"{oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]} is that",
        hint="change 'requires-python' in the script",
    )


def allows_python(requires_python: str, full_version: str) -> bool:
    """Return whether *requires_python* admits the Python *full_version*."""
    parts = full_version.split(".")
    specifiers = _specifiers(requires_python, "a project")
    if len(parts) == 2:  # noqa: PLR2004  (only the minor version is known)
        return _allows(requires_python, (int(parts[0]), int(parts[1])))
    return bool(specifiers.contains(full_version, prereleases=True))


def _content(text: str, name: str) -> str:
    blocks = [match for match in _BLOCK.finditer(text) if match["type"] == "script"]
    if len(blocks) > 1:
        raise DefinitionError(
            f"the script {name!r} has {len(blocks)} headers, and may have one",
            hint="keep one '# /// script' block",
        )
    if not blocks:
        opened = _OPENING.search(text)
        raise DefinitionError(
            f"the header of the script {name!r} is not closed, or has a line that "
            "does not start with '# '"
            if opened
            else f"the script {name!r} has no header with its dependencies",
            hint="close it with a line '# ///'"
            if opened
            else "start it with a '# /// script' block (PEP 723), "
            "for example with 'uv add --script'",
        )
    return "".join(
        line[2:] if line.startswith("# ") else line[1:]
        for line in blocks[0]["content"].splitlines(keepends=True)
    )


def _local(
    dependencies: list[str], settings: dict[str, Any], folder: Path
) -> list[tuple[str, str, bool]]:
    """Return name, absolute path and whether it is an archive of what is local."""
    texts = list(dependencies)
    for name, source in settings.get("sources", {}).items():
        texts += [
            f"{name} @ {item['path']}"
            for item in (source if isinstance(source, list) else [source])
            if isinstance(item, dict) and isinstance(item.get("path"), str)
        ]
    found = set()
    for text in texts:
        local = local_requirement(text, folder) if "@" in text else None
        if local is not None:
            name = text.partition("@")[0].strip()
            found.add((name, str(local.path), local.is_archive))
    return sorted(found)


def _allows(requires_python: str, minor: tuple[int, int]) -> bool:
    specifiers = _specifiers(requires_python, "the script")
    return any(
        specifiers.contains(f"{minor[0]}.{minor[1]}.{patch}")
        for patch in range(_PATCHES)
    )


def _specifiers(text: str, name: str) -> Any:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415

    try:
        return SpecifierSet(text)
    except InvalidSpecifier as error:
        raise DefinitionError(
            f"{name!r} has an invalid 'requires-python': {text!r}",
            hint="write it like '>=3.11'",
        ) from error
