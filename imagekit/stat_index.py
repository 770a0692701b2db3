"""Hashes of files that have not changed, so that they need not be read again.

For each folder that was walked the store has one record, ``records/walk/<key>.json``:
for every file its size, times, inode and device, and the hash of its bytes. A file is
taken to be unchanged if all five are equal. The change time can't be set by programs,
so a file that was edited and got its old size and modification time back is read again.

A file system's clock moves in steps. A file that was written twice within one step, and
hashed in between, has equal times and other bytes. So a file is noted only when it was
last touched a while before it was hashed (git calls the others "racily clean").
"""

from __future__ import annotations

import base64
import hashlib
import os
import struct
import time
from contextlib import suppress
from typing import Any

from imagekit.errors import StoreError
from imagekit.records import dataclass, field
from imagekit.store import Store

_KIND = "walk"
_VERSION = 1
#: Longer than the steps of all usual clocks: FAT counts two seconds, ext3 and HFS+ one.
_MARGIN_NS = 2_000_000_000
_STAMP = struct.Struct("<QqqQQ")
_BYTES = _STAMP.size
_HEX = 64


@dataclass(frozen=True, slots=True)
class StatIndex:
    """What the store knows about the files of walked folders."""

    store: Store

    def folder(self, root: str) -> FolderIndex:
        """Return what is known about the files below *root*, an absolute path."""
        name = os.fsencode(os.path.realpath(root))
        key = hashlib.sha256(name, usedforsecurity=False).hexdigest()
        recorded = _decode(self.store.read_record(_KIND, key))
        return FolderIndex(store=self.store, key=key, recorded=recorded)


@dataclass(frozen=True, slots=True)
class _Columns:
    """A record, unpacked as far as a look-up needs: by line, 40 bytes and 64 digits."""

    lines: dict[str, int] = field(default_factory=dict)
    stamps: bytes = b""
    digests: str = ""

    def entry(self, path: str) -> tuple[bytes, str]:
        line = self.lines[path]
        return (
            self.stamps[line * _BYTES : (line + 1) * _BYTES],
            self.digests[line * _HEX : (line + 1) * _HEX],
        )


@dataclass(slots=True, kw_only=True)
class FolderIndex:
    """What is known about one folder, during one walk.

    Safe beside other processes: records are replaced whole, and the last one stays.
    """

    store: Store
    key: str
    recorded: _Columns
    _found: list[str] = field(default_factory=list)
    _new: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    _started: int = field(default_factory=time.time_ns)

    def find(self, path: str, status: os.stat_result) -> str | None:
        """Return the hash of the file at *path*, or None if it must be read."""
        old = self.recorded
        line = old.lines.get(path)
        if line is None:
            return None
        at = line * _BYTES
        if old.stamps[at : at + _BYTES] != _stamp(status):
            return None
        self._found.append(path)
        return old.digests[line * _HEX : (line + 1) * _HEX]

    def add(self, path: str, status: os.stat_result, sha256: str) -> None:
        """Note the hash of bytes that were read after *status* was taken."""
        touched = max(status.st_mtime_ns, status.st_ctime_ns)
        if touched + _MARGIN_NS < self._started:
            self._new[path] = (_stamp(status), sha256)

    def save(self) -> None:
        """Write what was added to the store."""
        if not self._new:
            return
        # Another walk of the folder, with other ignore rules, may know more files. But
        # files that are gone must not pile up.
        seen = len(self._found) + len(self._new)
        old = self.recorded
        kept = old.lines if len(old.lines) <= 2 * seen else self._found
        entries = {path: old.entry(path) for path in kept}
        # A store that can't be written to costs time, not correctness; whoever has to
        # write to it will say so.
        with suppress(StoreError):
            self.store.write_record(_KIND, self.key, _encode({**entries, **self._new}))


def _stamp(status: os.stat_result) -> bytes:
    return _STAMP.pack(
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        status.st_dev,
    )


def _encode(entries: dict[str, tuple[bytes, str]]) -> dict[str, Any]:
    """Return a record of three long texts, which JSON reads much faster than lists.

    A relative path has no empty part, so ``//`` can separate paths.
    """
    stamps = b"".join(stamp for stamp, _ in entries.values())
    return {
        "version": _VERSION,
        "paths": "//".join(entries),
        "stamps": base64.b64encode(stamps).decode("ascii"),
        "sha256": "".join(sha256 for _, sha256 in entries.values()),
    }


def _decode(record: Any) -> _Columns:
    """Return the contents of a record; nothing if it is missing or damaged."""
    try:
        if record["version"] != _VERSION:
            return _Columns()
        paths = str(record["paths"]).split("//")
        stamps = base64.b64decode(record["stamps"], validate=True)
        digests = str(record["sha256"])
    except (TypeError, KeyError, ValueError):
        return _Columns()
    count = len(paths)
    if len(stamps) != _BYTES * count or len(digests) != _HEX * count:
        return _Columns()
    return _Columns(dict(zip(paths, range(count), strict=True)), stamps, digests)
