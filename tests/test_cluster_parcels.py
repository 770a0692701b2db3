"""Documents and blobs as ConfigMaps, and back."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagekit.cluster.documents import DOCUMENT
from imagekit.digest import Digest
from imagekit.errors import StoreError
from imagekit.running.cluster import parcels
from imagekit.running.cluster.parcels import BOUND, pack, unpack
from imagekit.running.cluster.raw_data import FolderData
from imagekit.task_errors import InlineIOMaxBytesBreached, RuntimeSystemError
from imagekit.value_blobs import ValueBlobs

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    # Lone surrogates too: Python's texts have them, and JSON can write them.
    | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


def noise(size: int, seed: int = 0) -> str:
    """Return a text that does not compress to less than half."""
    return random.Random(seed).randbytes(size // 2 + 1).hex()[:size]


def kubernetes_size(data: dict[str, str], binary: dict[str, str]) -> int:
    """Return what the API checks against 1 MiB, with the names that it does not."""
    size = sum(len(key) + len(text.encode()) for key, text in data.items())
    return size + sum(
        len(key) + len(base64.b64decode(text)) for key, text in binary.items()
    )


class Ends:
    """Two sides, and a store between them."""

    def __init__(self, folder: Path) -> None:
        self.here = ValueBlobs(folder / "here")
        self.there = ValueBlobs(folder / "there")
        (folder / "store").mkdir()
        self.store = FolderData(str(folder / "store"))

    def stored(self) -> int:
        return sum(1 for _ in Path(self.store.name).glob("??/*"))


@pytest.fixture
def ends(tmp_path: Path) -> Ends:
    return Ends(tmp_path)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    document=JSON,
    long=st.integers(0, 9000),
    sizes=st.lists(st.integers(0, 6000), max_size=40),
)
def test_what_is_packed_is_unpacked(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    document: Any,
    long: int,
    sizes: list[int],
) -> None:
    monkeypatch.setattr(parcels, "BOUND", 8000)
    monkeypatch.setattr(parcels, "_COMPRESSED_FROM", 1000)
    ends = Ends(tmp_path_factory.mktemp("ends"))
    sent = {"document": document, "long": noise(long)}
    wanted = [
        ends.here.put_bytes(random.Random(index).randbytes(size))
        for index, size in enumerate(sizes)
    ]

    data, binary = pack(sent, [*wanted, *wanted], ends.here, ends.store)

    assert kubernetes_size(data, binary) <= 8000
    assert pack(sent, reversed(wanted), ends.here, ends.store) == (data, binary)
    assert unpack(data, binary, ends.there, ends.store) == sent
    for digest in wanted:
        assert ends.there.read(digest) == ends.here.read(digest)


def test_a_small_one_is_plain(ends: Ends) -> None:
    digest = ends.here.put_bytes(b"x")
    data, binary = pack({"b": 1, "a": "ü"}, [digest], ends.here, None)

    assert data == {DOCUMENT: '{"b":1,"a":"\\u00fc"}'}
    assert binary == {f"blob.{digest.hex}": "eA=="}
    assert unpack(data, {}, ends.there, None) == {"a": "ü", "b": 1}


def test_what_compresses_is_compressed(ends: Ends) -> None:
    long = {"text": "word " * 400_000}
    data, binary = pack(long, [], ends.here, None)

    assert data == {}
    assert list(binary) == [f"{DOCUMENT}.gz"]
    assert len(binary[f"{DOCUMENT}.gz"]) < 20_000
    assert unpack(data, binary, ends.there, None) == long


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_both_sides_of_the_bound(ends: Ends, over: int) -> None:
    # The base64 of three bytes is four letters; names count twice, and 10.
    names = 2 * len(DOCUMENT) + 10 + 2 * len(f"blob.{'0' * 64}") + 10 + len('""')
    room = BOUND - names
    document = "x" * (room % 4 + (4 if over > 0 else 0))
    blob = random.Random(1).randbytes(room // 4 * 3 - (3 if over < 0 else 0))
    digest = ends.here.put_bytes(blob)

    data, binary = pack(document, [digest], ends.here, ends.store)

    assert ends.stored() == (1 if over > 0 else 0)
    assert kubernetes_size(data, binary) < 1 << 20
    assert unpack(data, binary, ends.there, ends.store) == document
    assert ends.there.read(digest) == blob
    if over > 0:
        with pytest.raises(InlineIOMaxBytesBreached):
            pack(document, [digest], ends.here, None)
    else:
        assert pack(document, [digest], ends.here, None) == (data, binary)


def test_the_small_ones_stay(ends: Ends) -> None:
    large = ends.here.put_bytes(bytes(BOUND))
    small = [ends.here.put_bytes(b"%d" % number) for number in range(10)]
    data, binary = pack({}, [large, *small], ends.here, ends.store)

    assert json.loads(data["stored.json"]) == [str(large)]
    assert set(binary) == {f"blob.{digest.hex}" for digest in small}
    assert unpack(data, binary, ends.there, ends.store) == {}
    assert ends.there.has(large)


def test_a_document_that_is_too_large(ends: Ends) -> None:
    document = {"text": noise(4 * BOUND)}
    small = ends.here.put_bytes(b"small")
    large = ends.here.put_bytes(bytes(BOUND))
    data, binary = pack(document, [small, large], ends.here, ends.store)

    assert list(data) == ["document.stored"]
    assert list(binary) == [f"blob.{small.hex}"]
    assert ends.stored() == 2
    assert unpack(data, binary, ends.there, ends.store) == document
    assert ends.there.has(small)
    assert ends.there.has(large)


def test_more_blobs_than_names_fit(ends: Ends) -> None:
    digests = [ends.here.put_bytes(b"%d" % number) for number in range(12_000)]
    with pytest.raises(InlineIOMaxBytesBreached):
        pack({}, digests, ends.here, None)
    # To store them all would only take longer.
    few = [*digests[:3000], ends.here.put_bytes(bytes(BOUND))]
    data, binary = pack({}, few, ends.here, ends.store)

    assert ends.stored() == 1
    assert kubernetes_size(data, binary) < 1 << 20
    assert unpack(data, binary, ends.there, ends.store) == {}
    assert all(ends.there.has(digest) for digest in few)


def test_too_large_without_a_store(ends: Ends) -> None:
    digest = ends.here.put_bytes(bytes(BOUND))
    with pytest.raises(InlineIOMaxBytesBreached) as found:
        pack({"a": 1}, [digest], ends.here, None)

    assert f"1 files, arrays and the like of {BOUND} bytes" in found.value.message
    assert f"takes {BOUND} encoded bytes" in found.value.message
    assert "raw_data_path" in (found.value.hint or "")
    with pytest.raises(InlineIOMaxBytesBreached, match=f"values of {2 * BOUND + 2} "):
        pack(noise(2 * BOUND), [], ends.here, None)


def test_a_blob_that_is_not_there(ends: Ends) -> None:
    digest = Digest.of(b"nowhere")
    with pytest.raises(StoreError, match=str(digest)):
        pack({}, [digest], ends.here, ends.store)


def test_a_stored_blob_that_is_gone(ends: Ends) -> None:
    digest = ends.here.put_bytes(bytes(BOUND))
    data, binary = pack({}, [digest], ends.here, ends.store)

    with pytest.raises(StoreError, match=f"no place to fetch {digest}") as found:
        unpack(data, binary, ends.there, None)
    assert "raw_data_path" in (found.value.hint or "")
    ValueBlobs(ends.store.name).path(digest).unlink()
    with pytest.raises(StoreError, match=f"no blob {digest} in {ends.store.name}"):
        unpack(data, binary, ends.there, ends.store)
    # One that is here need not be fetched.
    assert unpack(data, binary, ends.here, None) == {}


@pytest.mark.parametrize(
    ("data", "binary"),
    [
        ({}, {}),
        ({DOCUMENT: "{"}, {}),
        ({}, {f"{DOCUMENT}.gz": "eA=="}),
        ({}, {f"{DOCUMENT}.gz": "H4sIAAAAAAAC/w=="}),
        ({}, {f"{DOCUMENT}.gz": "?"}),
        ({DOCUMENT: "1", "stored.json": "[1]"}, {}),
        ({DOCUMENT: "1", "stored.json": '["sha256:1"]'}, {}),
        ({"document.stored": "x"}, {}),
        ({DOCUMENT: "1"}, {"blob.x": ""}),
    ],
)
def test_damaged_ones(ends: Ends, data: dict[str, str], binary: dict[str, str]) -> None:
    with pytest.raises(RuntimeSystemError, match="is damaged"):
        unpack(data, binary, ends.there, ends.store)


def test_a_damaged_blob(ends: Ends) -> None:
    digest = Digest.of(b"x")
    with pytest.raises(StoreError, match=f"{digest}.*is damaged"):
        unpack({DOCUMENT: "1"}, {f"blob.{digest.hex}": "eQ=="}, ends.there, None)
    assert not ends.there.has(digest)
