"""The record of a run that this process runs, written as things happen.

Nothing is rewritten, so that a process which dies leaves all it had recorded. No value
of a secret gets here: everything goes through a redactor.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, Self, assert_never

from imagekit.redaction import RedactedStream, Redactor
from imagekit.run_events import (
    AttemptEnded,
    AttemptStarted,
    Ended,
    Event,
    Json,
    Reported,
    Started,
    Status,
)
from imagekit.run_view import EVENTS, FINISHED, LOGS, REPORTS
from imagekit.task_errors import RuntimeSystemError

__all__ = ["RunRecord"]

_ACTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,249}")


class RunRecord:
    """A run that is being recorded, by this process; safe to use from any thread.

    Used as a context manager: a block that is left by an exception ends the run as
    failed, or as aborted (Ctrl-C). It implements
    :class:`imagekit.run_events.Recorder`.

    Attributes:
        name: name of the run.
        folder: where it is recorded.
    """

    def __init__(self, folder: Path, lock: BinaryIO, redactor: Redactor) -> None:
        self.name = folder.name
        self.folder = folder
        self._held = lock
        self._redactor = redactor
        self._logs: dict[str, RedactedStream] = {}
        self._mutex = Lock()
        self._open = True
        with disk_errors(folder):
            self._events = (folder / EVENTS).open("ab")

    @property
    def redactor(self) -> Redactor:
        """What keeps the values of secrets out of it, those that are known by now."""
        with self._mutex:
            return self._redactor

    def hide(self, values: Iterable[str]) -> None:
        """Keep *values* out of what is recorded from now on, beside those so far."""
        with self._mutex:
            self._redactor = Redactor(self._redactor.values.union(values))
            for stream in self._logs.values():
                stream.redactor = self._redactor

    def record(self, event: Event) -> None:
        """Record *event*; what comes after the run's end is dropped.

        Raises:
            RuntimeSystemError: it can't be written.
        """
        with self._mutex:
            if not self._open:
                return
            if isinstance(event, Reported):
                path = self.folder / REPORTS / f"{_action(event.id)}.html"
                write_whole(path, self._redactor(event.html).encode("utf-8", "replace"))
            self._append(_document(event, self._redactor))

    def log(self, action: str, data: bytes) -> None:
        """Record what an action's task printed.

        Bytes at the end that may be the beginning of a secret's value are kept back
        until more comes, or until the run ends.

        Raises:
            RuntimeSystemError: it can't be written.
        """
        with self._mutex:
            if not self._open:
                return
            stream = self._logs.get(action)
            if stream is None:
                stream = self._logs[action] = RedactedStream(self._redactor)
            self._append_log(action, stream.feed(data))

    def finish(
        self, status: Status, *, error: Json = None, at: float | None = None
    ) -> None:
        """Record that the run is over; the first end counts.

        Args:
            status: how it ended.
            error: an encoded failure, if it is not that of the run's task.
            at: when it ended, in seconds since the epoch; by default now.

        Raises:
            RuntimeSystemError: it can't be written.
        """
        with self._mutex:
            if not self._open:
                return
            self._open = False
            try:
                for action, stream in self._logs.items():
                    self._append_log(action, stream.close())
                self._append(
                    {
                        "event": FINISHED,
                        "time": time.time() if at is None else at,
                        "status": status,
                        "error": self._redactor.document(error),
                    }
                )
            finally:
                self._events.close()
                self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: object, error: BaseException | None, _traceback: object
    ) -> None:
        if error is not None:
            of = type(error)
            name = f"{of.__module__}:{of.__qualname__}"
            self.finish(
                "failed" if isinstance(error, Exception) else "aborted",
                error={"class": name, "message": str(error)},
            )
            return
        with self._mutex:
            if self._open:  # nobody said how it ended: it will be shown as lost
                self._open = False
                self._events.close()
                self._held.close()

    def _append(self, document: dict[str, Any]) -> None:
        line = json.dumps(document, separators=(",", ":")) + "\n"
        with disk_errors(self.folder):
            self._events.write(line.encode("ascii"))
            self._events.flush()

    def _append_log(self, action: str, data: bytes) -> None:
        path = self.folder / LOGS / f"{_action(action)}.log"
        with disk_errors(path):
            path.parent.mkdir(exist_ok=True)
            with path.open("ab") as file:
                file.write(data)


def _document(event: Event, redactor: Redactor) -> dict[str, Any]:
    """Return *event* as its line has it; ids and times hold no secrets."""
    clean = redactor.document
    match event:
        case Started():
            return {
                "event": "started",
                "id": event.id,
                "parent": event.parent,
                "kind": event.kind,
                "name": clean(event.name),
                "time": event.time,
                "inputs": clean(event.inputs),
                "environment": event.environment,
            }
        case AttemptStarted():
            return {
                "event": "attempt-started",
                "id": event.id,
                "number": event.number,
                "time": event.time,
                "image": event.image,
                "place": event.place,
            }
        case AttemptEnded():
            return {
                "event": "attempt-ended",
                "id": event.id,
                "number": event.number,
                "time": event.time,
                "status": event.status,
                "error": clean(event.error),
            }
        case Ended():
            return {
                "event": "ended",
                "id": event.id,
                "time": event.time,
                "status": event.status,
                "outputs": clean(event.outputs),
                "error": clean(event.error),
            }
        case Reported():
            return {"event": "reported", "id": event.id}
        case _:
            assert_never(event)


def _action(name: str) -> str:
    """Return *name* if it can be an action's: containers send it, files get it."""
    if not _ACTION.fullmatch(name):
        raise RuntimeSystemError(f"wanted the id of an action, found {name!r}")
    return name


def write_whole(path: Path, data: bytes) -> None:
    """Write a file of a record, whole or not at all.

    Raises:
        RuntimeSystemError: it can't be written.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    with disk_errors(path):
        path.parent.mkdir(exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """Say what can be done where *place* can't be written to."""
    try:
        yield
    except OSError as error:
        raise RuntimeSystemError(
            f"can't write the record of a run to {str(place)!r}: {error.strerror}",
            hint="free some space, or name another folder with 'record-dir' or "
            "IMAGEKIT_RECORD_DIR",
        ) from error
