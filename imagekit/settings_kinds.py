"""The kinds of values that settings have: how they are written, and what is right."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, TypeAlias

from imagekit.platform import Platform
from imagekit.records import dataclass
from imagekit.reference import check_registry, check_repository

_UNITS = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")

#: Where tasks run.
MODES = ("local", "container", "remote")

#: Turns what was written into the value; relative paths start in the folder.
Check: TypeAlias = Callable[[Any, str], object]


class WrongValueError(Exception):
    """A value is not what its setting takes."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value.

    Attributes:
        wanted: what it is, for messages and the docs.
        check: makes the value from what a file or argument holds.
        split: makes what a file would hold from the text of a variable.
    """

    wanted: str
    check: Check
    split: Callable[[str], object] = str


def _text(value: Any, _folder: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise WrongValueError
    return value.strip()


def _path(value: Any, folder: str) -> str:
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise WrongValueError
    return os.path.normpath(os.path.join(folder, os.path.expanduser(value)))


def _file(value: Any, folder: str) -> str:
    path = _path(value, folder)
    if not os.path.isfile(path):
        raise WrongValueError(f"no file {path!r}")
    return path


def _count(value: Any, _folder: str) -> int:
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise WrongValueError
    return value


def _size(value: Any, _folder: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or found[2].upper() not in _UNITS:
        raise WrongValueError
    return int(float(found[1]) * _UNITS[found[2].upper()])


def _texts(value: Any, folder: str) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise WrongValueError
    return tuple(dict.fromkeys(_text(item, folder) for item in items))


def _mode(value: Any, folder: str) -> str:
    text = _text(value, folder)
    if text not in MODES:
        raise WrongValueError
    return text


def _registry(value: Any, folder: str) -> str:
    return check_registry(_text(value, folder))


def _prefix(value: Any, folder: str) -> str:
    prefix = _text(value, folder)
    check_repository(f"{prefix}name")
    return prefix


def _platforms(value: Any, folder: str) -> tuple[str, ...]:
    found = tuple(str(Platform.parse(item)) for item in _texts(value, folder))
    if not found:
        raise WrongValueError
    return tuple(dict.fromkeys(found))


def _registries(value: Any, folder: str) -> tuple[str, ...]:
    return tuple(check_registry(item) for item in _texts(value, folder))


def _caches(value: Any, folder: str) -> tuple[str, ...]:
    found = _texts(value, folder)
    if not all(item.startswith("type=") for item in found):
        raise WrongValueError
    return found


def _network(value: Any, folder: str) -> str:
    network = _text(value, folder)
    if network not in ("default", "none", "host"):
        raise WrongValueError
    return network


def _mirrors(value: Any, folder: str) -> tuple[tuple[str, str], ...]:
    if isinstance(value, dict):
        value = [(key, item) for key, items in value.items() for item in _many(items)]
    if not isinstance(value, list | tuple):
        raise WrongValueError
    pairs = []
    for item in value:
        if not isinstance(item, list | tuple) or len(item) != 2:  # noqa: PLR2004
            raise WrongValueError
        registry, mirror = item
        pairs.append((_registry(registry, folder), _registry(mirror, folder)))
    return tuple(dict.fromkeys(pairs))


def _table(value: Any, _folder: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(dict(_items(value)).items()))


def _products(value: Any, _folder: str) -> tuple[tuple[str, str], ...]:
    if isinstance(value, dict):
        value = [(key, item) for key, items in value.items() for item in _many(items)]
    return tuple(dict.fromkeys(_items(value)))


def _items(value: Any) -> list[tuple[str, str]]:
    pairs = list(value.items()) if isinstance(value, dict) else value
    if not isinstance(pairs, list | tuple):
        raise WrongValueError
    found = []
    for item in pairs:
        if not isinstance(item, list | tuple) or len(item) != 2:  # noqa: PLR2004
            raise WrongValueError
        if not all(isinstance(side, str) for side in item) or not item[0]:
            raise WrongValueError
        found.append((item[0], item[1]))
    return found


def _pair(value: Any, folder: str) -> str:
    text = _text(value, folder)
    key, equals, _ = text.partition("=")
    if not key or not equals:
        raise WrongValueError
    return text


def _gpu_label(value: Any, folder: str) -> str:
    return "" if value in ("", "none") else _text(value, folder)


def _many(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _commas(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _pairs(text: str) -> list[list[str]]:
    return [[side.strip() for side in item.split("=")] for item in _commas(text)]


def _assignments(text: str) -> list[list[str]]:
    """Return pairs; other than in :func:`_pairs`, a value may have a ``=`` in it."""
    return [[side.strip() for side in item.split("=", 1)] for item in _commas(text)]


TEXT = Kind("a text", _text)
TEXTS = Kind("a list of texts", _texts, _commas)
REGISTRY = Kind("a registry, 'host[:port][/path]'", _registry)
PREFIX = Kind("the beginning of an image name", _prefix)
PLATFORMS = Kind("a list of platforms", _platforms, _commas)
REGISTRIES = Kind("a list of registries", _registries, _commas)
MIRRORS = Kind(
    "a table of registries and their mirrors ('registry=mirror' in a variable)",
    _mirrors,
    _pairs,
)
CACHES = Kind(
    "a list of caches like 'type=registry,ref=ghcr.io/team/cache' (separated by spaces "
    "in a variable)",
    _caches,
    str.split,
)
NETWORK = Kind("'default', 'none' or 'host'", _network)
FILE = Kind("the path of a file", _file)
FOLDER = Kind("the path of a folder", _path)
SIZE = Kind("a size like '20GB' or '20GiB', or a number of bytes", _size)
COUNT = Kind("a whole number from 1", _count)
MODE = Kind("'local', 'container' or 'remote'", _mode)
TABLE = Kind("a table of texts ('key=text' in a variable)", _table, _assignments)
PAIR = Kind("a label and its value, 'LABEL=VALUE'", _pair)
GPU_LABEL = Kind("the name of a label, or 'none'", _gpu_label)
GPU_PRODUCTS = Kind(
    "a table of kinds of GPUs and the values of a label that stand for them "
    "('T4=value' in a variable)",
    _products,
    _assignments,
)
