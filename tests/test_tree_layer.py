"""Layers of files: what was hashed is what is packed, around the base's links."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from golden_layers import make_tree
from hypothesis import given
from hypothesis import strategies as st
from layer_reading import contents, entries, rebuilt, tar_bytes
from wheel_maker import MTIME

from imagekit.base_paths import Links
from imagekit.errors import (
    BuildFailedError,
    SourceChangedError,
    SourceUnreadableError,
)
from imagekit.ignore import IgnoreRules
from imagekit.plan import LayerDescriptor
from imagekit.sources import Entry, Tree, walk
from imagekit.store import Store
from imagekit_oci.tree_layer import tree_layer_key, write_tree_layer

EMPTY = Tree(entries=())
LINKS = {"/bin": "usr/bin", "/lib": "/usr/lib", "/usr/lib/here": "../share"}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return make_tree(tmp_path / "tree")


def write(
    store: Store, tree: Tree, destination: str = "/app", **links: str
) -> LayerDescriptor:
    table = {f"/{name}": target for name, target in links.items()}
    return write_tree_layer(store, tree, destination, mtime=MTIME, links=table)


def file(path: str, location: Path) -> Entry:
    data = location.read_bytes()
    return Entry(
        path=path,
        type="file",
        size=len(data),
        sha256=sha256(data).hexdigest(),
        location=str(location),
    )


def test_the_layer_holds_the_tree(store: Store, tree: Tree) -> None:
    layer = write(store, tree)

    found = entries(store, layer)
    assert contents(store, layer) == {
        "app/run.sh": b"#!/bin/sh\n",
        "app/sub/a.txt": b"text\n" * 9,
        "app/sub/empty": b"",
    }
    assert {path: (entry.type, entry.mode) for path, entry in found.items()} == {
        "app/link": (b"2", 0o777),
        "app/run.sh": (b"0", 0o755),
        "app/sub": (b"5", 0o755),
        "app/sub/a.txt": (b"0", 0o644),
        "app/sub/empty": (b"0", 0o644),
        "app/\udcff": (b"2", 0o777),
    }
    assert found["app/link"].linkname == "sub/a.txt"
    assert {e.mtime for e in found.values()} == {MTIME}
    assert {(e.uid, e.gid, e.uname, e.gname) for e in found.values()} == {
        (0, 0, "", "")
    }


def test_the_tar_is_the_one_that_tarfile_writes(store: Store, tree: Tree) -> None:
    tar = tar_bytes(store, write(store, tree))

    straightforward = rebuilt(tar)
    assert straightforward.startswith(tar)
    assert not any(straightforward[len(tar) :])


@given(
    names=st.sets(
        st.binary(min_size=1, max_size=120).filter(
            lambda name: (
                b"\0" not in name
                and b"/" not in name
                and name not in (b".", b"..")
                and not name.startswith(b".wh.")
            )
        ),
        max_size=8,
    )
)
def test_any_name_of_a_file_keeps_its_bytes(names: set[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = os.fsencode(folder) + b"/tree"
        os.mkdir(root)
        for name in names:
            with open(os.path.join(root, name), "wb") as made:
                made.write(name)
        found = walk(os.fsdecode(root), IgnoreRules.parse("", name="none"))
        store = Store(Path(folder) / "store")

        layer = write(store, found, "/")

        assert {
            os.fsencode(path): data for path, data in contents(store, layer).items()
        } == {
            os.fsencode(entry.path): os.fsencode(entry.path) for entry in found.entries
        }


def test_the_destination_keeps_the_modes_of_the_base(store: Store, tree: Tree) -> None:
    found = entries(store, write(store, tree, "/root/deep/folder"))

    assert all(path.startswith("root/deep/folder/") for path in found)


def test_standard_folders_keep_the_modes_of_the_base(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "note").write_text("x")
    tree = Tree(
        entries=(
            Entry(path="tmp", type="directory"),
            file("tmp/note", tmp_path / "note"),
            Entry(path="usr", type="directory"),
            Entry(path="usr/local", type="directory"),
            Entry(path="usr/local/mine", type="directory"),
        )
    )

    assert list(entries(store, write(store, tree, "/"))) == [
        "tmp/note",
        "usr/local/mine",
    ]


@pytest.mark.parametrize(
    ("destination", "expected"),
    [("/work/dir", ["work/dir"]), ("/root", []), ("/", []), ("/bin", [])],
)
def test_an_empty_tree_makes_its_folder(
    store: Store, destination: str, expected: list[str]
) -> None:
    found = entries(store, write(store, EMPTY, destination, bin="usr/bin"))

    assert list(found) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/bin", "usr/bin"),
        ("/bin/x/", "usr/bin/x"),
        ("//lib/./x", "usr/lib/x"),
        ("/lib/here/x", "usr/share/x"),
        ("/usr/lib/here/../y", "usr/y"),
        ("/", ""),
        ("/../etc", "etc"),
    ],
)
def test_links_lead_to_folders(path: str, expected: str) -> None:
    assert Links(LINKS).folder(path) == expected


def test_links_in_circles_are_refused() -> None:
    with pytest.raises(BuildFailedError, match="the base's links make '/a/x' endless"):
        Links({"/a": "b", "/b": "/a"}).folder("/a/x")


def test_links_of_the_base_are_gone_around(store: Store, tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("x")
    tree = Tree(
        entries=(
            Entry(path="bin", type="directory"),
            file("bin/tool", tmp_path / "tool"),
            Entry(path="lib", type="directory"),
            Entry(path="lib/mine", type="directory"),
        )
    )

    layer = write_tree_layer(store, tree, "/", mtime=MTIME, links=LINKS)

    assert list(entries(store, layer)) == ["usr/bin/tool", "usr/lib/mine"]


def test_a_file_can_not_replace_a_link_of_the_base(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "f").write_text("x")
    tree = Tree(entries=(file("bin", tmp_path / "f"),))

    with pytest.raises(BuildFailedError, match="'/bin' is a symbolic link of the base"):
        write(store, tree, "/", bin="usr/bin")


def test_two_files_of_one_path_are_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    tree = Tree(
        entries=(file("bin/f", tmp_path / "f"), file("usr/bin/f", tmp_path / "f"))
    )

    with pytest.raises(BuildFailedError, match="'bin/f' and 'usr/bin/f' are the same"):
        write(store, tree, "/", bin="usr/bin")


@pytest.mark.parametrize("path", [".wh.a", "sub/.wh..wh..opq"])
def test_names_that_delete_are_refused(store: Store, tmp_path: Path, path: str) -> None:
    (tmp_path / "f").write_text("x")

    with pytest.raises(BuildFailedError, match="would delete a file of the image"):
        write(store, Tree(entries=(file(path, tmp_path / "f"),)))


@pytest.mark.parametrize("text", ["text", "longer text", "txet", ""])
def test_a_changed_file_is_named(store: Store, tmp_path: Path, text: str) -> None:
    location = tmp_path / "module.py"
    location.write_text("text!")
    tree = Tree(entries=(file("module.py", location),))
    location.write_text(text)

    with pytest.raises(
        SourceChangedError, match=r"module\.py' changed during the build"
    ):
        write(store, tree)

    assert not list((store.root / "blobs" / "sha256").glob("*"))


def test_a_file_that_grew_from_nothing_is_named(store: Store, tmp_path: Path) -> None:
    location = tmp_path / "empty"
    location.touch()
    tree = Tree(entries=(file("empty", location),))
    location.write_text("x")

    with pytest.raises(SourceChangedError, match="empty' changed during the build"):
        write(store, tree)


@pytest.mark.parametrize("now", ["gone", "a link", "a folder", "a pipe"])
def test_a_replaced_file_is_named(store: Store, tmp_path: Path, now: str) -> None:
    location = tmp_path / "module.py"
    location.write_text("x")
    tree = Tree(entries=(file("module.py", location),))
    location.unlink()
    if now == "a link":
        location.symlink_to(__file__)
    elif now == "a folder":
        location.mkdir()
    elif now == "a pipe":
        os.mkfifo(location)

    with pytest.raises(
        SourceChangedError, match=r"module\.py' changed during the build"
    ):
        write(store, tree)


@contextmanager
def without_privileges() -> Iterator[None]:
    """Be nobody in the block, where the tests run as root, who may read anything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_an_unreadable_file_is_named() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        location = Path(folder) / "secret.txt"
        location.write_text("x")
        tree = Tree(entries=(file("secret.txt", location),))
        location.chmod(0)
        with without_privileges():
            store = Store(Path(folder) / "store")
            with pytest.raises(
                SourceUnreadableError, match=r"secret\.txt': Permission"
            ):
                write(store, tree)


def test_large_files_are_read_in_pieces(store: Store, tmp_path: Path) -> None:
    location = tmp_path / "data.bin"
    location.write_bytes(os.urandom(1 << 20) * 3 + b"end")
    tree = Tree(entries=(file("data.bin", location),))

    layer = write(store, tree)

    assert contents(store, layer) == {"app/data.bin": location.read_bytes()}


def test_keys_name_what_decides_the_bytes(tree: Tree) -> None:
    def key(tree: Tree, destination: str = "/app", mtime: int = 1, **links: str) -> str:
        return tree_layer_key(tree, destination, mtime=mtime, links=links)

    first = tree.entries[0]
    moved = tuple(replace(entry, location="/elsewhere") for entry in tree.entries)
    keys = [
        key(tree),
        key(tree, "/other"),
        key(tree, mtime=2),
        key(tree, lib="usr/lib"),
        key(EMPTY),
        key(Tree(entries=(first,))),
        key(Tree(entries=(replace(first, target="x"),))),
    ]

    assert len(set(keys)) == len(keys)
    assert key(tree) == key(Tree(entries=moved))
