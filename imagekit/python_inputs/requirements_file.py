"""Requirements files, read as pip reads them, with all files that they include.

Relative paths are relative to the file that has them; pip takes the working directory,
which is no part of an image's definition.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imagekit.errors import DefinitionError, InvalidLayerError
from imagekit.python_inputs.local_path import local_requirement
from imagekit.python_inputs.reading import read_text
from imagekit.records import dataclass, field

_COMMENT = re.compile(r"(^|\s+)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_HASH = re.compile(r"\s--hash(?:=|\s+)(\S+)")
_LINE_OPTION = re.compile(r"\s(--[a-z][a-z-]*)")

#: Options with a value, by their long name.
_VALUED = {
    "-r": "--requirement",
    "--requirement": "--requirement",
    "-c": "--constraint",
    "--constraint": "--constraint",
    "-e": "--editable",
    "--editable": "--editable",
    "-i": "--index-url",
    "--index-url": "--index-url",
    "--pypi-url": "--index-url",
    "--extra-index-url": "--extra-index-url",
    "-f": "--find-links",
    "--find-links": "--find-links",
    "--no-binary": "--no-binary",
    "--only-binary": "--only-binary",
    "--trusted-host": "--trusted-host",
    "--use-feature": "--use-feature",
}
_FLAGS = ("--no-index", "--pre", "--require-hashes", "--prefer-binary")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequirementLine:
    """One requirement.

    Attributes:
        text: the requirement (PEP 508, or a URL), with full paths.
        hashes: ``sha256:…`` of the files that may be installed; empty for any.
        where: file and line.
    """

    text: str
    hashes: tuple[str, ...] = ()
    where: str = ""


@dataclass(slots=True, kw_only=True)
class FileOptions:
    """The options in requirements files that are not of one requirement."""

    index_url: str | None = None
    extra_index_urls: list[str] = field(default_factory=list)
    find_links: list[str] = field(default_factory=list)
    no_index: bool = False
    pre: bool = False
    require_hashes: bool = False
    no_binary: list[str] = field(default_factory=list)
    only_binary: list[str] = field(default_factory=list)
    trusted_hosts: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequirementsFiles:
    """A requirements file and everything that it includes.

    Attributes:
        files: name relative to the first file's folder, and absolute path, of every
            file that was read and of every local archive.
        folders: the same of every local project.
    """

    requirements: tuple[RequirementLine, ...]
    constraints: tuple[RequirementLine, ...]
    options: FileOptions
    files: tuple[tuple[str, str], ...]
    folders: tuple[tuple[str, str], ...]


def read_requirements(path: str) -> RequirementsFiles:
    """Read the requirements file at *path* and what it includes.

    Raises:
        SourceNotFoundError: it, or a file that it names, does not exist.
        SourceUnreadableError: one of them can't be read.
        DefinitionError: a line has no meaning here.
    """
    reader = _Reader(Path(path).parent)
    reader.read(Path(path), constraint=False, named_by=None)
    return RequirementsFiles(
        requirements=tuple(reader.requirements),
        constraints=tuple(reader.constraints),
        options=reader.options,
        files=tuple(sorted(reader.files)),
        folders=tuple(sorted(reader.folders)),
    )


class _Reader:
    def __init__(self, root: Path) -> None:
        self.requirements: list[RequirementLine] = []
        self.constraints: list[RequirementLine] = []
        self.options = FileOptions()
        self.files: set[tuple[str, str]] = set()
        self.folders: set[tuple[str, str]] = set()
        self._root = root
        self._seen: set[tuple[Path, bool]] = set()

    def read(self, path: Path, *, constraint: bool, named_by: str | None) -> None:
        if (path, constraint) in self._seen:
            return
        self._seen.add((path, constraint))
        what = "constraints file" if constraint else "requirements file"
        text = read_text(path, what=what, named_by=named_by)
        self.files.add(self._named(path))
        for number, line in _logical_lines(text):
            where = f"{path}:{number}"
            if line.startswith("-"):
                self._option(_expanded(line), path.parent, where, constraint=constraint)
            else:
                self._requirement(line, path.parent, where, constraint=constraint)

    def _requirement(
        self, line: str, folder: Path, where: str, *, constraint: bool
    ) -> None:
        line = _expanded(line)
        hashes = tuple(_HASH.findall(line))
        text = _HASH.sub("", line).strip()
        option = _LINE_OPTION.search(text)
        if option:
            raise InvalidLayerError(
                f"unsupported option {option[1]!r} of a requirement in {where}",
                hint="only --hash is supported there",
            )
        local = local_requirement(text, folder)
        if local is not None:
            if not local.path.exists():
                read_text(local.path, what="file or folder", named_by=where)
            target = self.files if local.is_archive else self.folders
            target.add(self._named(local.path))
            text = local.text
        found = RequirementLine(text=text, hashes=hashes, where=where)
        (self.constraints if constraint else self.requirements).append(found)

    def _option(self, line: str, folder: Path, where: str, *, constraint: bool) -> None:
        for name, value in _options(line, where):
            match name:
                case "--requirement" | "--constraint":
                    if "://" in value:
                        raise DefinitionError(
                            f"{where} includes a file from the network",
                            hint="download it, and include the copy",
                        )
                    self.read(
                        Path(os.path.normpath(folder / value)),
                        constraint=constraint or name == "--constraint",
                        named_by=where,
                    )
                case "--editable":
                    # An image has no use for a link to this machine's files: the
                    # project is built and installed.
                    self._requirement(value, folder, where, constraint=constraint)
                case "--find-links":
                    self.options.find_links.append(_find_links(value, folder))
                case _:
                    _set(self.options, name, value)

    def _named(self, path: Path) -> tuple[str, str]:
        return Path(os.path.relpath(path, self._root)).as_posix(), str(path)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Give lines with their numbers: continued ones joined, comments gone."""
    pending: list[str] = []
    start = 1
    for number, line in enumerate(text.splitlines(), 1):
        if not pending:
            start = number
        comment = _COMMENT.match(line) is not None
        if line.endswith("\\") and not comment:
            pending.append(line[:-1])
            continue
        pending.append(line)
        joined = _COMMENT.sub("", "".join(pending)).strip()
        pending = []
        if joined:
            yield start, joined
    joined = _COMMENT.sub("", "".join(pending)).strip()
    if joined:
        yield start, joined


def _expanded(line: str) -> str:
    """Replace ``${NAME}`` by the environment's value where there is one."""
    return _VARIABLE.sub(lambda match: os.environ.get(match[1], match[0]), line)


def _options(line: str, where: str) -> Iterator[tuple[str, str]]:
    try:
        words = iter(shlex.split(line))
    except ValueError as error:
        raise InvalidLayerError(f"unbalanced quotes in {where}") from error
    for word in words:
        name, joined, value = word.partition("=")
        if name in _FLAGS and not joined:
            yield name, ""
        elif name in _VALUED:
            given = value if joined else next(words, "")
            if not given:
                raise InvalidLayerError(f"{name!r} in {where} has no value")
            yield _VALUED[name], given
        elif word[:2] in _VALUED and not word.startswith("--"):
            yield _VALUED[word[:2]], word[2:]
        else:
            raise InvalidLayerError(
                f"unknown option {name!r} in {where}",
                hint="remove it, or ask for it with extra_args=",
            )


def _find_links(value: str, folder: Path) -> str:
    if "://" in value:
        return value
    return str(Path(os.path.normpath(folder / value)))


def _set(options: FileOptions, name: str, value: str) -> None:
    match name:
        case "--index-url":
            options.index_url = value
        case "--extra-index-url":
            options.extra_index_urls.append(value)
        case "--no-index":
            options.no_index = True
        case "--pre":
            options.pre = True
        case "--require-hashes":
            options.require_hashes = True
        case "--no-binary":
            _add_names(options.no_binary, value)
        case "--only-binary":
            _add_names(options.only_binary, value)
        case "--trusted-host":
            options.trusted_hosts.append(value)
        case _:
            pass  # --prefer-binary and --use-feature: uv has no such choice


def _add_names(names: list[str], value: str) -> None:
    for name in value.split(","):
        if name == ":none:":
            names.clear()
        else:
            names.append(name)


def options_record(options: FileOptions) -> dict[str, Any]:
    """Return *options* as JSON, for cache keys; may hold credentials."""
    return {name: getattr(options, name) for name in FileOptions.__slots__}
