"""Files and folders as inputs and outputs of tasks."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import IO, Any, Self

from imagekit.digest import Digest
from imagekit.errors import SourceNotFoundError
from imagekit.records import dataclass, field

__all__ = ["Dir", "File"]


@dataclass(frozen=True, slots=True)
class File:
    """A file that a task takes or returns.

    What the file holds goes along: the task has a copy of its own, with the same name,
    in a folder of its own, that it may change. ``await`` gives the value itself, so
    that ``await File.from_local(path)`` works too.

    Attributes:
        path: where it is on this machine.
        digest: what it held when it was passed on; None before.
    """

    path: str
    digest: Digest | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", os.fspath(self.path))

    @classmethod
    def from_local(cls, path: str | os.PathLike[str]) -> Self:
        """Return the file *path*.

        Raises:
            SourceNotFoundError: there is no such file.
        """
        text = os.path.abspath(path)
        if not os.path.isfile(text):
            raise SourceNotFoundError(f"wanted a file, found no file at {text!r}")
        return cls(text)

    @classmethod
    def from_local_sync(cls, path: str | os.PathLike[str]) -> Self:
        """Return the file *path*; the same as :meth:`from_local`."""
        return cls.from_local(path)

    @property
    def name(self) -> str:
        """Name of the file, without its folder."""
        return os.path.basename(self.path)

    def open(self, mode: str = "rb", *, encoding: str | None = None) -> IO[Any]:
        """Open the file, as the built-in ``open`` does."""
        return open(self.path, mode, encoding=encoding)

    def __fspath__(self) -> str:
        return self.path

    def __await__(self) -> Generator[None, None, Self]:
        yield from ()
        return self


@dataclass(frozen=True, slots=True)
class Dir:
    """A folder that a task takes or returns, with all that is in it.

    The task has a copy of its own. Kept are relative paths, empty folders, symbolic
    links and whether files are executable. ``await`` gives the value itself, so that
    ``await Dir.from_local(path)`` works too.

    Attributes:
        path: where it is on this machine.
        digest: names what it held when it was passed on; None before.
    """

    path: str
    digest: Digest | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", os.fspath(self.path))

    @classmethod
    def from_local(cls, path: str | os.PathLike[str]) -> Self:
        """Return the folder *path*.

        Raises:
            SourceNotFoundError: there is no such folder.
        """
        text = os.path.abspath(path)
        if not os.path.isdir(text):
            raise SourceNotFoundError(f"wanted a folder, found no folder at {text!r}")
        return cls(text)

    @classmethod
    def from_local_sync(cls, path: str | os.PathLike[str]) -> Self:
        """Return the folder *path*; the same as :meth:`from_local`."""
        return cls.from_local(path)

    @property
    def name(self) -> str:
        """Name of the folder, without the one that it is in."""
        return os.path.basename(os.path.normpath(self.path))

    def __fspath__(self) -> str:
        return self.path

    def __await__(self) -> Generator[None, None, Self]:
        yield from ()
        return self
