"""A file being fetched: what there is of it, and its hash so far."""

from __future__ import annotations

import errno
import hashlib
from typing import BinaryIO

from imagekit.errors import HashMismatchError, StoreError
from imagekit.progress import Progress, TaskAdvanced
from imagekit.records import dataclass
from imagekit.resolve.credentials import redact


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file to fetch.

    Attributes:
        title: what it is, for people (``numpy 2.4.6``).
        sha256: hex digest that it must have.
        size: bytes, or None where unknown.
    """

    filename: str
    url: str
    sha256: str
    title: str
    size: int | None = None

    @property
    def task(self) -> str:
        """The key of its progress."""
        return f"wheel:{self.filename}"


class PartialFile:
    """A file being fetched: what there is of it, and its hash."""

    def __init__(
        self,
        file: BinaryIO,
        wanted: RemoteFile,
        progress: Progress,
    ) -> None:
        self._file = file
        self._wanted = wanted
        self._task = wanted.task
        self._progress = progress
        self._hash = hashlib.sha256(usedforsecurity=False)
        self.size = 0
        self.resumed = False

    def write(self, block: bytes) -> None:
        """Add *block*."""
        try:
            self._file.write(block)
        except OSError as error:
            raise _no_room(error) from error
        self._hash.update(block)
        self.size += len(block)
        self._progress(TaskAdvanced(self._task, len(block)))

    def flush(self) -> None:
        """Hand everything to the operating system."""
        try:
            self._file.flush()
        except OSError as error:
            raise _no_room(error) from error

    def restart(self) -> None:
        """Forget what there is."""
        self._file.seek(0)
        self._file.truncate()
        self._progress(TaskAdvanced(self._task, -self.size))
        self._hash = hashlib.sha256(usedforsecurity=False)
        self.size = 0
        self.resumed = False

    def verify(self) -> None:
        """Check the hash of the whole file."""
        found = self._hash.hexdigest()
        if found != self._wanted.sha256:
            raise HashMismatchError(
                f"wanted {self._wanted.filename!r} with sha256 "
                f"{self._wanted.sha256!r}, found {found!r} ({self.size} bytes) at "
                f"{redact(self._wanted.url)!r}",
                hint="the file was replaced or damaged on its way; resolve again with "
                "--upgrade if it was replaced on purpose",
            )


def _no_room(error: OSError) -> StoreError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    what = "the disk is full" if full else error.strerror or str(error)
    return StoreError(
        f"can't write to the store: {what}",
        hint="free some space with 'imagekit cache gc', or set IMAGEKIT_CACHE_DIR to a "
        "folder with room",
    )
