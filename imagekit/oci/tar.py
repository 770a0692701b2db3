"""Tar headers, byte for byte, with nothing in them that differs between machines.

Owner and group are 0 without names. The bytes are those of CPython's
``TarInfo.tobuf(PAX_FORMAT)``, but written here: ``tarfile`` has changed details between
Python versions, and a changed byte is another digest for the same layer.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, TypeAlias

EntryType: TypeAlias = Literal["0", "2", "5"]

_BLOCK = 512
_NAME = 100
_OCTAL_LIMIT = 8**11
_CHECKSUM_BLANK = 8 * ord(" ")
#: magic, version, then empty owner names, device numbers, prefix and padding.
_MAGIC = b"ustar\x0000" + bytes(_BLOCK - 265)

#: What ends an archive. No padding to records of 10 KiB: no reader asks for it.
END = bytes(2 * _BLOCK)
#: Name of the block that carries PAX records.
_PAX_NAME = b"././@PaxHeader"


def header(
    path: str,
    *,
    type: EntryType,  # noqa: A002  (the field's name in the format)
    mode: int,
    size: int = 0,
    mtime: int,
    linkname: str = "",
) -> bytes:
    """Return the header of one entry, with PAX records in front where needed.

    Args:
        path: path without a leading ``/``; undecodable bytes as surrogates. A
            directory's path gets a ``/`` at the end.
        type: ``0`` for a file, ``2`` for a symbolic link, ``5`` for a directory.
        mode: permission bits.
        size: bytes of the payload that follows.
        mtime: seconds since the epoch.
        linkname: target of a symbolic link.

    Raises:
        ValueError: *mtime* is before 1970 or after 2242, which eleven octal digits
            can't hold.
    """
    if type == "5" and not path.endswith("/"):
        path += "/"
    if (
        path.isascii()
        and len(path) <= _NAME
        and linkname.isascii()
        and len(linkname) <= _NAME
        and size < _OCTAL_LIMIT
    ):
        return _block(path.encode(), type, mode, size, mtime, linkname.encode())
    records = _records(path, linkname, size)
    return (
        _block(_PAX_NAME, "x", 0, len(records), 0, b"")
        + records
        + padding(len(records))
        + _block(
            path.encode("ascii", "replace")[:_NAME],
            type,
            mode,
            size if size < _OCTAL_LIMIT else 0,
            mtime,
            linkname.encode("ascii", "replace")[:_NAME],
        )
    )


def padding(size: int) -> bytes:
    """Return the zeros that follow a payload of *size* bytes."""
    return bytes(-size % _BLOCK)


def path_bytes(path: str) -> bytes:
    """Return *path* as the bytes that a file system has for it."""
    return path.encode("utf-8", "surrogateescape")


def _block(
    name: bytes, kind: str, mode: int, size: int, mtime: int, linkname: bytes
) -> bytes:
    before, between, after, constant = _constants(kind, mode, mtime, linkname)
    size_field = b"%011o\0" % size
    checksum = constant + sum(name) + sum(size_field)
    return b"".join(
        (
            name.ljust(_NAME, b"\0"),
            before,
            size_field,
            between,
            b"%06o\0 " % checksum,
            after,
        )
    )


@lru_cache(maxsize=64)
def _constants(
    kind: str, mode: int, mtime: int, linkname: bytes
) -> tuple[bytes, bytes, bytes, int]:
    """Return the fields before, between and after name, size and checksum; their sum.

    Cached, since the files of a layer differ in little more than name and size.
    """
    if not 0 <= mtime < _OCTAL_LIMIT:
        raise ValueError(f"no tar header can hold the time {mtime}")
    before = b"%07o\0" % (mode & 0o7777) + b"0000000\0" * 2
    between = b"%011o\0" % mtime
    after = kind.encode() + linkname.ljust(_NAME, b"\0") + _MAGIC
    return before, between, after, sum(before + between + after) + _CHECKSUM_BLANK


def _records(path: str, linkname: str, size: int) -> bytes:
    """Return the PAX records for what the block can't hold, in CPython's order."""
    names: list[tuple[bytes, str]] = []
    if not path.isascii() or len(path) > _NAME:
        names.append((b"path", path))
    if not linkname.isascii() or len(linkname) > _NAME:
        names.append((b"linkpath", linkname))
    records = b""
    if any(_undecodable(text) for _, text in names):
        # POSIX pax, "hdrcharset": the names are bytes, not UTF-8.
        records += _record(b"hdrcharset", b"BINARY")
    for keyword, text in names:
        records += _record(keyword, path_bytes(text))
    if size >= _OCTAL_LIMIT:
        records += _record(b"size", b"%d" % size)
    return records


def _undecodable(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _record(keyword: bytes, value: bytes) -> bytes:
    """Return ``<length> keyword=value``; the length counts its own digits."""
    rest = len(keyword) + len(value) + 3
    length = rest
    while length != rest + len(str(length)):
        length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, keyword, value)
