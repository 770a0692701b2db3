"""Tar headers are CPython's, written without it."""

from __future__ import annotations

import tarfile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imagekit.oci import tar

# Any name that a Linux file system has: no NUL, no slash but between components,
# undecodable bytes as surrogates.
NAME = st.binary(min_size=1, max_size=150).map(
    lambda raw: (
        raw.replace(b"\0", b"_").decode("utf-8", "surrogateescape").strip("/") or "x"
    )
)
TYPES = st.sampled_from(["0", "2", "5"])


@given(
    path=NAME,
    kind=TYPES,
    mode=st.sampled_from([0o644, 0o755, 0o777]),
    size=st.integers(0, 10**12),
    mtime=st.integers(0, 8**11 - 1),
    linkname=NAME,
)
@example("a" * 99, "0", 0o644, 0, 0, "x")
@example("a" * 100, "0", 0o644, 8**11 - 1, 0, "x")
@example("a" * 101, "0", 0o644, 8**11, 1, "x")
@example("a" * 99, "5", 0o755, 0, 0, "x")
@example("a" * 100, "5", 0o755, 0, 0, "x")
@example("é" * 60, "2", 0o777, 0, 0, "b" * 100)
@example("é" * 60, "2", 0o777, 0, 0, "b" * 101)
@example("\udcff", "2", 0o777, 0, 0, "ü")
def test_headers_equal_those_of_cpython(
    path: str, kind: tar.EntryType, mode: int, size: int, mtime: int, linkname: str
) -> None:
    info = tarfile.TarInfo(path)
    info.type = kind.encode()
    info.mode = mode
    info.size = size if kind == "0" else 0
    info.mtime = mtime
    info.linkname = linkname if kind == "2" else ""

    found = tar.header(
        path, type=kind, mode=mode, size=info.size, mtime=mtime, linkname=info.linkname
    )

    assert found == info.tobuf(tarfile.PAX_FORMAT, errors="surrogateescape")


@given(st.integers(0, 10**6))
def test_padding_fills_the_block(size: int) -> None:
    padding = tar.padding(size)

    assert (size + len(padding)) % 512 == 0
    assert len(padding) < 512
    assert not any(padding)


def test_the_archive_ends_with_two_blocks_of_zeros() -> None:
    assert bytes(1024) == tar.END


@pytest.mark.parametrize("mtime", [-1, 8**11])
def test_a_time_beyond_the_field_is_refused(mtime: int) -> None:
    with pytest.raises(ValueError, match="no tar header can hold the time"):
        tar.header("a", type="0", mode=0o644, mtime=mtime)
