"""uv projects: the lock is enforced, and local projects become wheels."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from package_index import (
    PackageIndex,
    packages,
    serve,
    target,
    wheel,
    write_project,
)

from imagekit.errors import (
    ConflictError,
    DefinitionError,
    ResolutionError,
    SourceNotFoundError,
)
from imagekit.layers import InstallOptions, ProjectInstallMode, PythonLayer, UVProject
from imagekit.origin import Origin, SourcePath
from imagekit.python_inputs.uv_project import read_project
from imagekit.resolve.project_lock import check_current
from imagekit.resolve.python import Resolved, Target, resolve
from imagekit.resolve.uv import Uv
from imagekit.store import Store

Resolve = Callable[..., tuple[Resolved, ...]]
Lock = Callable[[], None]


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the user's settings and caches out."""
    for name in list(os.environ):
        if name.startswith(("UV_", "PIP_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    with serve() as index:
        for name in ("six", "extra-one", "group-one", "dev-one", "old-only"):
            index.add(wheel(name, "1.0"))
        index.add(wheel("six", "2.0"))
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
        yield index


@pytest.fixture
def run(tmp_path: Path) -> Resolve:
    store = Store(tmp_path / "store")

    def run(
        *layers: PythonLayer, place: Target | None = None, upgrade: bool = False
    ) -> tuple[Resolved, ...]:
        return resolve(
            layers, place or target(), lineage="image", store=store, upgrade=upgrade
        )

    return run


@pytest.fixture
def root(tmp_path: Path, index: PackageIndex) -> Path:
    """A workspace with a member, a path dependency, an extra and groups."""
    root = write_project(
        tmp_path / "work",
        "app",
        "1.0",
        requires=("six<2", "lib", "side", "old-only; python_version < '3.12'"),
        extra="""
[project.optional-dependencies]
more = ["extra-one"]

[dependency-groups]
dev = ["dev-one"]
docs = ["group-one"]

[tool.uv.workspace]
members = ["libs/*"]

[tool.uv.sources]
lib = { workspace = true }
side = { path = "../side", editable = true }
""",
    )
    write_project(root / "libs" / "lib", "lib", "1.0")
    write_project(tmp_path / "side", "side", "3.0", requires=("six",))
    return root


@pytest.fixture
def locked(root: Path, tmp_path: Path) -> Path:
    lock(root, tmp_path)
    return root


def lock(root: Path, temporary: Path) -> None:
    uv = Uv(temporary=temporary).path
    subprocess.run([uv, "lock", "--quiet"], cwd=root, check=True)


def project(
    folder: Path,
    extra_args: str | None = None,
    mode: ProjectInstallMode = "dependencies_only",
    uvlock: Path | None = None,
) -> UVProject:
    origin = Origin("image.py", 6, str(folder))
    return UVProject(
        pyproject=SourcePath.of("pyproject.toml", origin),
        uvlock=SourcePath.of(uvlock, origin) if uvlock else None,
        mode=mode,
        options=InstallOptions(extra_args=extra_args),
        origin=origin,
    )


def names(resolved: Resolved) -> list[str]:
    return [item.name for item in resolved.distributions]


DEPENDENCIES = ["lib", "old-only", "side", "six"]


def test_the_locks_dependencies_are_installed(
    locked: Path, run: Resolve, index: PackageIndex
) -> None:
    index.add(wheel("six", "1.9"))

    (found,) = run(project(locked))

    assert names(found) == DEPENDENCIES
    six = found.distributions[-1]
    assert (six.version, six.sha256) == ("1.0", index.sha256(six.filename))


def test_markers_of_the_lock_are_the_targets(locked: Path, run: Resolve) -> None:
    (found,) = run(project(locked), place=target("linux/arm64", "3.13.1"))

    assert names(found) == ["lib", "side", "six"]


def test_local_projects_become_wheels(locked: Path, run: Resolve) -> None:
    (found,) = run(project(locked))

    side = found.distributions[2]
    assert (side.version, side.filename) == ("3.0", "side-3.0-py3-none-any.whl")
    assert side.url is None


@pytest.mark.parametrize(
    ("extra_args", "expected"),
    [
        ("--extra more", ["extra-one", *DEPENDENCIES]),
        ("--all-extras", ["extra-one", *DEPENDENCIES]),
        ("--group docs", ["group-one", *DEPENDENCIES]),
        ("--group dev", ["dev-one", *DEPENDENCIES]),
        ("--dev", ["dev-one", *DEPENDENCIES]),
        ("--all-groups", ["dev-one", "group-one", *DEPENDENCIES]),
        ("--only-group docs", ["group-one"]),
        ("--package lib", []),
        ("--no-install-package side --locked --no-dev", ["lib", "old-only", "six"]),
    ],
)
def test_extras_and_groups(
    locked: Path, run: Resolve, extra_args: str, expected: Any
) -> None:
    (found,) = run(project(locked, extra_args))

    assert names(found) == sorted(expected)


def test_the_project_itself_is_installed_if_asked(locked: Path, run: Resolve) -> None:
    (found,) = run(project(locked, mode="install_project"))

    assert names(found) == ["app", *DEPENDENCIES]


def test_a_changed_member_is_built_again(locked: Path, run: Resolve) -> None:
    before = run(project(locked))
    (locked / "libs" / "lib" / "lib.py").write_text("changed = True\n")
    after = run(project(locked))

    changed = {
        new.name
        for old, new in zip(
            before[0].distributions, after[0].distributions, strict=True
        )
        if old.sha256 != new.sha256
    }
    assert changed == {"lib"}


def test_a_stale_lock_is_refused(locked: Path, run: Resolve) -> None:
    path = locked / "pyproject.toml"
    path.write_text(path.read_text().replace('"six<2"', '"six", "dev-one"'))

    with pytest.raises(ResolutionError, match="needs to be updated") as caught:
        run(project(locked))

    assert caught.value.hint == "run 'uv lock'"
    assert caught.value.origin == "image.py:6"


def test_a_lock_for_another_python_is_refused(locked: Path, run: Resolve) -> None:
    with pytest.raises(ResolutionError, match=r"is for Python '>=3\.10'.*'3\.9\.1'"):
        run(project(locked), place=target(python="3.9.1"))


def test_a_lock_that_no_python_here_could_check(
    locked: Path, run: Resolve, tmp_path: Path
) -> None:
    """uv refuses to check a lock without a Python that the project allows."""
    for path in (locked / "pyproject.toml", locked / "uv.lock"):
        path.write_text(path.read_text().replace(">=3.10", ">=3.99"))
    place = target(python="3.99.0")

    (found,) = run(project(locked), place=place)

    assert names(found) == ["lib", "side", "six"]
    path = locked / "pyproject.toml"
    path.write_text(path.read_text().replace('"six<2"', '"six>1"'))
    with pytest.raises(ResolutionError, match="is not made from") as caught:
        run(project(locked), place=place)
    assert caught.value.hint == "run 'uv lock'"


def test_current_locks_pass_our_own_check(locked: Path) -> None:
    check_current(read_project(str(locked / "pyproject.toml"), None, "install_project"))


def test_members_use_the_lock_of_their_workspace(locked: Path, run: Resolve) -> None:
    lib = locked / "libs" / "lib"

    (found,) = run(project(lib, mode="install_project"))

    assert names(found) == ["lib"]


def test_without_a_lock_the_dependencies_are_resolved(root: Path, run: Resolve) -> None:
    (found,) = run(project(root, "--extra more --group docs"))

    assert names(found) == ["extra-one", "group-one", *DEPENDENCIES]


def test_without_a_lock_the_project_is_installed_if_asked(
    root: Path, run: Resolve
) -> None:
    (found,) = run(project(root, mode="install_project"))

    assert names(found) == ["app", *DEPENDENCIES]


def test_a_lock_elsewhere(tmp_path: Path, index: PackageIndex, run: Resolve) -> None:
    folder = write_project(tmp_path / "simple", "simple", "1.0", requires=("six<2",))
    lock(folder, tmp_path)
    shutil.move(folder / "uv.lock", tmp_path / "my.lock")

    (found,) = run(project(folder, mode="install_project", uvlock=tmp_path / "my.lock"))

    assert names(found) == ["simple", "six"]


def test_a_lock_elsewhere_for_a_workspace_is_refused(
    locked: Path, run: Resolve, tmp_path: Path
) -> None:
    shutil.move(locked / "uv.lock", tmp_path / "uv.lock")

    with pytest.raises(DefinitionError, match="not where uv looks"):
        run(project(locked, uvlock=tmp_path / "uv.lock"))


def test_a_missing_lock(root: Path, run: Resolve, tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match=r"no uv\.lock at"):
        run(project(root, uvlock=tmp_path / "uv.lock"))


def test_a_lock_replaces_what_earlier_layers_left_open(
    locked: Path, run: Resolve
) -> None:
    found = run(packages("six"), project(locked))

    assert found[0].distributions[0].version == "2.0"
    assert names(found[1]) == DEPENDENCIES
    assert found[1].distributions[-1].version == "1.0"


def test_later_layers_keep_the_locks_pins(locked: Path, run: Resolve) -> None:
    found = run(project(locked), packages("six", "dev-one"))

    assert names(found[1]) == ["dev-one"]


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_lock_is_not_overruled(locked: Path, run: Resolve, order: str) -> None:
    other = packages("six==2.0", line=2)
    layers = (other, project(locked))

    with pytest.raises(ConflictError) as caught:
        run(*(layers if order == "before" else layers[::-1]))

    assert "six==2.0" in str(caught.value)
    assert "image.py:2" in str(caught.value)
    assert "image.py:6" in str(caught.value)


def test_two_locks_that_differ(locked: Path, run: Resolve, tmp_path: Path) -> None:
    folder = write_project(tmp_path / "other", "other", "1.0", requires=("six>=2",))
    lock(folder, tmp_path)

    with pytest.raises(
        ConflictError, match=r"both fix other versions: six 2\.0 and 1\.0"
    ):
        run(project(locked), project(folder))
