"""Inflating with ISA-L where it is installed, else with zlib: equal results."""

from __future__ import annotations

import zlib
from typing import Any, Protocol

_zlib: Any
try:
    from isal import isal_zlib as _zlib
except ImportError:  # no wheel of it for this machine
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
    made: Inflater = _zlib.decompressobj(_RAW)
    return made


def crc32(data: bytes, value: int = 0) -> int:
    """Return the CRC-32 of *data* after bytes whose CRC-32 is *value*."""
    found: int = _zlib.crc32(data, value)
    return found


#: What a damaged stream raises; ISA-L has an error of its own.
ERRORS: tuple[type[Exception], ...] = (zlib.error, _zlib.error)
