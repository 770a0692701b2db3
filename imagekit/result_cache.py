"""What tasks returned before, so that they need not run again.

Layout, below the cache's folder::

    entries/<2 digits>/<key>.json   the encoded outputs of a task, and their checksum
    locks/<key>                     held by who computes the result, while it does

Entries are written whole, and one that is damaged is none. A lock file goes when it is
let go of; one that a killed process left does no harm.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from imagekit.canonical import fingerprint
from imagekit.records import dataclass
from imagekit.run_events import Json
from imagekit.task_errors import RuntimeSystemError

__all__ = ["ResultCache", "Results", "outputs_digest", "result_key"]

_VERSION = 1
#: Seconds between two looks at a lock that another holds: the first, and the longest.
_FIRST_WAIT, _LONGEST_WAIT = 0.002, 0.05


def _always(_outputs: Json) -> bool:
    return True


class Results(Protocol):
    """Where results are kept; safe beside other threads and processes."""

    @staticmethod
    def key(**parts: Json) -> str:
        """Return the key of what *parts* determine; see :func:`result_key`."""

    def get(self, key: str, default: Json = None) -> Json:
        """Return the outputs under *key*, or *default* if they have to be computed.

        What they refer to is there then. May take as long as it takes to copy that.
        """

    def put(self, key: str, outputs: Json, *, task: str = "") -> None:
        """Keep *outputs* of *task* under *key*, in place of what is there.

        Raises:
            TypeError: they are no JSON document.
            RuntimeSystemError: there is no way to keep any result.
        """

    def serialized(self, key: str) -> AbstractAsyncContextManager[None]:
        """Be the only one to compute the result of *key*; wait until that is so.

        Look with :meth:`get` inside of the block: another may have computed it
        meanwhile. If who computes it dies, the next one's turn comes. It is not
        reentrant.

        Raises:
            RuntimeSystemError: there is no way to keep any result.
        """


def result_key(**parts: Json) -> str:
    """Return the key of what *parts* determine, as 64 hex digits.

    Parts are JSON documents; in objects the order makes no difference.

    Raises:
        TypeError: a part is no JSON document.
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return fingerprint("task-result", text)


def outputs_digest(outputs: Json) -> str:
    """Return a checksum of *outputs*, by which a damaged entry is told.

    Raises:
        TypeError: they are no JSON document.
    """
    text = json.dumps(outputs, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii"), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class ResultCache:
    """A cache in *folder*, made on first use; safe beside other threads and processes.

    Attributes:
        blobs_exist: tells whether all blobs are there that encoded outputs refer to.
    """

    folder: Path
    blobs_exist: Callable[[Json], bool] = _always

    @staticmethod
    def key(**parts: Json) -> str:
        """Return the key of what *parts* determine; see :func:`result_key`."""
        return result_key(**parts)

    def get(self, key: str, default: Json = None) -> Json:
        """Return the outputs under *key*, or *default* if they have to be computed.

        An entry counts only if it is whole and all that it refers to is there. The
        outputs of a task that returns nothing may be null.
        """
        try:
            entry = json.loads(self._path(key).read_bytes())
            outputs = entry["outputs"]
            checksum = outputs_digest(outputs)
            whole = entry["version"] == _VERSION and entry["sha256"] == checksum
        except (OSError, ValueError, KeyError, TypeError):
            return default
        return outputs if whole and self.blobs_exist(outputs) else default

    def put(self, key: str, outputs: Json, *, task: str = "") -> None:
        """Keep *outputs* of *task*; what they refer to must be there already.

        Raises:
            TypeError: they are no JSON document.
            RuntimeSystemError: the folder can't be written to.
        """
        path = self._path(key)
        entry = {
            "version": _VERSION,
            "task": task,
            "outputs": outputs,
            "sha256": outputs_digest(outputs),
        }
        temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary.write_text(json.dumps(entry), "utf-8")
            temporary.replace(path)
        except OSError as error:
            raise _unwritable(path, error) from error

    @asynccontextmanager
    async def serialized(self, key: str) -> AsyncIterator[None]:
        """Be the only one to compute the result of *key*; wait until that is so.

        Look with :meth:`get` inside of the block: another may have computed it
        meanwhile. It holds between tasks of an event loop, threads and processes; if a
        process dies, the next one's turn comes. It is not reentrant.

        Raises:
            RuntimeSystemError: the folder can't be written to.
        """
        path = self.folder / "locks" / key
        wait = _FIRST_WAIT
        # No thread waits in the kernel: there are too few for as many as may wait, and
        # one that does can't be cancelled.
        while (held := _try_lock(path)) is None:
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, _LONGEST_WAIT)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            held.close()

    def _path(self, key: str) -> Path:
        return self.folder / "entries" / key[:2] / f"{key}.json"


def _try_lock(path: Path) -> BinaryIO | None:
    """Return the locked file, or None if another has it."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Who had it before may have removed the file after it was opened here.
        if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        file.close()
        raise
    file.close()
    return None


def _unwritable(path: Path, error: OSError) -> RuntimeSystemError:
    return RuntimeSystemError(
        f"can't write to the cache of results at {str(path)!r}: {error.strerror}",
        hint="free some space, or name another folder with 'record-dir' or "
        "IMAGEKIT_RECORD_DIR",
    )
