from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagekit import sources, stat_index
from imagekit.canonical import fingerprint
from imagekit.errors import (
    SourceChangedError,
    SourceEscapesError,
    SourceNotFoundError,
    SourceUnreadableError,
)
from imagekit.ignore import DEFAULT, NOTHING, IgnoreRules
from imagekit.sources import Entry, Tree, single_file, walk
from imagekit.stat_index import StatIndex
from imagekit.store import Store

# A tree as data: path to contents (bytes), link target (str) or None for a folder.
Content = bytes | str | None


def make(
    root: Path, content: dict[str, Content], executable: tuple[str, ...] = ()
) -> Path:
    root.mkdir(exist_ok=True)
    for name, value in content.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        match value:
            case None:
                path.mkdir(exist_ok=True)
            case str():
                path.symlink_to(value)
            case bytes():
                path.write_bytes(value)
                path.chmod(0o755 if name in executable else 0o644)
    return root


def paths(tree: Tree) -> list[str]:
    return [entry.path for entry in tree.entries]


def rules(text: str) -> IgnoreRules:
    return IgnoreRules.parse(text, name="x", defaults=False)


def test_entries(tmp_path: Path) -> None:
    root = make(
        tmp_path / "r",
        {"b/run": b"#!", "b/l": "run", "a": b"text", "c/d": None},
        ("b/run",),
    )
    tree = walk(str(root), DEFAULT)
    assert tree.entries == (
        Entry(
            path="a", type="file", size=4, sha256=hashlib.sha256(b"text").hexdigest()
        ),
        Entry(path="b", type="directory"),
        Entry(path="b/l", type="symlink", target="run"),
        Entry(
            path="b/run",
            type="file",
            executable=True,
            size=2,
            sha256=hashlib.sha256(b"#!").hexdigest(),
        ),
        Entry(path="c", type="directory"),
        Entry(path="c/d", type="directory"),
    )
    assert tree.size == 6
    assert [entry.path for entry in tree.files] == ["a", "b/run"]
    assert {entry.location for entry in tree.files} == {
        str(root / "a"),
        str(root / "b/run"),
    }


def test_order_is_that_of_the_bytes(tmp_path: Path) -> None:
    names = [
        b"a",
        b"a-b",
        b"a/x",
        b"a.b",
        b"\x80",
        "é".encode(),
        "\ue000".encode(),
        "😀".encode(),
        b"\xff",
    ]
    root = os.fsencode(tmp_path / "r")
    for name in names:
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if name != b"a":
            Path(os.fsdecode(path)).write_bytes(b"")
    found = [os.fsencode(path) for path in paths(walk(str(tmp_path / "r"), NOTHING))]
    assert found == sorted(names)


names = st.text(
    st.characters(blacklist_characters="/\0", max_codepoint=0x2FFF),
    min_size=1,
    max_size=4,
).filter(
    lambda name: (
        name not in (".", "..") and len(name.encode("utf-8", "surrogateescape")) < 200
    )
)
contents = st.dictionaries(
    st.lists(names, min_size=1, max_size=3).map("/".join),
    st.one_of(st.binary(max_size=40), st.none(), st.sampled_from(["missing", "./x"])),
    max_size=8,
).filter(
    lambda c: (
        not any(
            a != b and b.startswith(f"{a}/") and c[a] is not None for a in c for b in c
        )
    )
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(content=contents, data=st.data())
def test_digest_is_of_names_and_bytes_alone(
    content: dict[str, Content], data: st.DataObject
) -> None:
    digests = set()
    for mask in (0o022, 0o077):
        order = data.draw(st.permutations(list(content)))
        with tempfile.TemporaryDirectory() as folder:
            before = os.umask(mask)
            try:
                root = make(Path(folder, "r"), {})
                for name in order:
                    path = root / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    value = content[name]
                    if value is None:
                        path.mkdir(exist_ok=True)
                    elif isinstance(value, str):
                        path.symlink_to(value)
                    else:
                        path.write_bytes(value)
                        os.utime(path, (mask, mask))
            finally:
                os.umask(before)
            tree = walk(str(root), NOTHING)
            assert tree.digest == fingerprint("tree", tree)
            for entry in tree.files:
                assert Path(entry.location).read_bytes() == content[entry.path]
            digests.add(tree.digest)
    assert len(digests) == 1


def test_empty_tree() -> None:
    assert Tree(entries=()).digest == fingerprint("tree", Tree(entries=()))


VARIANTS: list[tuple[dict[str, Content], tuple[str, ...]]] = [
    ({"a/bc": b""}, ()),
    ({"ab/c": b""}, ()),
    ({"a/bc": b""}, ("a/bc",)),
    ({"a/bc": None}, ()),
    ({"a/bc": "x"}, ()),
    ({"a/bc": "y"}, ()),
    ({"a/bc": b"x"}, ()),
    ({"a/bc": b"y"}, ()),
    ({"a/bc": b"", "d": None}, ()),
    ({"a": b"bc"}, ()),
    ({"a": None}, ()),
    ({}, ()),
    ({"e\u0301": b""}, ()),
    ({"\u00e9": b""}, ()),
]


def test_digest_tells_trees_apart(tmp_path: Path) -> None:
    digests = {
        walk(str(make(tmp_path / str(number), content, executable)), NOTHING).digest
        for number, (content, executable) in enumerate(VARIANTS)
    }
    assert len(digests) == len(VARIANTS)


@pytest.mark.parametrize("mode", [0o744, 0o654, 0o645])
def test_any_executable_bit_counts(tmp_path: Path, mode: int) -> None:
    root = make(tmp_path / "r", {"a": b""})
    (root / "a").chmod(mode)
    assert walk(str(root), NOTHING).entries[0].executable


def test_names_that_are_no_text(tmp_path: Path) -> None:
    root = make(tmp_path / "r", {"a b'\"\n\u2603": b""})
    Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe")).write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(root) + b"/l")).symlink_to(os.fsdecode(b"\xff\xfe"))
    tree = walk(str(root), NOTHING)
    assert paths(tree) == ["a b'\"\n\u2603", "l", "\udcff\udcfe"]
    assert tree.entries[1].target == "\udcff\udcfe"
    assert tree.digest == fingerprint("tree", tree)


def test_the_locale_plays_no_part(tmp_path: Path) -> None:
    root = make(tmp_path / "r", {"é/☺": b"x", "l": "é/☺"})
    Path(os.fsdecode(os.fsencode(root) + b"/\xff")).write_bytes(b"x")
    program = (
        "import sys; from imagekit.sources import walk; from imagekit.ignore import IgnoreRules;"
        "rules = IgnoreRules.parse('?', name='x');"
        "print(sys.getfilesystemencoding(), walk(sys.argv[1], rules).digest)"
    )
    found = {}
    for utf8 in ("0", "1"):
        variables = {
            **os.environ,
            "LC_ALL": "C",
            "PYTHONUTF8": utf8,
            "PYTHONCOERCECLOCALE": "0",
        }
        done = subprocess.run(
            [sys.executable, "-c", program, str(root)],
            env=variables,
            capture_output=True,
            check=True,
            text=True,
        )
        encoding, digest = done.stdout.split()
        found[encoding] = digest
    assert len(found) == 2, "both runs had one encoding"
    assert len(set(found.values())) == 1


def test_large_files_are_read_in_pieces(tmp_path: Path) -> None:
    for size in (0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20):
        data = random.Random(size).randbytes(size)
        (tmp_path / "f").write_bytes(data)
        (entry,) = single_file(str(tmp_path / "f"), "n").entries
        assert (entry.size, entry.sha256) == (size, hashlib.sha256(data).hexdigest())


def test_file_that_grows_without_saying() -> None:
    # Its size is 0 and its contents are not, as for all files in /proc.
    (entry,) = single_file("/proc/version", "v").entries
    data = Path("/proc/version").read_bytes()
    assert (entry.size, entry.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_deep_folders(tmp_path: Path) -> None:
    root = make(tmp_path / "r", {"/".join("a" * 700): None})
    assert len(walk(str(root), NOTHING).entries) == 700
    assert len(walk(str(root), rules("**/a\n!" + "/".join("a" * 700))).entries) == 700


def test_ignored_folder_appears_for_its_contents(tmp_path: Path) -> None:
    content: dict[str, Content] = {
        "a/b/c": b"",
        "a/b/d": b"",
        "a/e/f": b"",
        "a/g/h": None,
        "i": b"",
    }
    root = str(make(tmp_path / "r", content))
    assert paths(walk(root, rules("a\n!a/b/c"))) == ["a", "a/b", "a/b/c", "i"]
    assert paths(walk(root, rules("a\n!a/g/h"))) == ["a", "a/g", "a/g/h", "i"]
    assert paths(walk(root, rules("a\n!a/missing"))) == ["i"]
    assert paths(walk(root, rules("a/b/*"))) == [
        "a",
        "a/b",
        "a/e",
        "a/e/f",
        "a/g",
        "a/g/h",
        "i",
    ]


def test_root_may_be_a_link(tmp_path: Path) -> None:
    root = make(tmp_path / "r", {"a": b"x"})
    (tmp_path / "l").symlink_to("r")
    assert walk(str(tmp_path / "l"), NOTHING) == walk(str(root), NOTHING)


def test_relative_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "r", {"a": b"x"})
    monkeypatch.chdir(tmp_path)
    assert walk("r/", NOTHING).entries[0].location == str(tmp_path / "r" / "a")


def test_below(tmp_path: Path) -> None:
    tree = walk(str(make(tmp_path / "r", {"a": b"x", "a.b": b"", "b/c": b""})), NOTHING)
    moved = tree.below("n")
    assert paths(moved) == ["n", "n/a", "n/a.b", "n/b", "n/b/c"]
    assert moved.entries[1].sha256 == tree.entries[0].sha256


# --- symbolic links ---------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        {"l": "a", "a": b""},
        {"l": "missing"},
        {"l": "l"},
        {"l": "m", "m": "l"},
        {"a/l": ".."},
        {"a/b/l": "../../c"},
        {"a/l": "./b//../c"},
        {"l": "a/../b"},
        {"d": "x/y", "x/y/z": None, "l": "d/../../b"},
        {"l": "."},
    ],
)
def test_link_inside(tmp_path: Path, content: dict[str, Content]) -> None:
    root = make(tmp_path / "r", content)
    assert {e.path for e in walk(str(root), NOTHING).entries if e.target} == {
        name for name, value in content.items() if isinstance(value, str)
    }


@pytest.mark.parametrize(
    ("content", "link"),
    [
        ({"l": "/etc/passwd"}, "l"),
        ({"l": ".."}, "l"),
        ({"l": "../r"}, "l"),
        ({"a/l": "../../x"}, "a/l"),
        ({"l": "a/../../x", "a/b": b""}, "l"),
        # To the letter x/y/foo, but d is a way to the top.
        ({"x/y/d": "../..", "l": "x/y/d/../foo"}, "l"),
        ({"a/m": "../n", "n": "/"}, "a/m"),
    ],
)
def test_link_that_leaves(
    tmp_path: Path, content: dict[str, Content], link: str
) -> None:
    root = make(tmp_path / "r", content)
    with pytest.raises(SourceEscapesError) as caught:
        walk(str(root), NOTHING)
    assert repr(link) in caught.value.message
    assert repr(content[link]) in caught.value.message
    assert caught.value.hint
    escaping = "\n".join(
        name for name, value in content.items() if isinstance(value, str)
    )
    walk(str(root), rules(escaping))


def test_links_are_not_followed(tmp_path: Path) -> None:
    root = make(tmp_path / "r", {"d/f": b"", "l": "d"})
    assert paths(walk(str(root), NOTHING)) == ["d", "d/f", "l"]


# --- faults -----------------------------------------------------------------------


def test_root_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path / "missing" / "below"):
        with pytest.raises(
            SourceNotFoundError, match=r"wanted a folder at '.*', found none"
        ):
            walk(str(path), NOTHING)
    (tmp_path / "l").symlink_to("l")
    with pytest.raises(SourceNotFoundError):
        walk(str(tmp_path / "l"), NOTHING)


def test_root_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(SourceNotFoundError, match="found a file") as caught:
        walk(str(tmp_path / "f"), NOTHING)
    assert "with_source_file" in (caught.value.hint or "")


def test_single_file_faults(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match=r"wanted a file at .*, found none"):
        single_file(str(tmp_path / "missing"), "n")
    with pytest.raises(SourceNotFoundError, match="found a folder") as caught:
        single_file(str(tmp_path), "n")
    assert "with_source_folder" in (caught.value.hint or "")
    with pytest.raises(SourceUnreadableError, match="it is a device"):
        single_file("/dev/null", "n")


def test_single_file_follows_links(tmp_path: Path) -> None:
    make(tmp_path / "r", {"f": b"x", "l": "f"})
    (entry,) = single_file(str(tmp_path / "r" / "l"), "n").entries
    assert (entry.path, entry.type, entry.size) == ("n", "file", 1)
    assert entry.location == str(tmp_path / "r" / "f")


def test_special_files(tmp_path: Path) -> None:
    root = make(tmp_path / "r", {"a": b""})
    os.mkfifo(root / "pipe")
    with pytest.raises(SourceUnreadableError, match=r"/pipe': it is a named pipe"):
        walk(str(root), NOTHING)
    assert paths(walk(str(root), rules("pipe"))) == ["a"]
    (root / "pipe").unlink()
    with (
        tempfile.TemporaryDirectory() as short,
        socket.socket(socket.AF_UNIX) as server,
    ):
        server.bind(f"{short}/s")
        with pytest.raises(SourceUnreadableError, match="it is a socket"):
            walk(short, NOTHING)


def test_read_error() -> None:
    # Reading the first page of one's own memory is an error for anybody.
    with pytest.raises(SourceUnreadableError, match=r"can't read '/proc/\d+/mem': "):
        single_file("/proc/self/mem", "n")


@contextmanager
def common_user() -> Iterator[None]:
    """Drop the right to read everything, where the tests have it."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_unreadable_file(open_folder: Path) -> None:
    root = make(open_folder / "r", {"a": b"", "b": b""})
    (root / "b").chmod(0)
    with (
        common_user(),
        pytest.raises(
            SourceUnreadableError, match=r"can't read '.*/b': Permission denied"
        ),
    ):
        walk(str(root), NOTHING)
    with common_user():
        assert paths(walk(str(root), rules("b"))) == ["a"]


def test_unreadable_folder(open_folder: Path) -> None:
    root = make(open_folder / "r", {"a": b"", "b/c": b""})
    (root / "b").chmod(0)
    try:
        with (
            common_user(),
            pytest.raises(
                SourceUnreadableError, match=r"can't read '.*/b': Permission denied"
            ),
        ):
            walk(str(root), NOTHING)
        with common_user():
            # As BuildKit: what is ignored may be unreadable, whatever is re-included.
            assert paths(walk(str(root), rules("b"))) == ["a"]
            assert paths(walk(str(root), rules("b\n!b/c"))) == ["a"]
    finally:
        (root / "b").chmod(0o755)


@pytest.mark.parametrize("successor", ["nothing", "link", "pipe"])
def test_file_replaced_while_walking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, successor: str
) -> None:
    root = make(tmp_path / "r", {"a": b"x"})
    true_status = sources._status

    def replace(item: os.DirEntry[str]) -> os.stat_result:
        status = true_status(item)
        Path(item.path).unlink()
        if successor == "link":
            Path(item.path).symlink_to("/etc/passwd")
        elif successor == "pipe":
            os.mkfifo(item.path)
        return status

    monkeypatch.setattr(sources, "_status", replace)
    with pytest.raises(SourceChangedError, match=r"/a' was replaced or removed"):
        walk(str(root), NOTHING)


# --- the index --------------------------------------------------------------------


@pytest.fixture
def index(tmp_path: Path) -> StatIndex:
    return StatIndex(Store(tmp_path / "store"))


#: A folder of files that were last touched long ago: no test can make one.
OLD = str(Path(json.__file__).parent)


@pytest.fixture
def no_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Note files however young they are."""
    monkeypatch.setattr(stat_index, "_MARGIN_NS", -(10**13))


def forbid_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(location: str) -> None:
        raise AssertionError(f"read {location}")

    monkeypatch.setattr(sources, "_read", refuse)


def test_known_files_are_not_read(
    index: StatIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    cold = walk(OLD, DEFAULT, index=index)
    forbid_reading(monkeypatch)
    assert walk(OLD, DEFAULT, index=index) == cold
    assert cold.files
    with pytest.raises(AssertionError, match="read"):
        walk(OLD, DEFAULT)


def edit(path: Path, data: bytes) -> None:
    """Write *data*, and let size and modification time look as before."""
    before = path.stat()
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # until the clock moves on
        path.write_bytes(data)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (
        before.st_size,
        before.st_mtime_ns,
        before.st_ino,
    )


@pytest.mark.usefixtures("no_margin")
def test_edit_behind_the_index(index: StatIndex, tmp_path: Path) -> None:
    root = make(tmp_path / "r", {"a": b"one", "b": b"x"})
    first = walk(str(root), NOTHING, index=index)
    edit(root / "a", b"two")
    second = walk(str(root), NOTHING, index=index)
    assert second == walk(str(root), NOTHING)
    assert second.digest != first.digest


@pytest.mark.usefixtures("no_margin")
def test_replacement_behind_the_index(index: StatIndex, tmp_path: Path) -> None:
    root = make(tmp_path / "r", {"a": b"one", "b": b"two"})
    walk(str(root), NOTHING, index=index)
    (root / "a").rename(root / "c")
    (root / "b").rename(root / "a")
    assert walk(str(root), NOTHING, index=index) == walk(str(root), NOTHING)


def test_edits_in_quick_succession(index: StatIndex, tmp_path: Path) -> None:
    root = make(tmp_path / "r", {"a": b""})
    os.utime(root / "a", (0, 0))
    for number in range(200):
        (root / "a").write_bytes(b"%3d" % number)
        os.utime(root / "a", (0, 0))
        (entry,) = walk(str(root), NOTHING, index=index).entries
        assert entry.sha256 == hashlib.sha256(b"%3d" % number).hexdigest()


def test_young_files_are_not_noted(
    index: StatIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its times may still be those of the next edit, if the clock ticks slowly.
    root = make(tmp_path / "r", {"a": b""})
    os.utime(root / "a", (0, 0))
    walk(str(root), NOTHING, index=index)
    forbid_reading(monkeypatch)
    with pytest.raises(AssertionError, match="read"):
        walk(str(root), NOTHING, index=index)


@pytest.mark.usefixtures("no_margin")
def test_executable_bit_is_never_remembered(index: StatIndex, tmp_path: Path) -> None:
    root = make(tmp_path / "r", {"a": b""})
    assert not walk(str(root), NOTHING, index=index).entries[0].executable
    (root / "a").chmod(0o755)
    assert walk(str(root), NOTHING, index=index).entries[0].executable


@pytest.mark.usefixtures("no_margin")
def test_walks_with_other_rules_share_the_index(
    index: StatIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make(tmp_path / "r", {"a": b"1", "b": b"2"})
    walk(str(root), rules("b"), index=index)
    whole = walk(str(root), NOTHING, index=index)
    walk(str(root), rules("a"), index=index)
    forbid_reading(monkeypatch)
    assert walk(str(root), NOTHING, index=index) == whole


@pytest.mark.usefixtures("no_margin")
def test_files_that_are_gone_do_not_pile_up(index: StatIndex, tmp_path: Path) -> None:
    root = make(tmp_path / "r", {"kept": b""})
    for number in range(20):
        (root / f"f{number}").write_bytes(b"")
        walk(str(root), NOTHING, index=index)
        (root / f"f{number}").unlink()
    (record,) = (tmp_path / "store" / "records" / "walk").iterdir()
    assert len(json.loads(record.read_bytes())["paths"].split("//")) <= 5


@pytest.mark.parametrize(
    "damage",
    [
        {},
        [],
        None,
        {"version": 0},
        {"version": 1},
        {"paths": 1},
        {"paths": "a//b"},
        {"stamps": "?"},
        {"stamps": ""},
        {"stamps": "é"},
        {"sha256": "0" * 63},
        {"sha256": None},
    ],
)
@pytest.mark.usefixtures("no_margin")
def test_damaged_index(index: StatIndex, tmp_path: Path, damage: Any) -> None:
    root = make(tmp_path / "r", {"a": b"x"})
    whole = walk(str(root), NOTHING, index=index)
    (record,) = (tmp_path / "store" / "records" / "walk").iterdir()
    value = {**json.loads(record.read_bytes()), **damage} if damage else damage
    record.write_text(json.dumps(value))
    assert walk(str(root), NOTHING, index=index) == whole


def test_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"a file")
    tree = walk(OLD, DEFAULT, index=StatIndex(Store(tmp_path / "store")))
    assert tree == walk(OLD, DEFAULT)


PROCESS = """
import sys
from pathlib import Path
from imagekit import stat_index
from imagekit.ignore import IgnoreRules
from imagekit.sources import walk
from imagekit.store import Store

root, store, mine, other = sys.argv[1:]
stat_index._MARGIN_NS = -10**13
index = stat_index.StatIndex(Store(Path(store)))
rules = IgnoreRules.parse(f"{other}*", name="x")
for number in range(40):
    Path(root, f"{mine}{number}").write_bytes(b"%d" % number)
    assert walk(root, rules, index=index) == walk(root, rules)
print("done")
"""


def test_processes_side_by_side(tmp_path: Path) -> None:
    # Both write the record of the same folder, each for files of its own.
    root = make(
        tmp_path / "r", {f"{name}{n}": b"x" for name in "ab" for n in range(50)}
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(root), str(tmp_path / "store"), *names],
            stdout=subprocess.PIPE,
            text=True,
        )
        for names in (("a", "b"), ("b", "a"))
    ]
    assert [process.communicate()[0] for process in running] == ["done\n"] * 2
