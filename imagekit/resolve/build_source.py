"""Sources in a form that a build may write to."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

from imagekit.errors import SourceChangedError
from imagekit.resolve.pins import SourceFolder

#: Files of a project that needs a compiler.
_COMPILED = frozenset(
    (".c", ".cc", ".cpp", ".cu", ".cxx", ".f", ".f90", ".go", ".pyx", ".rs")
)


def copied_project(source: SourceFolder, folder: Path) -> Path:
    """Copy a project without what is ignored, and make sure it is what was hashed."""
    from imagekit.ignore import DEFAULT  # noqa: PLC0415  (rarely needed)
    from imagekit.sources import walk  # noqa: PLC0415

    tree = walk(source.path, DEFAULT)
    if tree.digest != source.digest:
        raise SourceChangedError(f"{source.path!r} changed while it was resolved")
    folder.mkdir()
    for entry in tree.entries:
        path = folder / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.type == "directory":
            path.mkdir(exist_ok=True)
        elif entry.type == "symlink":
            path.symlink_to(entry.target or "")
        else:
            shutil.copyfile(entry.location, path)
            path.chmod(0o755 if entry.executable else 0o644)
    return folder


def unpacked_archive(path: Path, folder: Path, subdirectory: str | None) -> Path:
    """Unpack a source distribution and return the project's folder."""
    if path.name.endswith(".zip"):
        shutil.unpack_archive(path, folder, "zip")
    else:
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")
    found = list(folder.iterdir())
    root = found[0] if len(found) == 1 and found[0].is_dir() else folder
    return root / subdirectory if subdirectory else root


def set_times(folder: Path, seconds: int) -> None:
    """Give all files one time, for backends that put the times of files into wheels."""
    for path in folder.rglob("*"):
        os.utime(path, (seconds, seconds), follow_symlinks=False)


def needs_compiler(folder: Path) -> bool:
    """Return whether the project in *folder* has files for a compiler."""
    return any(path.suffix in _COMPILED for path in folder.rglob("*"))
