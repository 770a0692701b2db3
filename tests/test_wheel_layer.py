"""Layers of wheels: plain tars by every reader, and the same bytes everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from layer_reading import contents, entries, rebuilt, tar_bytes
from wheel_maker import MTIME, PYTHON, Zipped, deflated, distribution, make_wheel

from imagekit.digest import Digest
from imagekit.errors import BuildFailedError
from imagekit.plan import Distribution, Interpreter, LayerDescriptor
from imagekit.store import Store
from imagekit_oci import inflate
from imagekit_oci.budget import SMALL, group
from imagekit_oci.venv_layer import venv_layer_key, write_venv_layer
from imagekit_oci.wheel_layer import overlaps, wheel_layer_key, write_wheel_layer

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden" / "layers.json"
SITE = "opt/venv/lib/python3.11/site-packages"

#: Every way that a file can get into a layer.
FILES: dict[str, bytes | Zipped] = {
    "tiny/__init__.py": b'"""A package."""\n' * 40,
    "tiny/empty.py": b"",
    "tiny/stored.bin": Zipped(data=bytes(range(256)) * 10, method=0),
    "tiny/large.bin": Zipped(data=b"0123456789abcdef" * 150_000, method=0),
    "tiny/executable": Zipped(data=b"#!/bin/sh\n", mode=0o100755),
    "tiny/extra.py": Zipped(data=b"extra\n", local_extra=b"\1\2\4\0abcd"),
    "tiny/described.py": Zipped(data=b"described\n", flags=8),
    "tiny/junk.py": Zipped(data=b"junk\n", raw=deflated(b"junk\n") + b"PADDING"),
    "tiny/sub.dir/sub/file.py": b"deep\n",
    "tiny/sub/" + "long" * 30 + ".py": b"long\n",
    "tiny/gr\u00fc\u00dfe.txt": b"unicode\n",
    "tiny-1.0.data/scripts/tool": b"#!python\nprint(1)\n",
    "tiny-1.0.dist-info/entry_points.txt": b"[console_scripts]\ntiny = tiny:main\n",
}


def write(store: Store, *wheels: Path, prefix: str = "/opt/venv") -> LayerDescriptor:
    items = [(wheel, distribution(wheel)) for wheel in wheels]
    return write_wheel_layer(
        store, items, interpreter=PYTHON, prefix=prefix, mtime=MTIME
    )


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return make_wheel(tmp_path / "tiny", FILES)


def test_the_tar_is_the_one_that_tarfile_writes(store: Store, tiny: Path) -> None:
    tar = tar_bytes(store, write(store, tiny))

    straightforward = rebuilt(tar)

    # tarfile fills the last record of 10 KiB; ours ends with the two blocks.
    assert straightforward.startswith(tar)
    assert not any(straightforward[len(tar) :])


def test_contents_are_those_of_the_wheel(store: Store, tiny: Path) -> None:
    found = contents(store, write(store, tiny))

    for name, content in FILES.items():
        if name.startswith("tiny/"):
            data = content.data if isinstance(content, Zipped) else content
            assert found[f"{SITE}/{name}"] == data


def test_entries_are_sorted_owned_by_root_and_of_one_time(
    store: Store, tiny: Path
) -> None:
    found = entries(store, write(store, tiny))

    order = [name.encode() for name in found]
    assert order == sorted(order)
    assert {(e.uid, e.gid, e.uname, e.gname) for e in found.values()} == {(0, 0, "", "")}
    assert {entry.mtime for entry in found.values()} == {MTIME}
    assert {entry.mode for entry in found.values() if entry.isdir()} == {0o755}
    executable = {n for n, e in found.items() if e.isfile() and e.mode == 0o755}
    assert executable == {
        f"{SITE}/tiny/executable",
        "opt/venv/bin/tool",
        "opt/venv/bin/tiny",
    }


def test_folders_have_entries_below_the_environment_and_not_above(
    store: Store, tiny: Path
) -> None:
    found = entries(store, write(store, tiny))

    folders = {name for name, entry in found.items() if entry.isdir()}
    assert folders == {
        os.path.dirname(name)[:cut]
        for name in found
        for cut in [None]
        if os.path.dirname(name) not in ("opt/venv", "opt")
    } | {"opt/venv/lib", "opt/venv/lib/python3.11", f"{SITE}/tiny/sub.dir"}


@pytest.mark.parametrize("command", [["gzip", "-t"], ["tar", "-tvzf"]])
def test_other_programs_read_the_layer(
    store: Store, tiny: Path, command: list[str]
) -> None:
    layer = write(store, tiny)

    done = subprocess.run(
        [*command, store.blob_path(layer.digest)],
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
    )

    assert (done.returncode, done.stderr) in ((0, ""), (2, "")) or done.returncode == 0
    if command[0] == "tar":
        assert len(done.stdout.splitlines()) == len(entries(store, layer))


def test_deflated_members_are_copied_not_compressed_again(
    store: Store, tmp_path: Path
) -> None:
    # zlib makes other bytes of this than imagekit's own encoder would.
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = b"a line of text\n" * 1000
    raw = compressor.compress(data) + compressor.flush()
    wheel = make_wheel(tmp_path, {"tiny.py": Zipped(data=data, raw=raw)})

    blob = store.read_blob(write(store, wheel).digest)

    member = b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + raw
    member += zlib.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little")
    assert blob.count(member) == 1


@given(data=st.binary(max_size=3000), repeat=st.integers(1, 2000), level=st.integers(0, 9))
def test_any_deflate_stream_is_copied(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, repeat: int, level: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    data *= repeat
    compressor = zlib.compressobj(level, zlib.DEFLATED, -15)
    raw = compressor.compress(data) + compressor.flush() + b"after the end"
    wheel = make_wheel(folder, {"tiny.bin": Zipped(data=data, raw=raw)})
    store = Store(folder / "store")

    assert contents(store, write(store, wheel))[f"{SITE}/tiny.bin"] == data


def test_zlib_and_isal_make_the_same_layer(
    store: Store, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("isal")
    from isal import isal_zlib

    assert inflate._zlib is isal_zlib
    with_isal = write(store, tiny)
    monkeypatch.setattr(inflate, "_zlib", zlib)

    assert write(store, tiny) == with_isal


def golden_layers(folder: Path) -> dict[str, dict[str, str | int]]:
    """Return what the layers of fixed inputs are."""
    store = Store(folder / "golden-store")
    layers = {
        "wheel": write(store, make_wheel(folder / "golden", FILES)),
        "venv": write_venv_layer(store, PYTHON, "/opt/venv", mtime=MTIME),
    }
    return {
        name: {"digest": str(x.digest), "diff_id": str(x.diff_id), "size": x.size}
        for name, x in layers.items()
    }


def test_layers_have_the_bytes_that_they_always_had(tmp_path: Path) -> None:
    """A change here is a new layer for every user: it needs another FORMAT."""
    assert golden_layers(tmp_path) == json.loads(GOLDEN.read_text())


def other_pythons() -> list[str]:
    """Return the Pythons of this machine that are not the running version."""
    from imagekit_oci.layer_writer import FORMAT

    assert FORMAT == 1  # then the goldens are those of this format
    found = subprocess.run(
        [sys.executable, "-m", "uv", "python", "list", "--only-installed", "--output-format", "json"],
        capture_output=True,
        check=True,
        env={**os.environ, "UV_PYTHON_DOWNLOADS": "never"},
    )
    here = "{}.{}".format(*sys.version_info)
    best = {
        "{major}.{minor}".format(**item["version_parts"]): item["path"]
        for item in json.loads(found.stdout)
        if item["implementation"] == "cpython"
        and item["version_parts"]["minor"] >= 11
    }
    best.pop(here, None)
    return list(best.values())


#: The package's __init__ imports the whole builder; the layers need the standard
#: library alone, which is all that these interpreters have.
PROGRAM = """
import sys, types, json, pathlib
package = types.ModuleType("imagekit_oci")
package.__path__ = [sys.argv[1]]
sys.modules["imagekit_oci"] = package
sys.modules["isal"] = None
for name in ("pytest", "hypothesis", "hypothesis.strategies"):
    sys.modules[name] = types.ModuleType(name)
from golden_layers import golden_layers
print(json.dumps(golden_layers(pathlib.Path(sys.argv[2]))))
"""
