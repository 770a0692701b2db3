"""Where in the user's code something was defined.

The file of the definition serves twice: errors name it, and relative paths start in
its folder. Nothing here reads the disk.
"""

from __future__ import annotations

import os
import sys
from pathlib import PurePath
from typing import ClassVar

from imagekit.records import dataclass, field

_OURS = ("imagekit", "flyte")


@dataclass(frozen=True, slots=True)
class Origin:
    """A line of the user's code.

    Attributes:
        file: path of the file, or a name in angle brackets where there is none.
        line: line number, from 1.
        folder: absolute folder in which relative paths start.
    """

    file: str
    line: int
    folder: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def caller() -> Origin:
    """Return the nearest line of code outside imagekit."""
    frame = sys._getframe(1)  # noqa: SLF001  (the documented way to a caller)
    while (
        frame.f_back is not None
        and frame.f_globals.get("__name__", "").partition(".")[0] in _OURS
    ):
        frame = frame.f_back
    path = frame.f_globals.get("__file__")
    if not path or frame.f_code.co_filename.startswith("<"):
        return Origin(frame.f_code.co_filename, frame.f_lineno, os.getcwd())
    location = os.path.abspath(path)
    return Origin(location, frame.f_lineno, os.path.dirname(location))


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePath:
    """A path of the user's machine, with a name that is equal in every checkout.

    Only *name* takes part in equality and identity. The rule is lexical
    (``docs/identity.md``, "Paths"): a path that shares a folder with the file that
    defines it is named relative to that file's folder, any other by its full path.

    Attributes:
        name: the portable name, with ``/`` as separator.
        location: absolute path, where the bytes are read.
    """

    kind: ClassVar[str] = "path"

    name: str
    location: str = field(compare=False)

    @classmethod
    def of(cls, path: str | PurePath, origin: Origin) -> SourcePath:
        """Return *path* as written at *origin*."""
        text = os.fspath(path)
        location = os.path.normpath(os.path.join(origin.folder, text))
        return cls(name=_portable(location, origin.folder), location=location)

    def __str__(self) -> str:
        return self.location


def _portable(location: str, folder: str) -> str:
    here = folder.split(os.sep)[1:]
    there = location.split(os.sep)[1:]
    if here and there and here[0] == there[0]:
        return os.path.relpath(location, folder).replace(os.sep, "/")
    return location.replace(os.sep, "/")
