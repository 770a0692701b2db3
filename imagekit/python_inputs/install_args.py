"""``extra_args``: options of ``uv pip install``, sorted by what they mean here."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from imagekit.errors import InvalidLayerError
from imagekit.python_inputs import install_options
from imagekit.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallArgs:
    """What ``extra_args`` ask for.

    Attributes:
        resolve: options for ``uv pip compile`` as they are.
        index: index options, name and value; values may hold credentials.
        files: option and absolute path of the files that options name.
        project: options that choose parts of a uv project.
        build: settings for build backends (``--config-setting``).
        no_binary: names whose wheels may not be used; ``:all:`` for all.
        ignored: options that make no difference here.
    """

    resolve: tuple[str, ...] = ()
    index: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    project: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    no_binary: tuple[str, ...] = ()
    no_deps: bool = False
    no_index: bool = False
    require_hashes: bool = False
    ignored: tuple[str, ...] = ()


def parse_extra_args(
    extra_args: str | None, *, folder: str, project: bool = False
) -> InstallArgs:
    """Return what *extra_args* ask for.

    Args:
        extra_args: options, split as a shell does.
        folder: absolute folder in which relative paths start.
        project: whether the options of a uv project are accepted too.

    Raises:
        InvalidLayerError: an option is unknown or can't be followed.
    """
    if not extra_args:
        return InstallArgs()
    sorter = _Sorter(Path(folder), project=project)
    for name, value in _options(extra_args, project=project):
        sorter.add(name, value)
    return sorter.result()


class _Sorter:
    def __init__(self, folder: Path, *, project: bool) -> None:
        self._folder = folder
        self._project = project
        self._resolve: list[str] = []
        self._index: list[tuple[str, str]] = []
        self._files: list[tuple[str, str]] = []
        self._chosen: list[str] = []
        self._build: list[str] = []
        self._no_binary: list[str] = []
        self._ignored: list[str] = []
        self._flags: set[str] = set()

    def add(self, name: str, value: str | None) -> None:
        if name in install_options.FILES:
            self._files.append((name, self._path(value or "")))
        elif name in install_options.INDEX_VALUES:
            self._index.append((name, self._location(name, value or "")))
        elif name in ("--config-setting", "--config-settings-package"):
            self._build += [name, value or ""]
        elif name in ("--no-binary", "--only-binary"):
            for package in (value or "").split(","):
                self._resolve += [name, package]
                if name == "--no-binary":
                    self._no_binary.append(package)
        elif name == "--pre":
            self._resolve += ["--prerelease", "allow"]
        elif name in ("--no-deps", "--no-index", "--require-hashes"):
            self._flags.add(name)
        elif (
            name in install_options.IGNORED_FLAGS
            or name in install_options.IGNORED_VALUES
        ):
            self._ignored.append(name)
        else:
            group = (
                name in install_options.PROJECT_FLAGS
                or name in install_options.PROJECT_VALUES
            )
            (self._chosen if group else self._resolve).extend(
                (name,) if value is None else (name, value)
            )

    def result(self) -> InstallArgs:
        return InstallArgs(
            resolve=tuple(self._resolve),
            index=tuple(self._index),
            files=tuple(self._files),
            project=tuple(self._chosen),
            build=tuple(self._build),
            no_binary=tuple(self._no_binary),
            no_deps="--no-deps" in self._flags,
            no_index="--no-index" in self._flags,
            require_hashes="--require-hashes" in self._flags,
            ignored=tuple(dict.fromkeys(self._ignored)),
        )

    def _path(self, value: str) -> str:
        return os.path.normpath(self._folder / value)

    def _location(self, name: str, value: str) -> str:
        if name == "--find-links" and "://" not in value:
            return self._path(value)
        return value


def _options(text: str, *, project: bool) -> Iterator[tuple[str, str | None]]:
    try:
        words = iter(shlex.split(text))
    except ValueError as error:
        raise InvalidLayerError(
            "unbalanced quotes in extra_args", hint="close the quote"
        ) from error
    for word in words:
        written, joined, value = word.partition("=")
        if word[:2] in install_options.SHORT and not word.startswith("--") and word[2:]:
            written, joined, value = word[:2], "=", word[2:].removeprefix("=")
        name = install_options.SHORT.get(written, written)
        name = install_options.SPELLINGS.get(name, name)
        if not _is_known(name, project=project):
            _refuse(name)
        if not _takes_value(name):
            yield name, None
            continue
        given = value if joined else next(words, None)
        if given is None:
            raise InvalidLayerError(
                f"the option {name!r} in extra_args has no value",
                hint=f"write {name}=VALUE",
            )
        yield name, given


def _takes_value(name: str) -> bool:
    return (
        name in install_options.FILES
        or name in install_options.INDEX_VALUES
        or name in install_options.RESOLVE_VALUES
        or name in install_options.PROJECT_VALUES
        or name in install_options.IGNORED_VALUES
        or name
        in (
            "--no-binary",
            "--only-binary",
            "--config-setting",
            "--config-settings-package",
        )
    )


def _is_known(name: str, *, project: bool) -> bool:
    if name in install_options.PROJECT_FLAGS or name in install_options.PROJECT_VALUES:
        return project
    return (
        _takes_value(name)
        or name in install_options.RESOLVE_FLAGS
        or name in install_options.IGNORED_FLAGS
        or name in ("--pre", "--no-deps", "--no-index", "--require-hashes")
    )


def _refuse(name: str) -> None:
    if not name.startswith("-"):
        raise InvalidLayerError(
            f"extra_args may hold options only, found {name!r}",
            hint="name packages as arguments of their own",
        )
    raise InvalidLayerError(
        f"unsupported option {name!r} in extra_args",
        hint=install_options.REFUSED.get(
            name, "see 'uv pip install --help' for its options"
        ),
    )
