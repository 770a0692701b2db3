"""Reads wheels: their directory at once, their members piece by piece.

All that is known of a member is taken from the central directory; what its local
header and its deflate stream say has to agree.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Self

from imagekit.errors import BuildFailedError
from imagekit.records import dataclass, replace
from imagekit_oci.inflate import ERRORS, crc32, inflater
from imagekit_oci.record import RecordLine, parse_record

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

STORED = 0
DEFLATED = 8

#: Pieces of members are no longer than this.
_CHUNK = 1 << 20
_READ = 1 << 18
# APPNOTE.TXT, 4.3.7; only the lengths of name and extra field are looked at.
_LOCAL_HEADER = struct.Struct("<26xHH")
_EXTRA = 64
_ENCRYPTED = 1 << 0
_UTF8 = 1 << 11
# An empty component is a leading, trailing or doubled slash. ".wh." is how layers
# delete files (OCI layer.md, "Whiteouts").
_UNSAFE = re.compile(r"(?:^|/)(?:\.{0,2}(?:/|$)|\.wh\.)|[\\\0]")
_DIST_INFO = re.compile(r"([^/]+\.dist-info)/")
_HINT = "the wheel is damaged or was made wrongly: pin another version or build of it"


class Member(NamedTuple):
    """A file in a wheel.

    Attributes:
        offset: where its local header is.
        deflated_size: bytes in the wheel.
        size: bytes of the file.
        executable: whether any executable bit is set.
    """

    name: str
    offset: int
    deflated_size: int
    size: int
    crc: int
    method: int
    utf8: bool
    executable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """An open wheel; a context manager.

    Attributes:
        filename: its file name, for messages.
        members: its files by name; without its folders.
        dist_info: name of its ``.dist-info`` folder.
        record: the lines of its ``RECORD`` by path.
    """

    filename: str
    members: dict[str, Member]
    dist_info: str
    record: dict[str, RecordLine]
    archive: ZipFile

    @classmethod
    def open(cls, path: Path) -> Self:
        """Return the wheel at *path*, its directory read and checked.

        Raises:
            BuildFailedError: it is no wheel that could be installed safely.
        """
        from zipfile import BadZipFile, ZipFile  # noqa: PLC0415  (slow to import)

        try:
            archive = ZipFile(path)
        except (BadZipFile, OSError, UnicodeDecodeError, NotImplementedError) as error:
            raise BuildFailedError(
                f"{path.name} can't be read as a zip archive: {error}", hint=_HINT
            ) from error
        try:
            return cls._of(path.name, archive)
        except BaseException:
            archive.close()
            raise

    @classmethod
    def _of(cls, filename: str, archive: ZipFile) -> Self:
        members: dict[str, Member] = {}
        for info in archive.infolist():
            if not info.is_dir():
                member = _member(filename, info)
                if member.name in members:
                    _refuse(filename, member.name, "is there twice")
                members[member.name] = member
        found = {match[1] for name in members if (match := _DIST_INFO.match(name))}
        if len(found) != 1:
            names = ", ".join(sorted(found)) or "none"
            raise BuildFailedError(
                f"{filename}: wanted one .dist-info folder, found {names}", hint=_HINT
            )
        wheel = cls(
            filename=filename,
            members=members,
            dist_info=found.pop(),
            record={},
            archive=archive,
        )
        wheel._check_version()
        return replace(wheel, record=wheel._read_record())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.archive.close()

    def metadata(self, name: str) -> str:
        """Return the text of the file *name* in the ``.dist-info`` folder.

        Raises:
            BuildFailedError: it is not there, or not UTF-8.
        """
        full = f"{self.dist_info}/{name}"
        member = self.members.get(full)
        if member is None:
            raise BuildFailedError(f"{self.filename} has no {full}", hint=_HINT)
        try:
            return b"".join(self.content(member)).decode()
        except UnicodeDecodeError as error:
            _refuse(self.filename, full, f"is not UTF-8: {error}", error)

    def content(self, member: Member) -> Iterator[bytes]:
        """Yield what *member* holds, in pieces of at most 1 MiB.

        Raises:
            BuildFailedError: its bytes are not those that the directory promises.
        """
        if member.method == DEFLATED:
            for _, piece in self.deflated(member):
                yield piece
            return
        from zipfile import BadZipFile  # noqa: PLC0415  (slow to import)

        try:
            with self.archive.open(self.archive.getinfo(member.name)) as file:
                while piece := file.read(_CHUNK):
                    yield piece
        except (BadZipFile, NotImplementedError, EOFError, OSError) as error:
            _refuse(self.filename, member.name, f"can't be read: {error}", error)

    def deflated(self, member: Member) -> Iterator[tuple[bytes, bytes]]:
        """Yield pieces of a member's deflate stream, and of what it inflates to.

        The stream is cut off where it ends: bytes after its final block, which zip
        readers ignore, would be taken for the trailer of a gzip member.

        Raises:
            BuildFailedError: its bytes are not those that the directory promises.
        """
        inflate = inflater()
        crc = size = 0
        raw = data = b""
        drained = True
        reads = self._raw(member)
        while size <= member.size:
            if drained:
                raw = data = next(reads, b"")
                if not raw:
                    _refuse(self.filename, member.name, "ends too early")
            try:
                piece = inflate.decompress(data, _CHUNK)
            except ERRORS as error:
                _refuse(self.filename, member.name, f"is damaged: {error}", error)
            data = inflate.unconsumed_tail
            drained = not data and len(piece) < _CHUNK
            crc = crc32(piece, crc)
            size += len(piece)
            if inflate.eof:
                yield raw[: len(raw) - len(inflate.unused_data)], piece
                break
            yield raw if drained else b"", piece
        if (crc, size) != (member.crc, member.size):
            _refuse(
                self.filename,
                member.name,
                f"is damaged: wanted {member.size} bytes with CRC-32 "
                f"{member.crc:08x}, found {size} with {crc:08x}",
            )

    def _raw(self, member: Member) -> Iterator[bytes]:
        """Yield the bytes of *member* as they are in the wheel, in bounded pieces."""
        name = member.name.encode("utf-8" if member.utf8 else "cp437")
        start = _LOCAL_HEADER.size + len(name)
        left = member.deflated_size
        assert self.archive.fp is not None
        descriptor = self.archive.fp.fileno()
        # Nearly always the first read has all of it.
        data = os.pread(descriptor, min(start + _EXTRA + left, _READ), member.offset)
        if len(data) < start or data[:4] != b"PK\x03\x04" or data[30:start] != name:
            _refuse(self.filename, member.name, "has another name in its own header")
        # The lengths may differ from those in the central directory.
        name_length, extra_length = _LOCAL_HEADER.unpack_from(data)
        if name_length != len(name):
            _refuse(self.filename, member.name, "has another name in its own header")
        start += extra_length
        offset = member.offset + start
        data = data[start : start + left]
        while left:
            if not data:
                data = os.pread(descriptor, min(left, _READ), offset)
                if not data:
                    _refuse(self.filename, member.name, "is cut off")
            yield data
            offset += len(data)
            left -= len(data)
            data = b""

    def _read_record(self) -> dict[str, RecordLine]:
        try:
            return {line.path: line for line in parse_record(self.metadata("RECORD"))}
        except ValueError as error:
            name = f"{self.dist_info}/RECORD"
            _refuse(self.filename, name, f"can't be read: {error}", error)

    def _check_version(self) -> None:
        headers = parse_headers(self.metadata("WHEEL"))
        version = headers.get("wheel-version", "")
        major, _, minor = version.partition(".")
        if major not in ("0", "1") or not minor.isdecimal():
            raise BuildFailedError(
                f"{self.filename} has version {version!r} of the wheel format; only 1 "
                "is known",
                hint="pin a version of the distribution that has an older wheel",
            )


def parse_headers(text: str) -> dict[str, str]:
    """Return the headers of ``WHEEL`` or ``METADATA``: first values by lower name."""
    headers: dict[str, str] = {}
    for line in text.split("\n"):
        if not line.strip():
            break
        name, colon, value = line.partition(":")
        if colon and not line[0].isspace():
            headers.setdefault(name.lower(), value.strip())
    return headers


def _member(filename: str, info: ZipInfo) -> Member:
    name = info.orig_filename
    if _UNSAFE.search(name):
        _refuse(filename, name, "has a name that is not safe to unpack")
    if info.flag_bits & _ENCRYPTED:
        _refuse(filename, name, "is encrypted")
    return Member(
        name,
        info.header_offset,
        info.compress_size,
        info.file_size,
        info.CRC,
        info.compress_type,
        bool(info.flag_bits & _UTF8),
        bool((info.external_attr >> 16) & 0o111),
    )


def _refuse(
    filename: str, member: str, what: str, cause: Exception | None = None
) -> NoReturn:
    raise BuildFailedError(
        f"{filename}: member {member!r} {what}", hint=_HINT
    ) from cause
