"""What ``gc`` removes, and what it never does."""

import fcntl
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagekit.digest import Digest
from imagekit.errors import StoreError
from imagekit.oci import annotations, model
from imagekit.store import Store
from imagekit.store_contents import Item, list_items
from imagekit.store_gc import Policy, choose, collect

_NOW = 1_700_000_000
_DAY = 86_400


def age(path: Path, days: float) -> None:
    """Make *path* look as if it was last used some days ago."""
    os.utime(path, (_NOW - days * _DAY,) * 2)


def add_layer(store: Store, title: str, size: int, days: float = 0) -> Digest:
    digest = store.add_blob(title[:1].encode() * size)
    store.write_record("layers", title, {"digest": str(digest), "title": title})
    age(store.blob_path(digest), days)
    age(store.root / "records" / "layers" / f"{title}.json", days)
    return digest


def add_wheel(store: Store, name: str, size: int, days: float = 0) -> Path:
    content = name[:1].encode() * size
    source = store.temporary() / name
    source.write_bytes(content)
    path = store.add_wheel(source, Digest.of(content).hex, f"{name}.whl")
    age(path, days)
    return path


def add_base(store: Store, size: int, days: float = 0) -> Digest:
    """Add a base image: a layer, and a manifest that a record names."""
    layer = store.add_blob(b"B" * size)
    record = {"manifest": {"layers": [str(layer)]}}
    store.write_record("bases", "python", record)
    age(store.blob_path(layer), days)
    age(store.root / "records" / "bases" / "python.json", days)
    return layer


def add_image(store: Store, layers: list[Digest]) -> tuple[Digest, Digest]:
    """Add the config and manifest that a build makes."""
    config = store.add_blob(b'{"architecture":"amd64","os":"linux"}')
    content = model.manifest(
        model.Descriptor(media_type=model.CONFIG, digest=config, size=37),
        [
            model.Descriptor(
                media_type=model.LAYER_GZIP,
                digest=layer,
                size=1,
                annotations=((annotations.KEY, "k"),),
            )
            for layer in layers
        ],
        {annotations.CONTENT_ID: "ik1-x"},
    )
    return config, store.add_blob(content)


def kinds(items: tuple[Item, ...]) -> dict[str, str]:
    return {item.name: item.kind for item in items}


class TestListing:
    def test_kinds(self, store: Store) -> None:
        layer = add_layer(store, "numpy 2", 10)
        base = add_base(store, 20)
        wheel = add_wheel(store, "numpy", 30)
        config, manifest = add_image(store, [layer])
        (store.temporary() / "blob-x").write_bytes(b"half")
        found = kinds(list_items(store))

        assert found[layer.hex] == "layer"
        assert found[base.hex] == "base"
        assert found[wheel.parent.name] == "wheel"
        assert found[config.hex] == found[manifest.hex] == "document"
        assert found["layers/numpy 2"] == found["bases/python"] == "record"
        assert found["blob-x"] == "unfinished"

    def test_titles(self, store: Store) -> None:
        layer = add_layer(store, "numpy 2", 10)
        wheel = add_wheel(store, "numpy", 30)
        titles = {item.name: item.title for item in list_items(store)}

        assert titles[layer.hex] == "numpy 2"
        assert titles[wheel.parent.name] == "numpy.whl"

    def test_an_empty_store_stays_away(self, store: Store) -> None:
        assert list_items(store) == ()
        assert collect(store, "all").removed == ()
        assert not store.root.exists()

    def test_oldest_first(self, store: Store) -> None:
        add_wheel(store, "b", 1, days=1)
        add_wheel(store, "a", 1, days=3)
        add_wheel(store, "c", 1, days=2)

        titles = [item.title for item in list_items(store)]
        assert titles == ["a.whl", "c.whl", "b.whl"]

    def test_a_record_that_is_used_uses_its_blob(self, store: Store) -> None:
        layer = add_layer(store, "numpy", 1, days=9)
        age(store.root / "records" / "layers" / "numpy.json", 1)
        (used,) = (item.used for item in list_items(store) if item.name == layer.hex)

        assert used == _NOW - _DAY

    def test_looking_is_not_using(self, store: Store) -> None:
        add_layer(store, "numpy", 1, days=9)
        add_image(store, [])
        for path in store.root.rglob("*.json"):
            age(path, 9)
        for path in (store.root / "blobs").rglob("*"):
            age(path, 9)
        list_items(store)

        assert {item.used for item in list_items(store)} == {_NOW - 9 * _DAY}

    def test_damaged_records_are_only_files(self, store: Store) -> None:
        folder = store.root / "records" / "layers"
        folder.mkdir(parents=True)
        for number, content in enumerate([b"", b"[]", b"{", b'{"digest": 3}', b"\xff"]):
            (folder / f"{number}.json").write_bytes(content)

        assert len(list_items(store)) == 5
        assert len(collect(store, "cap", cap=10**9).removed) == 5


class TestLayers:
    def test_downloads_stay(self, store: Store) -> None:
        layer = add_layer(store, "numpy", 10)
        base = add_base(store, 20)
        wheel = add_wheel(store, "numpy", 30)
        config, manifest = add_image(store, [layer])
        store.write_record("resolutions", "r", {"wheels": [wheel.parent.name]})
        store.write_record("pushed", "p", {str(layer): [str(layer)]})
        done = collect(store, "layers")

        assert not store.has_blob(layer)
        assert not store.has_blob(config)
        assert not store.has_blob(manifest)
        assert store.read_record("layers", "numpy") is None
        assert store.has_blob(base)
        assert wheel.exists()
        assert store.read_record("bases", "python") is not None
        assert store.read_record("resolutions", "r") is not None
        assert store.read_record("pushed", "p") is not None
        assert {item.kind for item in done.removed} == {"layer", "document", "record"}

    def test_a_layer_that_a_base_has_too_stays(self, store: Store) -> None:
        layer = add_layer(store, "numpy", 10)
        store.write_record("bases", "mine", {"layers": [str(layer)]})
        collect(store, "layers")

        assert store.has_blob(layer)
        assert store.read_record("layers", "numpy") is None

    def test_layers_without_a_record_go_with_their_manifest(self, store: Store) -> None:
        layer = store.add_blob(b"x" * 10)
        add_image(store, [layer])
        collect(store, "layers")

        assert not store.has_blob(layer)


class TestCap:
    def test_oldest_go_first(self, store: Store) -> None:
        old = add_wheel(store, "a", 1000, days=3)
        new = add_wheel(store, "b", 1000, days=1)
        done = collect(store, cap=1500)

        assert (old.exists(), new.exists()) == (False, True)
        assert not old.parent.exists()
        assert (done.freed, done.kept) == (1000, 1000)

    def test_nothing_goes_below_the_cap(self, store: Store) -> None:
        add_wheel(store, "a", 1000, days=3)
        add_layer(store, "b", 1000, days=3)

        assert collect(store, cap=3000).removed == ()

    def test_a_blob_takes_its_records_along(self, store: Store) -> None:
        layer = add_layer(store, "a", 1000, days=3)
        base = add_base(store, 1000, days=2)
        add_wheel(store, "c", 1000, days=1)
        collect(store, cap=1000)

        assert not store.has_blob(layer)
        assert not store.has_blob(base)
        assert store.read_record("layers", "a") is None
        assert store.read_record("bases", "python") is None

    def test_resolutions_stay(self, store: Store) -> None:
        wheel = add_wheel(store, "a", 1000, days=3)
        store.write_record("resolutions", "r", {"wheels": [wheel.parent.name]})
        age(store.root / "records" / "resolutions" / "r.json", 30)
        collect(store, cap=0)

        assert not wheel.exists()
        assert store.read_record("resolutions", "r") is not None

    def test_memories_can_go(self, store: Store) -> None:
        store.write_record("walk", "w", {"sha256": "0" * 64})
        collect(store, cap=0)

        assert store.read_record("walk", "w") is None

    def test_a_memory_keeps_no_blob(self, store: Store) -> None:
        layer = add_layer(store, "a", 1000, days=3)
        store.write_record("pushed", "p", {str(layer): []})
        collect(store, cap=500)

        assert not store.has_blob(layer)
        assert store.read_record("pushed", "p") is not None

    def test_leftovers_and_dangling_records_go(self, store: Store) -> None:
        (store.temporary() / "build-x" / "sub").mkdir(parents=True)
        (store.temporary() / "build-x" / "sub" / "file").write_bytes(b"x")
        (store.temporary() / "link").symlink_to("build-x")
        layer = add_layer(store, "a", 10)
        store.blob_path(layer).unlink()
        collect(store, cap=10**9)

        assert list(store.temporary().iterdir()) == []
        assert store.read_record("layers", "a") is None


def test_all(store: Store) -> None:
    add_image(store, [add_layer(store, "a", 10)])
    add_base(store, 10)
    add_wheel(store, "w", 10)
    done = collect(store, "all")

    assert done.kept == 0
    assert list_items(store) == ()


def test_what_is_not_ours_stays(store: Store) -> None:
    add_wheel(store, "w", 10)
    (store.root / "precious").write_text("x")
    (store.root / "other").mkdir()
    collect(store, "all")

    assert (store.root / "precious").exists()
    assert (store.root / "other").exists()


@pytest.mark.parametrize("policy", ["cap", "layers", "all"])
def test_dry_run_says_the_same_and_removes_nothing(
    store: Store, policy: Policy
) -> None:
    add_image(store, [add_layer(store, "a", 10)])
    add_wheel(store, "w", 10)
    before = list_items(store)
    said = collect(store, policy, dry_run=True)

    assert list_items(store) == before
    done = collect(store, policy)
    assert {item.path for item in done.removed} == {item.path for item in said.removed}
    assert done.kept == said.kept


def test_records_go_before_what_they_promise(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        add_layer(store, f"{number}", 10)
    unlink = Path.unlink

    def killed(path: Path, *, missing_ok: bool = False) -> None:
        for record in (store.root / "records").rglob("*.json"):
            digest = Digest.parse(json.loads(record.read_bytes())["digest"])
            assert store.has_blob(digest)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", killed)

    assert len(collect(store, "layers").removed) == 10


def test_a_file_that_cannot_be_removed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = add_wheel(store, "a", 10)

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)  # root may remove everything

    with pytest.raises(StoreError, match=r"can't remove '.*a\.whl'"):
        collect(store, "all")


class TestBuildsAtTheSameTime:
    def test_gc_waits_for_a_build(self, store: Store) -> None:
        layer = add_layer(store, "a", 10)
        waiting, done = threading.Event(), threading.Event()

        def run() -> None:
            collect(store, "all", waiting=waiting.set)
            done.set()

        with store.in_use():
            thread = threading.Thread(target=run)
            thread.start()
            assert waiting.wait(10)
            assert not done.is_set()
            assert store.has_blob(layer)
        thread.join(10)

        assert done.is_set()
        assert not store.has_blob(layer)

    def test_a_build_of_another_process_counts(self, store: Store) -> None:
        layer = add_layer(store, "a", 10)
        code = (
            "import sys; from pathlib import Path; from imagekit.store import Store\n"
            "with Store(Path(sys.argv[1])).in_use():\n"
            "    print('in', flush=True); sys.stdin.read()"
        )
        build = subprocess.Popen(
            [sys.executable, "-c", code, str(store.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert build.stdin
        assert build.stdout
        with build:
            assert build.stdout.readline() == b"in\n"
            found: list[bool] = []

            def waiting() -> None:
                assert build.stdin
                found.append(store.has_blob(layer))
                build.stdin.close()

            collect(store, "all", waiting=waiting)

        assert found == [True]
        assert not store.has_blob(layer)

    def test_a_build_waits_for_gc(self, store: Store) -> None:
        add_layer(store, "a", 10)
        with (
            store.alone(),
            (store.root / "lock").open("a") as file,
            pytest.raises(BlockingIOError),
        ):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def test_dry_run_does_not_wait(self, store: Store) -> None:
        add_layer(store, "a", 10)
        with store.in_use():
            assert len(collect(store, "all", dry_run=True).removed) == 2


_names = st.sampled_from("abcdef")


@st.composite
def stores(draw: st.DrawFn) -> tuple[Item, ...]:
    """Return the items of a store in which records promise only what is there."""
    blobs = draw(
        st.lists(
            st.tuples(_names, st.sampled_from(["layer", "base", "document", "wheel"])),
            unique_by=lambda blob: blob[0],
        )
    )
    items = [
        Item(
            kind=kind,  # type: ignore[arg-type]  # one of the four above
            path=Path(name),
            name=name,
            size=draw(st.integers(0, 9)),
            used=draw(st.integers(0, 5)),
        )
        for name, kind in blobs
    ]
    there = [item.name for item in items if item.kind != "wheel"]
    for number in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["layers", "bases", "walk"]))
        promises = draw(st.sets(st.sampled_from(there))) if there else set()
        items.append(
            Item(
                kind="record",
                path=Path(f"{kind}/{number}"),
                name=f"{kind}/{number}",
                size=draw(st.integers(0, 2)),
                used=draw(st.integers(0, 5)),
                promises=frozenset(promises if kind != "walk" else ()),
            )
        )
    return tuple(sorted(items, key=lambda item: (item.used, item.name)))


@given(items=stores(), cap=st.integers(0, 40))
def test_laws(items: tuple[Item, ...], cap: int) -> None:
    for policy in ("cap", "layers", "all"):
        gone = choose(items, policy, cap)
        kept = [item for item in items if item not in gone]

        assert len(set(gone)) == len(gone)
        names = {item.name for item in kept}
        for item in kept:
            assert item.promises <= names, "a record that stays has lost a blob"
    gone = choose(items, "cap", cap)
    kept = [item for item in items if item not in gone]
    if sum(item.size for item in kept) > cap:
        assert {item.kind for item in kept} == {"record"}
    assert not any(item.kind in ("base", "wheel") for item in choose(items, "layers"))
