"""The same definition gives the same digest: wherever, whenever, by whichever Python.

Each build is a process of its own that starts from nothing, in a copy of the project.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from machine.interpreter import interpreter
from machine.state import UnsupportedMachineError

from imagekit.resolve.indexes import Indexes, index_variables, user_settings

pytestmark = [pytest.mark.engine, pytest.mark.index]

ROOT = Path(__file__).parents[1]
OTHER = "3.13" if sys.version_info[:2] != (3, 13) else "3.11"

DEFINITION = """
from pathlib import Path

from imagekit import Image

HERE = Path(__file__).parent

image = (
    Image.from_debian_base((3, 11), name="reproducible")
    .with_pip_packages("charset-normalizer", "pygments")
    .with_requirements(HERE / "requirements.txt")
    .with_env_vars({"B": "größer \\u2603", "A": "two\\nlines"})
    .with_workdir("/srv/app")
    .with_source_folder(HERE / "app")
    .with_source_file(HERE / "requirements.txt", "/etc/app/")
)
"""
FILES = {
    "images.py": DEFINITION,
    "requirements.txt": "markupsafe\nsix\n",
    "app/main.py": "print('main')\n",
    "app/run.sh": "#!/bin/sh\necho run\n",
    "app/grö\u00dfe \u2603.txt": "composed: \u00e9\n",
    "app/e\u0301/\u65e5\u672c.txt": "decomposed name\n",
    "app/big.bin": "".join(f"{number}\n" for number in range(200_000)),
    "app/a'b\"c$d": "quotes\n",
}
EXECUTABLE = ("app/run.sh",)
LINKS = {"app/link": "main.py", "app/to folder": "empty"}
FOLDERS = ("app/empty", "app/deep/er")
#: What is left out by default.
NOISE = {
    "app/__pycache__/main.cpython-311.pyc": "bytes",
    "app/.git/config": "[core]\n",
    "app/.env": "SECRET=1\n",
}


@dataclass(frozen=True, kw_only=True)
class Variation:
    """How a build differs in what must not matter."""

    place: str = "project"
    umask: int = 0o022
    environ: Mapping[str, str] = field(default_factory=dict)
    reverse: bool = False
    mtime: int | None = None
    noise: bool = False
    python: str = "this"


VARIATIONS = {
    "again": Variation(),
    "other place, file order and umask": Variation(
        place="a b/projet \u00e9t\u00e9/x", umask=0o077, reverse=True
    ),
    "other time zone, locale and hash seed": Variation(
        umask=0o002,
        environ={
            "TZ": "Pacific/Kiritimati",
            "LC_ALL": "C",
            "PYTHONUTF8": "0",
            "PYTHONCOERCECLOCALE": "0",
            "PYTHONHASHSEED": "4711",
        },
    ),
    "other times, one thread, without ISA-L": Variation(
        mtime=1, noise=True, environ={"IMAGEKIT_JOBS": "1", "PYTHONPATH": "{blocked}"}
    ),
    "another Python": Variation(
        place="elsewhere/project",
        umask=0o027,
        reverse=True,
        python="other",
        environ={"TZ": "America/St_Johns", "LC_ALL": "POSIX", "PYTHONHASHSEED": "0"},
    ),
}


def write_project(folder: Path, how: Variation) -> Path:
    files = FILES | (NOISE if how.noise else {})
    names = sorted((*files, *LINKS, *FOLDERS), reverse=how.reverse)
    before = os.umask(how.umask)
    try:
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name in LINKS:
                path.symlink_to(LINKS[name])
            elif name in files:
                path.write_text(files[name], "utf-8")
            else:
                path.mkdir()
    finally:
        os.umask(before)
    for name in EXECUTABLE:
        path = folder / name
        path.chmod(path.stat().st_mode | 0o100)
    if how.mtime is not None:
        for path in folder.rglob("*"):
            os.utime(path, (how.mtime, how.mtime), follow_symlinks=False)
    return folder


class Builds:
    """Builds from scratch in processes of their own."""

    def __init__(self, registry: str, folder: Path) -> None:
        self._registry = registry
        self._folder = folder
        self._count = 0

    def __call__(
        self,
        how: Variation,
        python: Path,
        *,
        change: Callable[[Path], object] = lambda project: None,
    ) -> dict[str, Any]:
        self._count += 1
        folder = self._folder / str(self._count)
        project = write_project(folder / how.place, how)
        change(project)
        blocked = folder / "blocked"
        blocked.mkdir()
        (blocked / "isal.py").write_text("raise ImportError('none here')\n")
        environ = {
            name: value.format(blocked=blocked) for name, value in how.environ.items()
        }
        done = subprocess.run(
            [
                *(str(python), "-m", "imagekit", "build", "images.py:image"),
                *("--platform", "linux/amd64,linux/arm64", "--no-push", "--json"),
            ],
            cwd=project,
            umask=how.umask,
            env={
                **os.environ,
                "IMAGEKIT_CACHE_DIR": str(folder / "store"),
                "IMAGEKIT_REGISTRY_MIRRORS": f"docker.io={self._registry}",
                **environ,
            },
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        found: dict[str, Any] = json.loads(done.stdout)["images"][0]
        assert not any(layer["reused"] for layer in own_layers(found))
        return found


def own_layers(found: dict[str, Any]) -> list[dict[str, Any]]:
    layers: list[dict[str, Any]] = found["layers"]
    return [layer for layer in layers if not layer["title"].startswith("base ")]


def what_is_named(found: dict[str, Any]) -> dict[str, Any]:
    layers = [
        (layer["platform"], layer["title"], layer["digest"])
        for layer in found["layers"]
    ]
    names = ("uri", "identifier", "content_id", "platforms", "digest")
    return {"layers": layers, **{name: found[name] for name in names}}


@pytest.fixture(scope="module")
def builds(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Builds:
    return Builds(registry, tmp_path_factory.mktemp("builds"))


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    """Return a place for the first build, which is made in a clean environment."""
    return {}


@pytest.fixture
def first(known: dict[str, Any], builds: Builds) -> dict[str, Any]:
    if not known:
        known.update(builds(Variation(), Path(sys.executable)))
    return known


@pytest.fixture(scope="module")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return another Python, into which the project was installed."""
    try:
        found = interpreter(OTHER)
    except UnsupportedMachineError as error:
        pytest.skip(f"no Python {OTHER} on the PATH or below ~/.pyenv: {error}")
    folder = tmp_path_factory.mktemp("other") / "venv"
    python = folder / "bin" / "python"
    environ = index_variables(
        Indexes(), user_settings(str(ROOT), os.environ), os.environ
    )
    install = ("pip", "install", "--python", str(python))
    for words in (
        ("venv", "--python", str(found), str(folder)),
        # The checkout may have changed since uv last made a wheel of it.
        (*install, "--refresh-package", "imagekit", str(ROOT)),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "uv", "--quiet", *words],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    return python


@pytest.mark.parametrize("how", VARIATIONS.values(), ids=VARIATIONS.keys())
def test_from_scratch_the_digest_is_the_same(
    how: Variation,
    first: dict[str, Any],
    builds: Builds,
    request: pytest.FixtureRequest,
) -> None:
    python = Path(sys.executable)
    if how.python == "other":
        python = request.getfixturevalue("other_python")

    found = builds(how, python)

    assert what_is_named(found) == what_is_named(first)


def test_the_first_build_is_what_it_should_be(first: dict[str, Any]) -> None:
    names = {
        (layer["platform"], part.partition(" ")[0])
        for layer in first["layers"]
        for part in layer["title"].split(", ")
    }

    assert first["platforms"] == ["linux/amd64", "linux/arm64"]
    for platform in first["platforms"]:
        for name in ("charset-normalizer", "pygments", "markupsafe", "six", "imagekit"):
            assert (platform, name) in names


CHANGES: dict[str, Callable[[Path], object]] = {
    "an executable bit": lambda project: (project / "app/main.py").chmod(0o744),
    "an empty folder": lambda project: (project / "app/empty2").mkdir(),
    "a name": lambda project: (project / "app/main.py").rename(project / "app/Main.py"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_counts_changes_the_digest(
    change: Callable[[Path], object], first: dict[str, Any], builds: Builds
) -> None:
    found = builds(Variation(), Path(sys.executable), change=change)

    assert found["digest"] != first["digest"]
    assert found["uri"] != first["uri"]
