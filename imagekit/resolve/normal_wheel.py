"""Built wheels in one form: equal contents are equal bytes, whoever zipped them."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

#: The earliest time that a zip can hold.
_TIME = (1980, 1, 1, 0, 0, 0)
_BLOCK = 1 << 20
_SYMBOL = re.compile(rb"GLIBC_(\d+)\.(\d+)")


def normalize_wheel(source: Path, destination: Path) -> None:
    """Write the members of the wheel *source*, sorted, without times.

    Members are stored, not deflated: the bytes must not depend on a zlib. The metadata
    comes last, and RECORD at its end, as the wheel format recommends.
    """
    with (
        zipfile.ZipFile(source) as old,
        zipfile.ZipFile(destination, "w", zipfile.ZIP_STORED) as new,
    ):
        for item in sorted(old.infolist(), key=_order):
            if item.is_dir():
                continue
            info = zipfile.ZipInfo(item.filename, _TIME)
            executable = (item.external_attr >> 16) & 0o111
            info.external_attr = (0o100755 if executable else 0o100644) << 16
            info.create_system = 3
            info.file_size = item.file_size
            with old.open(item) as reader, new.open(info, "w") as writer:
                while block := reader.read(_BLOCK):
                    writer.write(block)


def newest_glibc(wheel: Path) -> tuple[int, int] | None:
    """Return the newest glibc that a program or library in *wheel* was linked to."""
    newest = None
    with zipfile.ZipFile(wheel) as archive:
        for item in archive.infolist():
            with archive.open(item) as file:
                if file.read(4) != b"\x7fELF":
                    continue
                data = file.read()
            for major, minor in _SYMBOL.findall(data):
                version = int(major), int(minor)
                newest = version if newest is None else max(newest, version)
    return newest


def _order(item: zipfile.ZipInfo) -> tuple[bool, bool, bytes]:
    folder, _, name = item.filename.partition("/")
    is_metadata = folder.endswith(".dist-info")
    return is_metadata, is_metadata and name == "RECORD", item.filename.encode()
