"""Writes the files that a recipe's Dockerfile copies, and nothing beside them."""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfile
from typing import assert_never

from imagekit.builder import WheelSource
from imagekit.errors import (
    SourceEscapesError,
)
from imagekit.plan import DEFAULT_EPOCH
from imagekit.source_reading import checked_bytes
from imagekit.sources import Tree
from imagekit_buildkit.recipe import (
    LinkEntry,
    Recipe,
    TextEntry,
    TreeEntry,
    WheelEntry,
)

_FILE = 0o644
_EXECUTABLE = 0o755
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_IGNORE = ".dockerignore"


def dockerfile_name(recipe: Recipe) -> str:
    """Return the name of the Dockerfile in the context.

    That is ``Dockerfile``, unless a user's own context has another file there, or one
    that would make BuildKit leave out files of the context.
    """
    own = _files_at_root(recipe)
    digest = hashlib.sha256(
        recipe.dockerfile.encode(), usedforsecurity=False
    ).hexdigest()
    number = 0
    while True:
        name = f"Dockerfile-{number}" if number else "Dockerfile"
        is_same = own.get(name) == digest
        if is_same or (name not in own and f"{name}{_IGNORE}" not in own):
            return name
        number += 1


def folder_name(name: str, created: int) -> str:
    """Return the name in the context of a folder that is copied.

    BuildKit takes a copy from its cache if names and bytes are the same, whatever the
    time stamps; those of an image with another SOURCE_DATE_EPOCH would be in this one.
    So the name tells it.

    >>> folder_name("venv", 1700000000)
    'venv-1700000000'
    """
    return name if created == DEFAULT_EPOCH else f"{name}-{created}"


def write_context(recipe: Recipe, folder: Path, wheels: WheelSource) -> None:
    """Write the Dockerfile of *recipe* and all that it copies into *folder*.

    What is written has the time stamp of the recipe and one of two modes, so that it is
    the same wherever it is written. A user's own context was read as its ignore file
    says, and BuildKit is to leave out no more of it: only the Dockerfile, where it was
    not among the files.

    Raises:
        SourceChangedError: a file is not what it was when its tree was hashed.
        SourceUnreadableError: a file can't be read.
        SourceEscapesError: an entry has a path that leads out of *folder*.
        DownloadError: a wheel could not be fetched.
        OSError: *folder* can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    writer = _Writer(os.path.abspath(folder), recipe.created)
    for entry in recipe.entries:
        match entry:
            case TextEntry():
                writer.text(entry.path, entry.content, executable=entry.executable)
            case LinkEntry():
                writer.link(entry.path, entry.target)
            case TreeEntry():
                writer.tree(entry.path, entry.tree)
            case WheelEntry():
                writer.wheel(entry.path, wheels.path(entry.distribution))
            case _:
                assert_never(entry)
    name = dockerfile_name(recipe)
    if name not in _files_at_root(recipe):
        writer.text(name, recipe.dockerfile.encode())
        if _is_users(recipe):
            ignored = f"{name}{_IGNORE}"
            writer.text(ignored, f"/{name}\n/{ignored}\n".encode())
    writer.finish()


def _is_users(recipe: Recipe) -> bool:
    """Return whether the context is a user's own, which may be copied as a whole."""
    return any(isinstance(item, TreeEntry) and not item.path for item in recipe.entries)


def _files_at_root(recipe: Recipe) -> dict[str, str | None]:
    """Return names and digests of the user's files beside which the Dockerfile is."""
    return {
        entry.path: entry.sha256
        for item in recipe.entries
        if isinstance(item, TreeEntry) and not item.path
        for entry in item.tree.entries
        if "/" not in entry.path
    }


class _Writer:
    """Writes files below *root*, whatever their names say."""

    def __init__(self, root: str, created: int) -> None:
        self._root = root
        self._created = created
        self._folders = {""}
        self._links: set[str] = set()

    def text(self, path: str, content: bytes, *, executable: bool = False) -> None:
        with self._new(path, executable=executable) as descriptor:
            _write(descriptor, content)

    def link(self, path: str, target: str) -> None:
        place = self._place(path)
        self._links.add(path)
        os.symlink(os.fsencode(target), place)
        os.utime(place, (self._created, self._created), follow_symlinks=False)

    def wheel(self, path: str, source: Path) -> None:
        place = self._place(path)
        try:
            os.link(source, place)
        except OSError:
            # Another file system, or one without hard links.
            copyfile(source, place)

    def tree(self, path: str, tree: Tree) -> None:
        if path:
            self._folder(path)
        for entry in tree.entries:
            name = posixpath.join(path, entry.path)
            match entry.type:
                case "directory":
                    self._folder(name)
                case "symlink":
                    assert entry.target is not None
                    self.link(name, entry.target)
                case "file":
                    with self._new(name, executable=entry.executable) as descriptor:
                        for chunk in checked_bytes(entry):
                            _write(descriptor, chunk)

    def finish(self) -> None:
        """Set the time stamps of folders, which change while files are written."""
        for path in self._folders:
            place = os.path.join(self._root, path)
            os.utime(place, (self._created, self._created))

    @contextmanager
    def _new(self, path: str, *, executable: bool) -> Iterator[int]:
        descriptor = os.open(self._place(path), _WRITE, _FILE)
        try:
            yield descriptor
            # The mask of this process plays no part.
            os.fchmod(descriptor, _EXECUTABLE if executable else _FILE)
            os.utime(descriptor, (self._created, self._created))
        finally:
            os.close(descriptor)

    def _place(self, path: str) -> bytes:
        """Return where *path* is written, in a folder that is there."""
        parts = path.split("/")
        if any(part in ("", ".", "..") for part in parts) or "\0" in path:
            raise SourceEscapesError(
                f"wanted a path below the build context, found {path!r}"
            )
        self._folder("/".join(parts[:-1]))
        return os.fsencode(os.path.join(self._root, path))

    def _folder(self, path: str) -> None:
        if path in self._folders:
            return
        if path in self._links:
            raise SourceEscapesError(
                f"{path!r} is a symbolic link, and can't hold files of the context"
            )
        place = self._place(path)
        os.mkdir(place)
        os.chmod(place, _EXECUTABLE)
        self._folders.add(path)


def _write(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
