"""Inflating with ISA-L where it is installed, else with zlib: equal results."""

from __future__ import annotations

import zlib
from typing import Any, Protocol

try:
    from isal import isal_zlib as _zlib
except ImportError:
    _zlib = zlib

_RAW = -15


class Inflater(Protocol):
    """What is used of a :func:`zlib.decompressobj`."""

    @property
    def eof(self) -> bool:
        """Whether the final block has ended."""

    @property
    def unused_data(self) -> bytes:
        """What was given after the final block."""

    @property
    def unconsumed_tail(self) -> bytes:
        """What was given and not looked at, since the output had its length."""

    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes:
        """Return at most *max_length* more bytes; 0 is no limit."""


def inflater() -> Inflater:
    """Return a new inflater of a raw deflate stream."""
    made: Any = _zlib.decompressobj(_RAW)
    return made  # type: ignore[no-any-return]


def crc32(data: bytes, value: int = 0) -> int:
    """Return the CRC-32 of *data* after bytes whose CRC-32 is *value*."""
    return _zlib.crc32(data, value)


#: What a damaged stream raises; ISA-L has an error of its own.
InflateError: type[Exception] = _zlib.error
