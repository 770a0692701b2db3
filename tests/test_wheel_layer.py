"""Layers of wheels: plain tars by every reader, and the same bytes everywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from golden_layers import FILES, golden_layers, write_wheels
from hypothesis import given
from hypothesis import strategies as st
from layer_reading import contents, entries, rebuilt, tar_bytes
from wheel_maker import MTIME, PYTHON, Zipped, distribution, make_wheel

from imagekit.plan import Distribution
from imagekit.store import Store
from imagekit_oci import inflate
from imagekit_oci.layer_writer import FORMAT
from imagekit_oci.venv_layer import venv_layer_key, write_venv_layer
from imagekit_oci.wheel_layer import overlaps, write_wheel_layer
from imagekit_oci.wheel_layer_key import wheel_layer_key

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden" / "layers.json"
SITE = "opt/venv/lib/python3.11/site-packages"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return make_wheel(tmp_path / "tiny", FILES)


def test_the_tar_is_the_one_that_tarfile_writes(store: Store, tiny: Path) -> None:
    tar = tar_bytes(store, write_wheels(store, tiny))

    straightforward = rebuilt(tar)

    # tarfile fills the last record of 10 KiB; ours ends with the two blocks.
    assert straightforward.startswith(tar)
    assert not any(straightforward[len(tar) :])


def test_contents_are_those_of_the_wheel(store: Store, tiny: Path) -> None:
    found = contents(store, write_wheels(store, tiny))

    for name, content in FILES.items():
        if name.startswith("tiny/"):
            data = content.data if isinstance(content, Zipped) else content
            assert found[f"{SITE}/{name}"] == data


def test_entries_are_sorted_owned_by_root_and_of_one_time(
    store: Store, tiny: Path
) -> None:
    found = entries(store, write_wheels(store, tiny))

    order = [name.encode() for name in found]
    assert order == sorted(order)
    assert {(e.uid, e.gid, e.uname, e.gname) for e in found.values()} == {
        (0, 0, "", "")
    }
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
    found = entries(store, write_wheels(store, tiny))

    assert {name for name, entry in found.items() if entry.isdir()} == {
        "opt/venv/bin",
        "opt/venv/lib",
        "opt/venv/lib/python3.11",
        SITE,
        f"{SITE}/tiny",
        f"{SITE}/tiny/sub.dir",
        f"{SITE}/tiny/sub.dir/sub",
        f"{SITE}/tiny-1.0.dist-info",
    }


@pytest.mark.parametrize("command", [["gzip", "-t"], ["tar", "-tvzf"]])
def test_other_programs_read_the_layer(
    store: Store, tiny: Path, command: list[str]
) -> None:
    layer = write_wheels(store, tiny)

    done = subprocess.run(
        [*command, store.blob_path(layer.digest)],
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
    )

    assert (done.returncode, done.stderr) == (0, "")
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

    blob = store.read_blob(write_wheels(store, wheel).digest)

    member = b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + raw
    member += zlib.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little")
    assert blob.count(member) == 1


@given(
    data=st.binary(max_size=3000), repeat=st.integers(1, 2000), level=st.integers(0, 9)
)
def test_any_deflate_stream_is_copied(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, repeat: int, level: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    data *= repeat
    compressor = zlib.compressobj(level, zlib.DEFLATED, -15)
    raw = compressor.compress(data) + compressor.flush() + b"after the end"
    wheel = make_wheel(folder, {"tiny.bin": Zipped(data=data, raw=raw)})
    store = Store(folder / "store")

    layer = write_wheels(store, wheel)

    assert contents(store, layer)[f"{SITE}/tiny.bin"] == data
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inflate, "_zlib", zlib)
        assert write_wheels(store, wheel) == layer


def test_zlib_and_isal_make_the_same_layer(
    store: Store, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("isal")
    from isal import isal_zlib

    assert isal_zlib is inflate._zlib
    with_isal = write_wheels(store, tiny)
    monkeypatch.setattr(inflate, "_zlib", zlib)

    assert write_wheels(store, tiny) == with_isal


def goldens() -> dict[str, dict[str, str | int]]:
    document = json.loads(GOLDEN.read_text())
    assert document["format"] == FORMAT  # else make new ones, and keep the old file
    layers: dict[str, dict[str, str | int]] = document["layers"]
    return layers


def test_layers_have_the_bytes_that_they_always_had(tmp_path: Path) -> None:
    """A change here is a new layer for every user: it needs another FORMAT."""
    assert golden_layers(tmp_path) == goldens()


def pythons() -> list[str]:
    """Return this Python, and others of this machine that imagekit supports."""
    found = {sys.version_info[:2]: sys.executable}
    root = Path(os.environ.get("PYENV_ROOT", "/nonexistent"))
    for minor in range(11, 16):
        on_path = shutil.which(f"python3.{minor}")
        below_pyenv = root.glob(f"versions/3.{minor}.*/bin/python")
        for candidate in [*map(str, below_pyenv), *([on_path] if on_path else [])]:
            # pyenv's shims are there for versions that are not, too.
            if (
                subprocess.run([candidate, "-c", ""], capture_output=True).returncode
                == 0
            ):
                found.setdefault((3, minor), candidate)
    return list(found.values())


#: Needs the standard library alone: "-S" hides what is installed. The package's
#: __init__ is left out, since it imports the whole builder.
PROGRAM = """
import json, pathlib, sys, types
root = pathlib.Path(sys.argv[1])
sys.path[:0] = [str(root), str(root / "tests")]
sys.modules["imagekit_oci"] = package = types.ModuleType("imagekit_oci")
package.__path__ = [str(root / "builders" / "imagekit_oci")]
from golden_layers import golden_layers
print(json.dumps(golden_layers(pathlib.Path(sys.argv[2]))))
"""


def test_every_python_makes_the_same_bytes(tmp_path: Path) -> None:
    """Without isal, in another locale, time zone and umask, from another folder."""
    for number, python in enumerate(pythons()):
        folder = tmp_path / f"run{number}"
        folder.mkdir()
        done = subprocess.run(
            [python, "-S", "-B", "-c", PROGRAM, ROOT, folder],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "Asia/Tokyo"},
            umask=0o077,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == goldens(), python


def test_the_order_of_wheels_plays_no_part(store: Store, tmp_path: Path) -> None:
    wheels = [
        make_wheel(tmp_path / name, {f"{name}.py": b"x\n"}, name=name)
        for name in ("one", "two", "three")
    ]

    assert write_wheels(store, *wheels) == write_wheels(store, *reversed(wheels))


def test_the_later_name_wins_in_a_layer_and_overlaps_tells(
    store: Store, tmp_path: Path
) -> None:
    shared = {"shared/__init__.py": b"", "shared/clash.py": b"a\n"}
    first = make_wheel(tmp_path, shared, name="aaa")
    second = make_wheel(tmp_path, {**shared, "shared/clash.py": b"b\n"}, name="bbb")
    items = [(path, distribution(path)) for path in (second, first)]

    found = contents(store, write_wheels(store, second, first))
    known = overlaps(items, interpreter=PYTHON, prefix="/opt/venv")

    library = "lib/python3.11/site-packages"
    assert found[f"{SITE}/shared/clash.py"] == b"b\n"
    assert [(item.path, item.distributions, item.equal) for item in known] == [
        (f"{library}/shared/__init__.py", ("aaa", "bbb"), True),
        (f"{library}/shared/clash.py", ("aaa", "bbb"), False),
    ]


def test_links_of_the_base_are_gone_around(store: Store, tiny: Path) -> None:
    layer = write_wheel_layer(
        store,
        [(tiny, distribution(tiny))],
        interpreter=PYTHON,
        prefix="/opt/venv",
        mtime=MTIME,
        links={"/opt": "var/opt"},
    )

    found = entries(store, layer)
    assert all(name.startswith("var/opt/venv/") for name in found)
    launcher = contents(store, layer)["var/opt/venv/bin/tiny"]
    assert launcher.startswith(b"#!/opt/venv/bin/python\n")


ITEM = Distribution(name="a", version="1", filename="a-1-py3-none-any.whl", sha256="0")


def key(*items: Distribution, prefix: str = "/opt/venv", mtime: int = 1) -> str:
    return wheel_layer_key(items, interpreter=PYTHON, prefix=prefix, mtime=mtime)


def test_keys_name_what_decides_the_bytes() -> None:
    elsewhere = replace(PYTHON, path="/usr/bin/python3", full_version="3.11.2")
    other = replace(ITEM, name="b", sha256="1")
    keys = [
        key(ITEM),
        key(ITEM, prefix="/venv"),
        key(ITEM, mtime=2),
        key(ITEM, other),
        key(replace(ITEM, sha256="1")),
        key(replace(ITEM, requested=True)),
        key(replace(ITEM, direct_url="{}")),
        wheel_layer_key(
            [ITEM],
            interpreter=replace(PYTHON, version=(3, 12)),
            prefix="/opt/venv",
            mtime=1,
        ),
        venv_layer_key(PYTHON, "/opt/venv", mtime=1),
        venv_layer_key(elsewhere, "/opt/venv", mtime=1),
    ]

    assert len(set(keys)) == len(keys)
    assert key(ITEM, other) == key(other, ITEM)
    # where Python is in the base is nothing to a layer of wheels
    assert key(ITEM) == wheel_layer_key(
        [replace(ITEM, url="https://index.test/a.whl", size=5)],
        interpreter=elsewhere,
        prefix="/opt/venv",
        mtime=1,
    )


def test_the_environment_is_one_by_pep_405(store: Store) -> None:
    layer = write_venv_layer(store, PYTHON, "/opt/venv", mtime=MTIME)

    found = entries(store, layer)
    assert {name for name, entry in found.items() if entry.isdir()} == {
        "opt",
        "opt/venv",
        "opt/venv/bin",
        "opt/venv/lib",
        "opt/venv/lib/python3.11",
        SITE,
    }
    assert {n: e.linkname for n, e in found.items() if e.issym()} == {
        "opt/venv/bin/python": "/usr/local/bin/python3.11",
        "opt/venv/bin/python3": "python",
        "opt/venv/bin/python3.11": "python",
        "opt/venv/lib64": "lib",
    }
    assert contents(store, layer) == {
        "opt/venv/pyvenv.cfg": b"home = /usr/local/bin\n"
        b"include-system-site-packages = false\n"
        b"version = 3.11.9\nversion_info = 3.11.9\n"
    }


# The peak of this very program: getrusage() counts its parent's, before exec, too.
MEMORY = """
import re, sys
from pathlib import Path
from golden_layers import write_wheels
from imagekit.store import Store
folder = Path(sys.argv[1])
write_wheels(Store(folder / "store"), *folder.glob("*.whl"))
print(re.search(r"VmHWM:\\s*([0-9]+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.parametrize("method", [0, 8])
def test_memory_stays_flat(tmp_path: Path, method: int) -> None:
    """A member of 200 MB needs no more memory than one of a few bytes."""
    peaks = []
    for size in (1, 200):
        folder = tmp_path / str(size)
        data = os.urandom(1 << 20) * size
        wheel = make_wheel(folder, {"big.bin": Zipped(data=data, method=method)})
        assert wheel.stat().st_size > size << 20
        del data
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, folder],
            env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
        wheel.unlink()

    assert peaks[1] - peaks[0] < 20_000  # KiB
