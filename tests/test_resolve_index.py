"""Resolutions from the real package index: real wheels for real targets."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from package_index import MUSL, packages, target

from imagekit.resolve.download import Wheels
from imagekit.resolve.python import Resolved, Target, credentials_for, resolve
from imagekit.resolve.uv import Uv
from imagekit.store import Store

pytestmark = pytest.mark.index

DEMO = ("numpy", "pandas", "fastapi")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def names(resolved: Resolved) -> dict[str, str]:
    return {item.name: item.version for item in resolved.distributions}


@pytest.mark.parametrize(
    ("place", "marks"),
    [
        (target(), ("manylinux", "x86_64")),
        (target("linux/arm64", "3.13.1"), ("manylinux", "aarch64")),
        (target(libc=MUSL), ("musllinux", "x86_64")),
    ],
    ids=["amd64", "arm64", "musl"],
)
def test_wheels_of_the_target_and_no_other(
    store: Store, place: Target, marks: tuple[str, ...]
) -> None:
    (found,) = resolve([packages(*DEMO)], place, lineage="image", store=store)

    assert set(DEMO) < set(names(found))
    native = [
        item.filename
        for item in found.distributions
        if not item.filename.endswith("-none-any.whl")
    ]
    assert len(native) >= 3
    assert all(mark in filename for mark in marks for filename in native)
    python = f"cp{place.interpreter.version[0]}{place.interpreter.version[1]}"
    assert all(python in filename or "abi3" in filename for filename in native)


def test_what_was_resolved_stays_and_costs_nothing(store: Store) -> None:
    layers = [packages(*DEMO)]
    first = resolve(layers, target(), lineage="image", store=store)
    start = time.perf_counter()
    second = resolve(layers, target(), lineage="image", store=store)
    known = time.perf_counter() - start

    more = [packages(*DEMO, "six")]
    (extended,) = resolve(more, target(), lineage="image", store=store)

    assert second == first
    assert known < 0.1
    assert names(extended) == {**names(first[0]), "six": names(extended)["six"]}


def test_a_known_resolution_imports_nothing_slow(store: Store) -> None:
    """A build with nothing new pays for JSON, not for uv, packaging or urllib3."""
    resolve([packages("six")], target(), lineage="image", store=store)
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from package_index import packages, target\n"
        "from imagekit.resolve.python import resolve\n"
        "from imagekit.store import Store\n"
        "layers = [packages('six')]\n"
        "before = set(sys.modules)\n"
        "resolve(layers, target(), lineage='image', store=Store(Path(sys.argv[2])))\n"
        "print(sorted((set(sys.modules) - before) & "
        "{'subprocess', 'packaging', 'urllib3', 'uv', 'zipfile', 'tarfile'}))\n"
        "print(sorted({'packaging', 'urllib3', 'uv'} & set(sys.modules)))\n"
    )
    argv = [sys.executable, "-c", program, str(Path(__file__).parent), str(store.root)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == ["[]", "[]"]


def test_layers_make_an_environment_that_holds_together(
    store: Store, tmp_path: Path
) -> None:
    """The wheels of three layers, installed without a resolver, pass uv's check."""
    import platform as host

    from imagekit.plan import Libc

    major, minor = (int(part) for part in host.libc_ver()[1].split(".")[:2])
    place: Target = target(
        python=".".join(map(str, sys.version_info[:3])),
        libc=Libc(name="glibc", version=(major, minor)),
    )
    layers = [packages("fastapi"), packages("starlette<1"), packages("httpx", "rich")]

    found = resolve(layers, place, lineage="image", store=store)

    wheels = Wheels(store, credentials=credentials_for(layers))
    installed: dict[str, Path] = {}
    for layer in found:
        wheels.fetch_all(layer.distributions)
        for name in layer.removed:
            del installed[name]
        installed |= {item.name: wheels.path(item) for item in layer.distributions}
    uv = Uv(temporary=tmp_path).path
    venv = tmp_path / "venv"
    run = [uv, "--quiet"]
    subprocess.run([*run, "venv", "--python", sys.executable, venv], check=True)
    python = ["--python", str(venv / "bin" / "python")]
    paths = [str(path) for path in installed.values()]
    install = ["pip", "install", "--no-deps", "--no-index", *python, *paths]
    subprocess.run([*run, *install], check=True)
    subprocess.run([*run, "pip", "check", *python], check=True)
    assert names(found[1])["starlette"].startswith("0.")
