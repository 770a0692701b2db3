"""Gzip members inflate to what went in, and their bytes never change."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagekit.oci import gzip_members, tar

# Runs of every length that the codes treat differently, and text between them.
RUNS = st.lists(st.tuples(st.integers(0, 255), st.integers(1, 2000)), max_size=20).map(
    lambda runs: b"".join(bytes([byte]) * count for byte, count in runs)
)
DATA = st.one_of(st.binary(max_size=5000), RUNS)


@given(DATA)
def test_packed_round_trip(data: bytes) -> None:
    assert gzip.decompress(gzip_members.packed(data)) == data


@given(DATA)
def test_stored_round_trip(data: bytes) -> None:
    assert gzip.decompress(gzip_members.stored(data)) == data


@given(st.lists(DATA, max_size=5))
def test_members_follow_each_other(parts: list[bytes]) -> None:
    members = b"".join(map(gzip_members.packed, parts))

    assert gzip.decompress(members) == b"".join(parts)


@pytest.mark.parametrize("byte", [0, ord("0"), 143, 144, 255])
def test_runs_of_every_length(byte: int) -> None:
    for length in range(1, 800):
        data = b"<" + bytes([byte]) * length + b">"
        assert gzip.decompress(gzip_members.packed(data)) == data


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 3 * 65535, 1 << 20])
def test_stored_blocks_of_every_kind(size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)

    found = gzip_members.stored(data[:size])

    blocks = max(1, -(-size // 65535))
    assert gzip.decompress(found) == data[:size]
    assert len(found) == size + 5 * blocks + 18


def test_long_data_is_packed_in_bounded_pieces() -> None:
    data = b"some text, and then \xe9\xff more of it" * 20_000

    assert gzip.decompress(gzip_members.packed(data)) == data


def test_headers_become_small() -> None:
    header = tar.header(
        "opt/venv/lib/python3.11/site-packages/numpy/core/numeric.py",
        type="0",
        mode=0o644,
        size=81877,
        mtime=1_700_000_000,
    )
    data = bytes(200) + header

    # mechanisms: about 150 bytes; zlib at its best 135
    assert len(gzip_members.packed(data)) < 1.15 * len(gzip.compress(data, 9, mtime=0))


def test_the_bytes_are_those_of_the_format() -> None:
    """RFC 1951 and RFC 1952 by hand: literal a, match of 3 and of 258 at distance 1."""
    data = b"a" * 262
    bits = "".join(
        (
            "1" + "10",  # final; type 01, least significant bit first
            f"{0x30 + ord('a'):08b}",
            f"{0xC0 + 285 - 280:08b}" + "00000",  # 258 bytes, distance 1
            f"{257 - 256:07b}" + "00000",  # 3 bytes, distance 1
            "0000000",
        )
    )
    bits += "0" * (-len(bits) % 8)
    stream = bytes(int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8))
    crc = zlib.crc32(data).to_bytes(4, "little")

    found = gzip_members.packed(data)

    assert found == (
        bytes.fromhex("1f8b08000000000000ff") + stream + crc + b"\x06\x01\0\0"
    )


def test_the_size_in_the_trailer_is_modulo_2_to_the_32() -> None:
    assert gzip_members.trailer(1, (1 << 32) + 5) == b"\1\0\0\0\5\0\0\0"
