"""What imagekit installs from real wheels is what uv installs, file by file."""

from __future__ import annotations

import io
import stat
import subprocess
import sys
import tarfile
import tomllib
import urllib.request
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import pytest
from layer_reading import tar_bytes
from packaging.tags import sys_tags
from packaging.utils import parse_wheel_filename
from wheel_maker import MTIME, distribution

from imagekit.plan import Interpreter
from imagekit.store import Store
from imagekit_oci.verify import verify_wheel
from imagekit_oci.wheel_layer import write_wheel_layer


def index_wheels(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Fetch a wheel of each distribution, as uv finds them for this Python."""
    arguments = ["--no-deps", "--only-binary", ":all:", "--format", "pylock.toml", "-q"]
    locked = subprocess.run(
        [sys.executable, "-m", "uv", "pip", "compile", "-", *arguments],
        input="\n".join(names),
        capture_output=True,
        text=True,
        check=True,
    )
    order = {tag: place for place, tag in enumerate(sys_tags())}
    found = {}
    for package in tomllib.loads(locked.stdout)["packages"]:
        best = min(
            package["wheels"],
            key=lambda wheel: min(
                (
                    order.get(tag, len(order))
                    for tag in parse_wheel_filename(filename(wheel))[3]
                ),
            ),
        )
        path = folder / filename(best)
        with urllib.request.urlopen(best["url"]) as response:
            path.write_bytes(response.read())
        assert sha256(path.read_bytes()).hexdigest() == best["hashes"]["sha256"]
        found[package["name"]] = path
    return found


def filename(wheel: dict[str, str]) -> str:
    return wheel.get("name") or wheel["url"].rpartition("/")[2]


#: Scripts (numpy, black, jupyter-core, pip), headers (greenlet), data files (ipykernel),
#: rewritten scripts (jmespath), vendored trees (setuptools), namespace parts.
NAMES = [
    "attrs",
    "black",
    "fastapi",
    "greenlet",
    "httpx",
    "ipykernel",
    "jmespath",
    "jupyter-core",
    "numpy",
    "pip",
    "setuptools",
    "six",
    "uvicorn",
    "zope-interface",
]


@pytest.mark.index
def test_installed_files_equal_those_of_uv(store: Store, tmp_path: Path) -> None:
    wheels = index_wheels(tmp_path, NAMES)
    venv = tmp_path / "venv"
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", "--python", sys.executable, venv], check=True)
    before = tree_of(venv)
    arguments = ["-q", "--no-deps", "--no-compile-bytecode", "--link-mode", "copy"]
    subprocess.run(
        [
            *uv,
            "pip",
            "install",
            *arguments,
            "--python",
            venv / "bin/python",
            *wheels.values(),
        ],
        check=True,
    )
    library = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}"
    here = Interpreter(
        path=sys.executable, version=sys.version_info[:2], full_version="3"
    )
    installed = []
    for path in wheels.values():
        verify_wheel(path)
        info = "-".join(path.name.split("-")[:2]) + ".dist-info"
        written = venv / library / "site-packages" / info / "direct_url.json"
        installed.append(
            distribution(path, requested=True, direct_url=written.read_text())
        )

    layer = write_wheel_layer(
        store,
        list(zip(wheels.values(), installed, strict=True)),
        interpreter=here,
        prefix=str(venv),
        mtime=MTIME,
    )

    expected = {
        path: file
        for path, file in tree_of(venv).items()
        if path not in before and path != ".lock"  # uv's own
    }
    found = layer_tree(tar_bytes(store, layer), str(venv))
    assert sorted(plain(found)) == sorted(plain(expected))
    assert plain(found) == plain(expected)
    for name in (path for path in found if path.endswith(".dist-info/RECORD")):
        assert record_rows(found[name]) == record_rows(expected[name])


def tree_of(root: Path) -> dict[str, tuple[bytes, bool]]:
    return {
        str(path.relative_to(root)): (
            path.read_bytes(),
            bool(path.stat().st_mode & stat.S_IXUSR),
        )
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def layer_tree(data: bytes, prefix: str) -> dict[str, tuple[bytes, bool]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {
            info.name.removeprefix(prefix[1:] + "/"): (
                file.read(),
                bool(info.mode & 0o111),
            )
            for info in tar
            if info.isfile() and (file := tar.extractfile(info))
        }


#: What differs on purpose: who installed it, and what uv writes for itself.
DIFFERENT = ("INSTALLER", "uv_cache.json")


def plain(tree: dict[str, tuple[bytes, bool]]) -> dict[str, tuple[bytes, bool]]:
    return {
        path: content
        for path, content in tree.items()
        if path.rpartition("/")[2] not in (*DIFFERENT, "RECORD")
    }


def record_rows(file: tuple[bytes, bool]) -> list[str]:
    return [
        line
        for line in file[0].decode().splitlines()
        if line.partition(",")[0].rpartition("/")[2] not in DIFFERENT
    ]
