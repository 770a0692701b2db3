"""The lock of a uv project, enforced: exported by uv if it is current, else refused."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from imagekit.errors import DefinitionError, ResolutionError
from imagekit.layers import ProjectInstallMode, UVProject
from imagekit.python_inputs.reading import read_toml
from imagekit.python_inputs.script_header import allows_python
from imagekit.python_inputs.uv_project import ProjectFiles, normalized
from imagekit.resolve.target import Target
from imagekit.resolve.uv import Uv, UvError
from imagekit.resolve.wanted import Wanted

_STALE = "needs to be updated"
_NO_PYTHON = ("No interpreter found", "incompatible with the project's Python")
_DEV_CHOICES = frozenset(("--dev", "--no-dev", "--only-dev", "--all-groups"))


def export_lock(
    wanted: Wanted,
    target: Target,
    uv: Uv,
    *,
    environ: Mapping[str, str],
    hide: Callable[[str], str],
) -> tuple[dict[str, Any], Path]:
    """Return the project's lock in the form of PEP 751, and its folder.

    Raises:
        ResolutionError: the lock is not current, or not for the target's Python.
        DefinitionError: the lock is where it can't be used.
    """
    layer, files = wanted.layer, wanted.project
    assert isinstance(layer, UVProject)
    assert files is not None
    assert files.lock is not None
    _check_python(files.lock, target)
    argv = ["export", "--quiet", "--no-header", "--format", "pylock.toml"]
    argv += ["--no-editable", *_choices(wanted, layer.mode)]
    interpreter = uv.find_python(target.minor)
    if interpreter is not None:
        argv += ["--python", interpreter]
    with _in_place(Path(layer.pyproject.location).parent, files) as folder:
        try:
            text = uv.run(
                [*argv, "--locked"], environ=environ, folder=str(folder), hide=hide
            )
        except UvError as error:
            if not any(words in error.text for words in _NO_PYTHON):
                raise _refusal(error, files.lock) from error
            # uv checks a lock only with a Python that the project allows. Where this
            # machine has none, we compare what the lock was made from.
            check_current(files)
            try:
                text = uv.run(
                    [*argv, "--frozen"], environ=environ, folder=str(folder), hide=hide
                )
            except UvError as failure:
                raise _refusal(failure, files.lock) from failure
        # The root also where links stand in for it: they lead to the same files.
        return tomllib.loads(text), Path(files.root)


def check_current(files: ProjectFiles) -> None:
    """Compare the dependencies in the lock with those in the projects.

    Raises:
        ResolutionError: they differ.
    """
    assert files.lock is not None
    lock = read_toml(Path(files.lock), what="uv.lock")
    by_name = {
        item["name"]: item
        for item in lock.get("package", ())
        if {"virtual", "editable", "directory"} & set(item.get("source", {}))
    }
    for _, path in files.files:
        if not path.endswith("pyproject.toml"):
            continue
        document = read_toml(Path(path), what="pyproject.toml")
        name = normalized(document.get("project", {}).get("name"))
        if name is None:
            continue
        locked = by_name.get(name)
        if locked is None or _asked(document) != _locked(locked):
            raise ResolutionError(
                f"the lock {files.lock!r} is not made from {path!r} as it is now",
                hint="run 'uv lock'",
            )


def _choices(wanted: Wanted, mode: ProjectInstallMode) -> list[str]:
    given = list(wanted.args.project)
    chosen: list[str] = []
    items = iter(given)
    for name in items:
        if name == "--dev":
            chosen += ["--group", "dev"]
        elif name == "--no-install-package":
            chosen += ["--no-emit-package", next(items)]
        else:
            chosen.append(name)
    asks_for_dev = _DEV_CHOICES & set(given) or any(
        (name, value) in (("--group", "dev"), ("--only-group", "dev"))
        for name, value in pairwise(given)
    )
    if not asks_for_dev:
        chosen.append("--no-dev")
    if mode == "dependencies_only":
        chosen.append("--no-emit-project")
    return chosen


def _check_python(lock: str, target: Target) -> None:
    requires = read_toml(Path(lock), what="uv.lock").get("requires-python")
    version = target.interpreter.full_version
    if requires and not allows_python(requires, version):
        raise ResolutionError(
            f"the lock {lock!r} is for Python {requires!r}, and the image has "
            f"{version!r}",
            hint="choose another Python for the image, or change 'requires-python' "
            "and run 'uv lock'",
        )


def _refusal(error: UvError, lock: str) -> ResolutionError:
    if _STALE in error.text:
        text = error.text.partition(" hint:")[0]
        return ResolutionError(
            f"the lock {lock!r} is out of date: uv says {text!r}", hint="run 'uv lock'"
        )
    return ResolutionError(
        f"uv can't read the lock {lock!r}: {error.text}", hint=error.hint
    )


@contextmanager
def _in_place(folder: Path, files: ProjectFiles) -> Iterator[Path]:
    """Give a folder in which uv finds the lock beside the project."""
    if files.lock_in_place:
        yield folder
        return
    outside = any(
        name.startswith("..")
        for name, path in (*files.folders, *files.files)
        if path != files.lock
    )
    if files.root != str(folder) or outside:
        raise DefinitionError(
            f"the lock {files.lock!r} is not where uv looks for it",
            hint=f"move it to {str(Path(files.root) / 'uv.lock')!r}",
        )
    assert files.lock is not None
    import tempfile  # noqa: PLC0415  (slow to import)

    with tempfile.TemporaryDirectory(prefix="imagekit-") as name:
        # Links, so that paths in the project lead to where they always do.
        for item in folder.iterdir():
            if item.name != "uv.lock":
                (Path(name) / item.name).symlink_to(item)
        shutil.copyfile(files.lock, Path(name) / "uv.lock")
        yield Path(name)


def _asked(document: dict[str, Any]) -> set[tuple[str, str, str]]:
    project = document.get("project", {})
    asked = {_requirement(text, "") for text in project.get("dependencies", ())}
    for extra, texts in project.get("optional-dependencies", {}).items():
        asked |= {_requirement(text, normalized(extra) or "") for text in texts}
    return asked


def _locked(package: dict[str, Any]) -> set[tuple[str, str, str]]:
    entries = package.get("metadata", {}).get("requires-dist", ())
    found = set()
    for entry in entries:
        extra = _extra(entry.get("marker", ""))
        found.add((entry["name"], _specifiers(entry.get("specifier", "")), extra))
    return found


def _requirement(text: str, extra: str) -> tuple[str, str, str]:
    from packaging.requirements import Requirement  # noqa: PLC0415  (slow, rare)

    requirement = Requirement(text)
    return (
        normalized(requirement.name) or "",
        _specifiers(str(requirement.specifier)),
        extra,
    )


def _specifiers(text: str) -> str:
    return ",".join(sorted(item.strip() for item in text.split(",") if item.strip()))


def _extra(marker: str) -> str:
    _, found, rest = marker.partition("extra == '")
    return rest.partition("'")[0] if found else ""
