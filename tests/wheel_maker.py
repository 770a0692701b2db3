"""Wheels for tests, byte for byte: also ones that no zip library would write.

Nothing here uses zlib to compress, so the wheels are the same everywhere.
"""

from __future__ import annotations

import struct
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path

from imagekit.oci import gzip_members
from imagekit.plan import Distribution, Interpreter

PYTHON = Interpreter(
    path="/usr/local/bin/python3.11", version=(3, 11), full_version="3.11.9"
)
MTIME = 1_700_000_000
UTF8 = 1 << 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Zipped:
    """A member of a zip archive; what is None follows from the rest."""

    data: bytes
    method: int = 8
    raw: bytes | None = None
    crc: int | None = None
    size: int | None = None
    flags: int = 0
    mode: int = 0o100644
    local_name: str | None = None
    local_extra: bytes = b""


def deflated(data: bytes) -> bytes:
    """Return *data* as a raw deflate stream; long data are not made smaller."""
    encode = gzip_members.packed if len(data) < 1 << 16 else gzip_members.stored
    return encode(data)[len(gzip_members.HEADER) : -8]


def write_zip(path: Path, members: Iterable[tuple[str, Zipped]]) -> Path:
    """Write an archive (APPNOTE.TXT, 4.3)."""
    directory = b""
    count = 0
    with path.open("wb") as file:
        for name, member in members:
            raw = member.raw
            if raw is None:
                raw = deflated(member.data) if member.method == 8 else member.data
            crc = zlib.crc32(member.data) if member.crc is None else member.crc
            size = len(member.data) if member.size is None else member.size
            encoded = name.encode("utf-8", "surrogateescape")
            local = (member.local_name or name).encode()
            flags = member.flags | (0 if name.isascii() else UTF8)
            common = struct.pack("<HHHHH", 20, flags, member.method, 0, 0)
            # Bit 3: sizes and CRC come after the data, and are zero here.
            sizes = struct.pack("<LLL", crc, len(raw), size)
            offset = file.tell()
            file.write(b"PK\x03\x04" + common + (bytes(12) if flags & 8 else sizes))
            file.write(struct.pack("<HH", len(local), len(member.local_extra)))
            file.write(local + member.local_extra + raw)
            if flags & 8:
                file.write(b"PK\x07\x08" + sizes)
            directory += b"PK\x01\x02" + struct.pack("<H", 0x0314) + common + sizes
            directory += struct.pack("<HHHHH", len(encoded), 0, 0, 0, 0)
            directory += struct.pack("<LL", member.mode << 16, offset) + encoded
            count += 1
        start = file.tell()
        file.write(directory + b"PK\x05\x06" + bytes(4))
        file.write(struct.pack("<HHLLH", count, count, len(directory), start, 0))
    return path


def record_hash(data: bytes) -> str:
    """Return a hash as ``RECORD`` has it."""
    return "sha256=" + urlsafe_b64encode(sha256(data).digest()).rstrip(b"=").decode()


def make_wheel(
    folder: Path,
    files: Mapping[str, bytes | Zipped],
    *,
    name: str = "tiny",
    version: str = "1.0",
    record: str | None = None,
    extra: Iterable[tuple[str, Zipped]] = (),
) -> Path:
    """Write a wheel with *files*, and what makes it a wheel.

    Files named in *files* replace generated ones; *extra* members are not in RECORD.
    """
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    members: dict[str, Zipped] = {}
    for path, content in {
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n",
        **files,
    }.items():
        members[path] = content if isinstance(content, Zipped) else Zipped(data=content)
    if record is None:
        record = "".join(
            f"{path},{record_hash(member.data)},{len(member.data)}\n"
            for path, member in members.items()
        )
        record += f"{info}/RECORD,,\n"
    members.setdefault(f"{info}/RECORD", Zipped(data=record.encode()))
    folder.mkdir(exist_ok=True)
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    return write_zip(wheel, [*members.items(), *extra])


def distribution(
    wheel: Path, *, requested: bool = False, direct_url: str | None = None
) -> Distribution:
    """Return what the file at *wheel* is in a plan."""
    name, version = wheel.name.split("-")[:2]
    with wheel.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    return Distribution(
        name=name.replace("_", "-").lower(),
        version=version,
        filename=wheel.name,
        sha256=digest,
        size=wheel.stat().st_size,
        requested=requested,
        direct_url=direct_url,
    )
