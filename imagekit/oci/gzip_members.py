"""Gzip members (RFC 1952) whose bytes depend on their contents alone.

A gzip file may be many members, one after the other. Layers are made so: a member for
every file, whose deflate stream is copied out of a wheel, and members of our own for
what is in between. Those don't come from zlib, since its output differs between
versions; two encoders that need no tuning are enough:

* :func:`stored`: bytes as they are, in stored blocks (RFC 1951, 3.2.4);
* :func:`packed`: fixed Huffman codes (3.2.6) and runs of one byte, which is all that
  tar headers need.

The output is part of the layer format: a change of a byte is a new format version.
"""

from __future__ import annotations

import re
import struct
import zlib
from functools import lru_cache
from typing import TypeAlias

#: Magic, deflate, no flags, no time, no extra flags, unknown operating system.
HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"

_STORED_BLOCK = 65535
#: Largest :func:`stored` member that layers use: whole blocks, below 1 MiB.
STORED_LIMIT = 16 * _STORED_BLOCK

_trailer = struct.Struct("<LL").pack
_block_header = struct.Struct("<BHH").pack

# Bits are collected in an integer; a long one would make that quadratic.
_FLUSH_BYTES = 2048
# Runs of NUL, most of a header, are found fastest by a pattern of their own. In the
# other, "\1{3,}" would be twice as slow.
_RUNS_OF_NUL = re.compile(rb"\0{4,}")
_RUNS = re.compile(rb"(.)\1\1\1\1*", re.DOTALL)
#: Some bits as an integer, and how many they are.
_Code: TypeAlias = tuple[int, int]
_LONGEST = 258
_SHORTEST = 3


def trailer(crc: int, size: int) -> bytes:
    """Return what ends a member: CRC-32 and size of the inflated bytes."""
    return _trailer(crc, size & 0xFFFFFFFF)


def stored(data: bytes) -> bytes:
    """Return *data* as one member, not compressed."""
    parts = [HEADER]
    end = len(data)
    for start in range(0, end or 1, _STORED_BLOCK):
        block = data[start : start + _STORED_BLOCK]
        final = start + _STORED_BLOCK >= end
        parts += (_block_header(final, len(block), len(block) ^ 0xFFFF), block)
    parts.append(trailer(zlib.crc32(data), end))
    return b"".join(parts)


def packed(data: bytes) -> bytes:
    """Return *data* as one member, with runs of a byte shortened."""
    return HEADER + _deflate(data) + trailer(zlib.crc32(data), len(data))


def _deflate(data: bytes) -> bytes:
    """Return *data* as one final block of fixed Huffman codes.

    A run of four or more equal bytes is its first byte and matches at distance 1.
    """
    codes: list[_Code] = []
    start = 0
    for nul in _RUNS_OF_NUL.finditer(data):
        begin, end = nul.span()
        if begin > start:
            _add_text(codes, data[start:begin])
        codes.append(_run(0, end - begin))
        start = end
    _add_text(codes, data[start:])
    done = b""
    value, count = 0b011, 3  # final block, type 01; from the least significant bit
    for code, width in codes:
        value |= code << count
        count += width
        if count > 8 * _FLUSH_BYTES:
            whole = count // 8
            done += (value & ((1 << 8 * whole) - 1)).to_bytes(whole, "little")
            value >>= 8 * whole
            count -= 8 * whole
    count += 7  # the end of the block is seven zero bits
    return done + value.to_bytes((count + 7) // 8, "little")


def _add_text(codes: list[_Code], data: bytes) -> None:
    """Add the codes of *data*, which has no run of NUL."""
    start = 0
    for run in _RUNS.finditer(data):
        begin, end = run.span()
        if begin > start:
            _add_literals(codes, data[start:begin])
        codes.append(_run(data[begin], end - begin))
        start = end
    _add_literals(codes, data[start:])


def _add_literals(codes: list[_Code], data: bytes) -> None:
    """Add the codes of *data*, which has no runs."""
    if not data.isascii():
        codes += map(_literal, data)
        return
    chunk = data.translate(_ASCII_CODES)
    for start in range(0, len(chunk), _FLUSH_BYTES):
        piece = chunk[start : start + _FLUSH_BYTES]
        codes.append((int.from_bytes(piece, "little"), 8 * len(piece)))


def _reversed(code: int, width: int) -> int:
    """Return *code* as it is written: Huffman codes go in highest bit first."""
    return int(f"{code:0{width}b}"[::-1], 2)


@lru_cache(maxsize=256)
def _literal(byte: int) -> tuple[int, int]:
    if byte < 144:  # noqa: PLR2004  (RFC 1951, 3.2.6)
        return _reversed(0x30 + byte, 8), 8
    return _reversed(0x190 + byte - 144, 9), 9


#: The codes of bytes below 144 are eight bits wide, so text is a translation.
_ASCII_CODES = bytes(_literal(byte)[0] if byte < 128 else 0 for byte in range(256))  # noqa: PLR2004


@lru_cache(maxsize=1024)
def _run(byte: int, length: int) -> tuple[int, int]:
    """Return the bits of a run: a literal and matches, as long as they can be.

    Where the longest match would leave one or two bytes, too few for another, it
    leaves three.
    """
    value, count = _literal(byte)
    left = length - 1
    while left:
        take = min(left, _LONGEST)
        if 0 < left - take < _SHORTEST:
            take = left - _SHORTEST
        code, width = _match(take)
        value |= code << count
        count += width
        left -= take
    return value, count


@lru_cache(maxsize=256)
def _match(length: int) -> tuple[int, int]:
    """Return the bits of a match of *length* at distance 1 (RFC 1951, 3.2.5)."""
    if length == _LONGEST:
        symbol, extra, extra_bits = 285, 0, 0
    else:
        # Groups of four symbols share a number of extra bits, after the first eight.
        above = length - _SHORTEST
        extra_bits = max(0, above.bit_length() - 3)
        symbol = 257 + 4 * extra_bits + (above >> extra_bits)
        extra = above & ((1 << extra_bits) - 1)
    if symbol < 280:  # noqa: PLR2004  (RFC 1951, 3.2.6)
        value, count = _reversed(symbol - 256, 7), 7
    else:
        value, count = _reversed(0xC0 + symbol - 280, 8), 8
    # Then the extra bits, and five zero bits for the distance.
    return value | extra << count, count + extra_bits + 5
