"""The files that go into images: one walk, which both hash and layer are made from.

Nothing is kept of a file but its bytes, its name and whether it can be executed: no
owner, no time, no other bits of its mode. So a tree has one digest in every checkout.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from imagekit.canonical import VERSION
from imagekit.errors import (
    SourceChangedError,
    SourceNotFoundError,
    SourceUnreadableError,
)
from imagekit.ignore import IgnoreRules
from imagekit.records import dataclass, field, replace
from imagekit.symlinks import check_links

if TYPE_CHECKING:
    from imagekit.stat_index import FolderIndex, StatIndex

EntryType: TypeAlias = Literal["file", "directory", "symlink"]

_CHUNK = 1 << 20
# O_NONBLOCK: a named pipe that took the place of a file must not stop the build.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_UTF8 = sys.getfilesystemencoding() == "utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file, folder or symbolic link of a tree.

    Attributes:
        path: relative path with ``/``; undecodable bytes as surrogates.
        executable: whether any executable bit is set (files only).
        size: bytes (files only).
        sha256: hex digest of the bytes (files only).
        target: text of a symbolic link.
        location: absolute path where the bytes are read.
    """

    kind: ClassVar[str] = "entry"

    path: str
    type: EntryType
    executable: bool = False
    size: int = 0
    sha256: str | None = None
    target: str | None = None
    location: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Entries sorted by the bytes of their paths, parents before children."""

    kind: ClassVar[str] = "tree"

    entries: tuple[Entry, ...]

    @property
    def digest(self) -> str:
        """The ``canonical.fingerprint("tree", self)`` of the tree, but fast."""
        hasher = hashlib.sha256(usedforsecurity=False)
        hasher.update(f'{{"domain":"tree","imagekit":{VERSION},"value":{{'.encode())
        if self.entries:
            listing = ",".join(map(_canonical, self.entries))
            hasher.update(f'"entries":[{listing}],'.encode())
        hasher.update(b'"kind":"tree"}}')
        return hasher.hexdigest()

    def below(self, name: str) -> Tree:
        """Return the tree moved into a folder *name*, which becomes an entry too."""
        folder = Entry(path=name, type="directory")
        moved = (replace(e, path=f"{name}/{e.path}") for e in self.entries)
        return Tree(entries=(folder, *moved))

    @property
    def files(self) -> tuple[Entry, ...]:
        """The entries that are files."""
        return tuple(entry for entry in self.entries if entry.type == "file")

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.entries)


def _canonical(entry: Entry) -> str:
    """Return what :mod:`imagekit.canonical` makes of *entry*.

    It is five times as fast, and a folder of 20,000 files has to cost less than that.
    """
    quote = encode_basestring_ascii
    sha256 = f'"sha256":"{entry.sha256}",' if entry.sha256 is not None else ""
    target = f'"target":{quote(entry.target)},' if entry.target is not None else ""
    return (
        f'{{"executable":{"true" if entry.executable else "false"},"kind":"entry",'
        f'"path":{quote(entry.path)},{sha256}"size":{entry.size},{target}'
        f'"type":"{entry.type}"}}'
    )


def walk(
    root: str,
    rules: IgnoreRules,
    *,
    index: StatIndex | None = None,
    any_links: bool = False,
) -> Tree:
    """Return what the folder *root* holds, but for what *rules* leave out.

    Folders are entries of their own, empty ones too; an ignored folder is one only
    where something in it is re-included. Links are kept as links. *root* itself may be
    a link to a folder.

    Args:
        root: path of the folder.
        rules: what to leave out.
        index: remembers hashes of files that have not changed since.
        any_links: whether symbolic links may leave the folder.

    Raises:
        SourceNotFoundError: *root* is not there, or not a folder.
        SourceUnreadableError: a file or folder can't be read, or is a device, named
            pipe or socket.
        SourceEscapesError: a symbolic link leaves the folder.
        SourceChangedError: a file was replaced during the walk.
    """
    root = os.path.abspath(root)
    _check_folder(root)
    known = index.folder(root) if index is not None else None
    entries = sorted(_entries(root, rules, known), key=_sort_key)
    if not any_links:
        check_links({e.path: e.target for e in entries if e.target is not None}, root)
    if known is not None:
        known.save()
    return Tree(entries=tuple(entries))


def single_file(path: str, name: str) -> Tree:
    """Return a tree of one file: *path*, under *name*. Links are followed.

    Raises:
        SourceNotFoundError: *path* is not there, or a folder.
        SourceUnreadableError: it can't be read, or is no regular file.
    """
    location = os.path.realpath(path)
    try:
        status = os.stat(location)
    except OSError as error:
        raise _unreachable("file", path, error) from error
    if stat.S_ISDIR(status.st_mode):
        raise SourceNotFoundError(
            f"wanted a file at {path!r}, found a folder",
            hint="name a file, or use with_source_folder",
        )
    return Tree(entries=(_file(name, location, status, None),))


def _check_folder(root: str) -> None:
    try:
        status = os.stat(root)
    except OSError as error:
        raise _unreachable("folder", root, error) from error
    if not stat.S_ISDIR(status.st_mode):
        raise SourceNotFoundError(
            f"wanted a folder at {root!r}, found a file",
            hint="name its folder, or use with_source_file",
        )


def _entries(
    root: str, rules: IgnoreRules, known: FolderIndex | None
) -> Iterator[Entry]:
    """Give the entries of the folder *root*, in no order."""
    judge = rules.judge()
    # Ignored folders appear if something in them does.
    dormant: dict[str, Entry] = {}
    left = [("", root, rules.start())]
    while left:
        prefix, location, verdict = left.pop()
        for item in _scan(location, ignored=verdict.ignored):
            path = prefix + (item.name if _UTF8 else _text(item.name))
            found = judge(verdict, path)
            if item.is_dir(follow_symlinks=False):
                if found.ignored and not rules.may_contain(path):
                    continue
                entry = Entry(path=path, type="directory", location=item.path)
                left.append((f"{path}/", item.path, found))
                if found.ignored:
                    dormant[path] = entry
                    continue
            elif found.ignored:
                continue
            elif item.is_symlink():
                entry = _link(path, item.path)
            else:
                entry = _file(path, item.path, _status(item), known)
            yield entry
            if dormant:
                yield from _woken(path, dormant)


def _woken(path: str, dormant: dict[str, Entry]) -> Iterator[Entry]:
    """Take the folders that hold *path* out of *dormant*."""
    at = path.rfind("/")
    while at > 0:
        entry = dormant.pop(path[:at], None)
        if entry is not None:
            yield entry
        at = path.rfind("/", 0, at)


def _scan(location: str, *, ignored: bool) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(location) as items:
            return list(items)
    except PermissionError as error:
        if ignored:
            # It was only looked into for something to re-include; BuildKit goes on too.
            return []
        raise _denied(location, error) from error
    except OSError as error:
        raise _denied(location, error) from error


def _status(item: os.DirEntry[str]) -> os.stat_result:
    try:
        return item.stat(follow_symlinks=False)
    except OSError as error:
        raise _changed(item.path) from error


def _file(
    path: str, location: str, status: os.stat_result, known: FolderIndex | None
) -> Entry:
    if not stat.S_ISREG(status.st_mode):
        raise _special(location, status.st_mode)
    sha256 = known.find(path, status) if known is not None else None
    size = status.st_size
    if sha256 is None:
        sha256, size, status = _read(location)
        if known is not None:
            known.add(path, status, sha256)
    return Entry(
        path=path,
        type="file",
        executable=bool(status.st_mode & 0o111),
        size=size,
        sha256=sha256,
        location=location,
    )


def _read(location: str) -> tuple[str, int, os.stat_result]:
    """Return the hash of a file, how many bytes it is of, and its status before."""
    try:
        descriptor = os.open(location, _FLAGS)
    except OSError as error:
        # ELOOP: it became a link after the folder was read.
        if error.errno in (errno.ENOENT, errno.ELOOP):
            raise _changed(location) from error
        raise _denied(location, error) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _changed(location)
        hasher = hashlib.sha256(usedforsecurity=False)
        size = 0
        # One more byte than expected shows the end of a small file in one read.
        chunk = os.read(descriptor, min(status.st_size + 1, _CHUNK))
        while chunk:
            hasher.update(chunk)
            size += len(chunk)
            if size == status.st_size and len(chunk) < _CHUNK:
                break
            chunk = os.read(descriptor, _CHUNK)
    except OSError as error:
        raise _denied(location, error) from error
    finally:
        os.close(descriptor)
    return hasher.hexdigest(), size, status


def _link(path: str, location: str) -> Entry:
    try:
        target = os.readlink(location)
    except OSError as error:
        raise _changed(location) from error
    return Entry(
        path=path,
        type="symlink",
        target=target if _UTF8 else _text(target),
        location=location,
    )


def _text(name: str) -> str:
    """Return a name as UTF-8 text, whatever the locale decoded it with."""
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def _sort_key(entry: Entry) -> bytes:
    return entry.path.encode("utf-8", "surrogateescape")


def _unreachable(
    what: str, path: str, error: OSError
) -> SourceNotFoundError | SourceUnreadableError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        return SourceNotFoundError(
            f"wanted a {what} at {path!r}, found none",
            hint="relative paths start in the folder of the file that defines the "
            "image",
        )
    return _denied(path, error)


def _denied(path: str, error: OSError) -> SourceUnreadableError:
    return SourceUnreadableError(
        f"can't read {path!r}: {error.strerror or error}",
        hint="make it readable, or put it into the ignore file",
    )


def _special(path: str, mode: int) -> SourceUnreadableError:
    kinds = ((stat.S_ISSOCK, "socket"), (stat.S_ISFIFO, "named pipe"))
    kind = next((name for test, name in kinds if test(mode)), "device")
    return SourceUnreadableError(
        f"can't copy {path!r}: it is a {kind}",
        hint="remove it, or put it into the ignore file",
    )


def _changed(path: str) -> SourceChangedError:
    return SourceChangedError(
        f"{path!r} was replaced or removed while its folder was read",
        hint="build again when nothing writes to the folder",
    )
