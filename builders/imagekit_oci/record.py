"""``RECORD``: the files of a distribution and their hashes, read and written."""

from __future__ import annotations

import csv
import io
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import NamedTuple


class RecordLine(NamedTuple):
    """A line of ``RECORD``.

    Attributes:
        path: relative to site-packages, with ``/``.
        hash: ``sha256=…`` in unpadded URL-safe base64, or empty.
        size: decimal number of bytes, or empty.
    """

    path: str
    hash: str
    size: str


def parse_record(text: str) -> Iterator[RecordLine]:
    """Yield the lines of *text*.

    Raises:
        ValueError: a line has not three fields.
    """
    for number, row in enumerate(csv.reader(io.StringIO(text, newline="")), 1):
        if not row:
            continue
        if len(row) != 3:  # noqa: PLR2004  (path, hash, size)
            raise ValueError(f"line {number} has {len(row)} fields, not 3")
        # Some wheels have absolute paths here (selenium); uv takes them as relative.
        yield RecordLine(row[0].lstrip("/"), row[1], row[2])


def record_text(lines: Iterable[RecordLine]) -> bytes:
    """Return *lines* as the bytes of ``RECORD``, sorted as uv sorts them."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(
        sorted(lines, key=lambda line: tuple(field.encode() for field in line))
    )
    return file.getvalue().encode()


def line_of(path: str, content: bytes) -> RecordLine:
    """Return the line for a file with *content*."""
    return RecordLine(path, hash_text(sha256(content).digest()), str(len(content)))


def hash_text(digest: bytes) -> str:
    """Return a SHA-256 as ``RECORD`` has it."""
    return "sha256=" + urlsafe_b64encode(digest).rstrip(b"=").decode()
