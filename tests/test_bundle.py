"""The user's code as a tree of files."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from imagekit.bundle import (
    Bundle,
    CopyStyle,
    bundle_root,
    check_version,
    code_bundle,
    module_of,
)
from imagekit.errors import DefinitionError, SourceChangedError, SourceNotFoundError
from imagekit.plan import CopyTree
from imagekit.sources import walk
from imagekit.task_errors import DeploymentError, ModuleLoadError

FILES = {
    "pyproject.toml": "",
    "main.py": "import pkg.sub.deep\nimport names.space\n",
    "pkg/__init__.py": "",
    "pkg/sub/__init__.py": "",
    "pkg/sub/deep.py": "def task(): pass\n",
    "pkg/unused.py": "",
    "pkg/data.txt": "data\n",
    "names/space.py": "",
    "venv/pyvenv.cfg": "",
    "venv/lib/python3/site-packages/inst.py": "",
    ".env": "SECRET=1\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "main.py").chmod(0o755)
    return root


def module(name: str, file: Path | None) -> ModuleType:
    made = ModuleType(name)
    if file is not None:
        made.__file__ = str(file)
    return made


def loaded(root: Path, **more: ModuleType) -> dict[str, ModuleType]:
    """Return what ``sys.modules`` holds when the project's main.py runs."""
    found = {
        "__main__": module("__main__", root / "main.py"),
        "pkg.sub.deep": module("pkg.sub.deep", root / "pkg/sub/deep.py"),
        "names.space": module("names.space", root / "names/space.py"),
        "inst": module("inst", root / "venv/lib/python3/site-packages/inst.py"),
        "builtin": module("builtin", None),
        "gone": module("gone", root / "gone.py"),
        "elsewhere": module("elsewhere", root.parent / "elsewhere.py"),
    }
    (root.parent / "elsewhere.py").write_text("")
    return found | more


def paths(bundle: Bundle) -> list[str]:
    return [entry.path for entry in bundle.tree.entries]


def test_loaded_modules(project: Path) -> None:
    bundle = code_bundle("loaded_modules", project, modules=loaded(project))

    assert paths(bundle) == [
        "main.py",
        "names",
        "names/space.py",
        "pkg",
        "pkg/__init__.py",
        "pkg/sub",
        "pkg/sub/__init__.py",
        "pkg/sub/deep.py",
    ]
    assert bundle.main_module == "main"
    assert bundle.import_paths == (".",)
    assert [entry.path for entry in bundle.tree.files if entry.executable] == [
        "main.py"
    ]


def test_all(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The environment of the interpreter that runs is left out by any name.
    monkeypatch.setattr(sys, "prefix", str(project / "venv"))
    (project / ".dockerignore").write_text("**/*.txt\n")

    bundle = code_bundle("all", project, modules=loaded(project))

    files = [entry.path for entry in bundle.tree.files]
    assert files == [
        ".dockerignore",
        "main.py",
        "names/space.py",
        "pkg/__init__.py",
        "pkg/sub/__init__.py",
        "pkg/sub/deep.py",
        "pkg/unused.py",
        "pyproject.toml",
    ]
    assert bundle.main_module == "main"


def test_manifests_of_a_deployment_are_no_code(project: Path) -> None:
    before = code_bundle("all", project, modules=loaded(project))
    for name in ("deploy/team/ik-env-env-1.yaml", "names/ik-current-env.yaml"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("# Written by 'imagekit deploy'.\na: b\n")

    assert code_bundle("all", project, modules=loaded(project)) == before

    (project / "deploy" / "notes.txt").write_text("")
    after = code_bundle("all", project, modules=loaded(project)).tree
    assert {entry.path for entry in after.entries} == {
        *(entry.path for entry in before.tree.entries),
        "deploy",
        "deploy/notes.txt",
    }


def test_none(project: Path) -> None:
    bundle = code_bundle("none", project, modules=loaded(project))

    assert bundle.tree.entries == ()
    check_version("none", "v1")
    check_version("all", None)
    with pytest.raises(DeploymentError, match="copy_style='none' copies none"):
        check_version("none", None)


@pytest.mark.parametrize("version", ["", "v\udcff", "a\nb", 5, True])
@pytest.mark.parametrize("copy_style", ["none", "loaded_modules"])
def test_versions_that_nobody_can_read(copy_style: CopyStyle, version: object) -> None:
    with pytest.raises(DeploymentError, match="wanted a version that is a text"):
        check_version(copy_style, version)


def test_unknown_copy_style(project: Path) -> None:
    with pytest.raises(DefinitionError, match="wanted a copy_style of"):
        code_bundle("some", project)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="found 'some'"):
        check_version("some", "v1")  # type: ignore[arg-type]


@pytest.mark.parametrize("style", ["loaded_modules", "all"])
def test_the_digest_is_of_paths_bits_and_bytes(
    project: Path, tmp_path: Path, style: CopyStyle
) -> None:
    def digest(root: Path) -> str:
        return code_bundle(style, root, modules=loaded(root)).digest

    copy = tmp_path / "other" / "place"
    shutil.copytree(project, copy)
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
    first = digest(project)

    assert digest(copy) == first
    # An edit in a process that has made a bundle already is seen.
    (copy / "main.py").write_text("changed")
    edited = digest(copy)
    (copy / "main.py").chmod(0o644)
    assert len({first, edited, digest(copy)}) == 3


def test_the_digest_is_the_same_in_every_process(project: Path) -> None:
    program = (
        "import json, runpy, sys; from imagekit.bundle import code_bundle;"
        "sys.path.insert(0, sys.argv[1]); import pkg.sub.deep, names.space;"
        "b = code_bundle('loaded_modules', sys.argv[1]);"
        "print(json.dumps([b.digest, [e.path for e in b.tree.files]]))"
    )
    found = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program, str(project)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        )
        found.add(done.stdout)

    (out,) = found
    assert json.loads(out)[1] == [
        "names/space.py",
        "pkg/__init__.py",
        "pkg/sub/__init__.py",
        "pkg/sub/deep.py",
    ]


def test_an_installed_imagekit_is_left_out() -> None:
    root = Path(__file__).parent.parent

    bundle = code_bundle("loaded_modules", root)

    assert not [path for path in paths(bundle) if path.startswith("imagekit")]


class Pretending:
    """Says that it is a module, as libraries of cffi do, and has no attributes."""

    __slots__ = ()

    @property  # type: ignore[misc]  # read-only suffices to pretend
    def __class__(self) -> Any:
        return ModuleType


def test_what_is_no_module_is_left_out(project: Path) -> None:
    pretending: Any = Pretending()
    assert isinstance(pretending, ModuleType)

    bundle = code_bundle(
        "loaded_modules", project, modules=loaded(project, lib=pretending)
    )

    assert "main.py" in paths(bundle)


def test_a_root_inside_of_an_interpreter(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(project.parent))

    bundle = code_bundle("loaded_modules", project, modules=loaded(project))

    assert "main.py" in paths(bundle)


def test_folders_that_modules_are_found_in(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("src/app/__init__.py", "scripts/job.py", "lib/tool.py"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("")
    monkeypatch.syspath_prepend(project / "lib")
    monkeypatch.syspath_prepend(project / "src")
    more = {
        "app": module("app", project / "src/app/__init__.py"),
        "tool": module("tool", project / "lib/tool.py"),
        # As the command line names the file that it runs.
        "definitions_job": module("definitions_job", project / "scripts/job.py"),
    }

    bundle = code_bundle("loaded_modules", project, modules=loaded(project, **more))

    assert bundle.import_paths == ("src", "lib", ".", "scripts")


def test_modules_by_way_of_a_link(project: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(project)

    bundle = code_bundle("loaded_modules", link, modules=loaded(project))

    assert "pkg/sub/deep.py" in paths(bundle)
    assert bundle.import_paths == (".",)


@pytest.mark.parametrize("is_linked", ["path", "root"])
def test_folders_that_only_one_of_root_and_path_is_a_link_to(
    is_linked: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "link"
    link.symlink_to(project)
    root, path = (project, link) if is_linked == "path" else (link, project)
    (project / "src").mkdir()
    (project / "src" / "tool.py").write_text("")
    monkeypatch.syspath_prepend(path / "src")
    more = {"tool": module("tool", path / "src" / "tool.py")}

    bundle = code_bundle("loaded_modules", root, modules=loaded(project, **more))

    assert bundle.import_paths == ("src", ".")


def test_folders_outside_of_the_root_are_left_out(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = project / "pkg"
    monkeypatch.syspath_prepend(project)
    modules = {"pkg.sub": module("pkg.sub", package / "sub" / "__init__.py")}

    bundle = code_bundle("loaded_modules", package, modules=modules)

    assert bundle.import_paths == (".",)


def test_lazy_modules_stay_so(project: Path) -> None:
    class Lazy(ModuleType):
        def __getattribute__(self, name: str) -> object:
            raise AssertionError(f"asked for {name}")

    lazy = Lazy("lazy")

    code_bundle("loaded_modules", project, modules=loaded(project, lazy=lazy))


def test_a_bundle_is_a_layer(project: Path) -> None:
    bundle = code_bundle("loaded_modules", project, modules=loaded(project))

    step = CopyTree(tree=bundle.tree, destination="/root", label="code")

    assert step.tree.digest == bundle.digest


def test_copy_bundle_to(project: Path, tmp_path: Path) -> None:
    from imagekit.ignore import NOTHING

    (project / "link").symlink_to("main.py")
    bundle = code_bundle("all", project, modules=loaded(project))
    place = tmp_path / "new" / "copy"
    bundle.copy_bundle_to(place)
    bundle.copy_bundle_to(place)

    assert walk(str(place), NOTHING).digest == bundle.digest
    (project / "main.py").write_text("edited")
    with pytest.raises(SourceChangedError, match="was edited after"):
        bundle.copy_bundle_to(place)


def test_root(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__main__", module("__main__", None))
    monkeypatch.chdir(project / "pkg")

    assert bundle_root() == project
    assert bundle_root(Path("sub")) == project / "pkg" / "sub"
    with pytest.raises(SourceNotFoundError, match="wanted a folder as root_dir"):
        bundle_root("nowhere")

    main = module("__main__", project / "pkg" / "unused.py")
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.chdir(project.parent)
    assert bundle_root() == project
    (project / "pyproject.toml").unlink()
    assert bundle_root() == project / "pkg"


def test_root_of_a_program_that_is_run_as_a_module(project: Path) -> None:
    (project / "pyproject.toml").unlink()
    program = "from imagekit.bundle import bundle_root; print(bundle_root())"
    (project / "pkg" / "unused.py").write_text(program)

    done = subprocess.run(
        [sys.executable, "-m", "pkg.unused"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
    )

    assert done.stdout.strip() == str(project)


@pytest.fixture
def imported(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(project)
    yield importlib.import_module("pkg.sub.deep")
    for name in ("pkg", "pkg.sub", "pkg.sub.deep"):
        sys.modules.pop(name, None)


def test_module_of_a_task(project: Path, imported: ModuleType) -> None:
    assert module_of(imported.task, project) == "pkg.sub.deep"
    with pytest.raises(ModuleLoadError, match="inside of its package") as caught:
        module_of(imported.task, project / "pkg")
    assert caught.value.hint == f"init(root_dir={str(project)!r})"


def test_module_of_the_program(
    project: Path, imported: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported.task.__module__ = "__main__"
    main = module("__main__", project / "main.py")
    monkeypatch.setitem(sys.modules, "__main__", main)

    assert module_of(imported.task, project) == "main"
    with pytest.raises(ModuleLoadError, match="wanted the code of tasks below"):
        module_of(imported.task, project / "pkg")
    main.__file__ = None
    with pytest.raises(ModuleLoadError, match="is in no file"):
        module_of(imported.task, project)


@pytest.mark.parametrize("name", ["queue.py", "a.b.py", "__main__.py", "job"])
def test_files_that_can_not_be_imported(project: Path, name: str) -> None:
    (project / name).write_text("")

    with pytest.raises(ModuleLoadError, match="can't import"):
        module_of(project / name, project)


def test_a_module_that_was_loaded_from_a_file_without_suffix(
    project: Path, imported: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "job").write_text("")
    # As the command line loads it.
    monkeypatch.setitem(sys.modules, "job", module("job", project / "job"))
    monkeypatch.setattr(imported.task, "__module__", "job")

    with pytest.raises(ModuleLoadError, match=r"that of a file without '\.py'"):
        module_of(imported.task, project)


def test_module_of_a_file(project: Path) -> None:
    assert module_of(project / "main.py", project) == "main"
    assert module_of(project / "pkg" / "__init__.py", project) == "pkg"
