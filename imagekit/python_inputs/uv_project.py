"""uv projects: which files and local projects a pyproject.toml and its lock name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imagekit.layers import ProjectInstallMode
from imagekit.python_inputs.local_path import local_requirement
from imagekit.python_inputs.reading import read_text, read_toml
from imagekit.records import dataclass

_NAME = re.compile(r"[-_.]+")
_LOCAL = ("editable", "directory")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectFiles:
    """What a uv project reads.

    Attributes:
        files: name relative to the project's folder, and absolute path, of the
            pyproject.toml, the lock, the pyproject.toml of the workspace and of all
            its members, and of local archives.
        folders: the same of the local projects that go into the image.
        name: normalized name of the project; None where it has none.
        root: folder of the workspace, or of the project where there is none.
        lock: the lock file, or None where there is none.
        lock_in_place: whether uv finds the lock where it is.
    """

    files: tuple[tuple[str, str], ...]
    folders: tuple[tuple[str, str], ...]
    name: str | None
    root: str
    lock: str | None
    lock_in_place: bool


def read_project(
    pyproject: str, uvlock: str | None, mode: ProjectInstallMode
) -> ProjectFiles:
    """Return what the project of *pyproject* reads.

    Args:
        pyproject: path of the pyproject.toml.
        uvlock: path of the lock; None for the one that uv would use, if there is one.
        mode: whether the project itself is installed.

    Raises:
        SourceNotFoundError: a file does not exist.
        SourceUnreadableError: a file can't be read.
        DefinitionError: a file is not TOML.
    """
    path = Path(pyproject)
    folder = path.parent
    document = read_toml(path, what="pyproject.toml")
    root, root_document = _workspace(folder, document)
    usual = root / "uv.lock"
    lock = Path(uvlock) if uvlock else (usual if usual.is_file() else None)
    members = tuple(_members(root, root_document))
    name = normalized(document.get("project", {}).get("name"))
    files = {path, root / "pyproject.toml"} if members else {path}
    files.update(member / "pyproject.toml" for member in members)
    if lock is not None:
        local = _from_lock(read_toml(lock, what="uv.lock"), root, name)
        files.add(lock)
    else:
        local = _from_sources(folder, document, root_document, members)
    found = set(local)
    if mode == "install_project":
        found.add(folder)
    else:
        found.discard(folder)
    archives = {item for item in found if item.is_file()}
    return ProjectFiles(
        files=_named(files | archives, folder),
        folders=_named(found - archives, folder),
        name=name,
        root=str(root),
        lock=str(lock) if lock else None,
        lock_in_place=lock is None or lock == usual,
    )


def normalized(name: str | None) -> str | None:
    """Return *name* as indexes write it (PEP 503)."""
    return _NAME.sub("-", name).lower() if name else None


def _named(paths: set[Path], folder: Path) -> tuple[tuple[str, str], ...]:
    names = ((Path(os.path.relpath(path, folder)).as_posix(), path) for path in paths)
    return tuple(sorted((name, str(path)) for name, path in names))


def _workspace(folder: Path, document: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """Return the root of the workspace that *folder* belongs to, and its document."""
    if _uv(document).get("workspace") is not None:
        return folder, document
    for parent in folder.parents:
        candidate = parent / "pyproject.toml"
        if not candidate.is_file():
            continue
        above = read_toml(candidate, what="pyproject.toml")
        if _uv(above).get("workspace") is not None:
            if folder in set(_members(parent, above)):
                return parent, above
            break
    return folder, document


def _members(root: Path, document: dict[str, Any]) -> Iterator[Path]:
    workspace = _uv(document).get("workspace") or {}
    excluded = {
        path for pattern in workspace.get("exclude", ()) for path in root.glob(pattern)
    }
    for pattern in workspace.get("members", ()):
        for path in sorted(root.glob(pattern)):
            if path not in excluded and (path / "pyproject.toml").is_file():
                yield path


def _from_lock(
    document: dict[str, Any], root: Path, name: str | None
) -> Iterator[Path]:
    """Give the local projects that *name* needs, by the lock."""
    packages: dict[str, list[dict[str, Any]]] = {}
    for package in document.get("package", ()):
        packages.setdefault(package["name"], []).append(package)
    pending = [name] if name in packages else list(packages)
    seen: set[str | None] = set()
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        for package in packages.get(current or "", ()):
            source = package.get("source", {})
            for kind in _LOCAL:
                if kind in source:
                    yield Path(os.path.normpath(root / source[kind]))
            if "path" in source:
                yield Path(os.path.normpath(root / source["path"]))
            pending += _dependency_names(package)


def _dependency_names(package: dict[str, Any]) -> list[str]:
    lists = [package.get("dependencies", ())]
    for table in ("optional-dependencies", "dev-dependencies"):
        lists += package.get(table, {}).values()
    return [item["name"] for items in lists for item in items]


def _from_sources(
    folder: Path,
    document: dict[str, Any],
    root_document: dict[str, Any],
    members: tuple[Path, ...],
) -> Iterator[Path]:
    """Give the local projects that are reached through sources and paths."""
    by_name: dict[str | None, Path] = {}
    for member in members:
        table = read_toml(member / "pyproject.toml", what="pyproject.toml")
        by_name[normalized(table.get("project", {}).get("name"))] = member
    pending = [(folder, document)]
    seen: set[Path] = set()
    while pending:
        here, table = pending.pop()
        for path in _direct(here, table, root_document, by_name):
            if path in seen:
                continue
            seen.add(path)
            yield path
            inner = path / "pyproject.toml"
            if inner.is_file():
                pending.append((path, read_toml(inner, what="pyproject.toml")))
            elif not path.exists():
                read_text(path, what="project", named_by=str(here / "pyproject.toml"))


def _direct(
    folder: Path,
    document: dict[str, Any],
    root_document: dict[str, Any],
    by_name: dict[str | None, Path],
) -> Iterator[Path]:
    own = _uv(document).get("sources", {})
    sources = {**_uv(root_document).get("sources", {}), **own}
    project = document.get("project", {})
    texts = list(project.get("dependencies", ()))
    for group in project.get("optional-dependencies", {}).values():
        texts += group
    for group in document.get("dependency-groups", {}).values():
        texts += [item for item in group if isinstance(item, str)]
    for text in texts:
        local = local_requirement(text, folder) if "@" in text else None
        if local is not None:
            yield local.path
            continue
        found = re.match(r"[A-Za-z0-9._-]+", text)
        wanted = normalized(found[0] if found else None)
        for name, source in sources.items():
            if normalized(name) != wanted:
                continue
            for item in source if isinstance(source, list) else [source]:
                if item.get("workspace") and wanted in by_name:
                    yield by_name[wanted]
                elif "path" in item:
                    yield Path(os.path.normpath(folder / item["path"]))


def _uv(document: dict[str, Any]) -> dict[str, Any]:
    table = document.get("tool", {}).get("uv", {})
    return table if isinstance(table, dict) else {}
