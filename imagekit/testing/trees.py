"""Tiny source folders with names, modes and links that go wrong easily."""

from __future__ import annotations

import os
from pathlib import Path

from imagekit.ignore import IgnoreRules
from imagekit.sources import Tree, walk

_LONG = "a_folder_whose_name_is_longer_than_what_a_header_of_a_tar_archive_holds"
#: Long before any plan: a file keeps its content, and not its time.
_OLD = 981_173_106

_APPLICATION = {
    "hello.txt": b"hello\n",
    "run.sh": b"#!/bin/sh\necho run\n",
    "private.txt": b"0600 here, 0644 in the image\n",
    "empty file": b"",
    ".hidden": b"dot\n",
    "deep/er/est/file.txt": b"deep\n",
    "spaced name.txt": b"space\n",
    "gr\u00fcn/\u2603 \u65e5\u672c.txt": b"composed\n",
    "gru\u0308n.txt": b"decomposed\n",
    'it\'s "quoted".txt': b"quotes\n",
    "$HOME": b"dollar\n",
    "*": b"star\n",
    "[a-z]?": b"glob\n",
    "-rf": b"dash\n",
    "#comment": b"hash\n",
    "!bang": b"bang\n",
    "a=b;c&d|e": b"shell\n",
    "%20 ~ {x}": b"percent\n",
    f"{_LONG}/{_LONG}.txt": b"long\n",
    "binary.bin": bytes(range(256)) * 64,
}
_LINKS = {
    "link": "hello.txt",
    "link to folder": "deep/er",
    "dangling": "nothing here",
    "deep/up": "../hello.txt",
    "gr\u00fcn/link \u2603": "\u2603 \u65e5\u672c.txt",
}
_FOLDERS = ("empty", "deep/empty too", "deep")
_MODES = {"run.sh": 0o4755, "private.txt": 0o600, "deep": 0o700}


def application(folder: Path) -> Tree:
    """Return a folder of an application, written to *folder*."""
    _write(folder, _APPLICATION)
    for path in _FOLDERS:
        (folder / path).mkdir(parents=True, exist_ok=True)
    for path, target in _LINKS.items():
        (folder / path).symlink_to(target)
    for path, mode in _MODES.items():
        (folder / path).chmod(mode)
    return _read(folder)


def files(folder: Path, contents: dict[str, bytes]) -> Tree:
    """Return a folder with these files, written to *folder*."""
    _write(folder, contents)
    return _read(folder)


def odd_file(folder: Path, name: bytes) -> Tree:
    """Return a folder with one file in it, named with any bytes."""
    _write(folder, {})
    with open(os.path.join(os.fsencode(folder), name), "wb") as file:
        file.write(b"odd\n")
    return _read(folder)


def _write(folder: Path, contents: dict[str, bytes]) -> None:
    folder.mkdir(parents=True)
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (_OLD, _OLD))


def _read(folder: Path) -> Tree:
    return walk(str(folder), IgnoreRules.parse("", name="", defaults=False))
