"""What tasks print, in the log of their pod, without the values of secrets."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from imagekit.frames import write_all
from imagekit.redaction import RedactedStream, Redactor
from imagekit.runtime.log_marks import end_mark, mark

_OUTPUT = 1


class PodOutput:
    """This process's standard output, which is the pod's log.

    Args:
        token: for marks that tell whose output follows; empty if all is of one task.
        write: takes what is printed; by default, standard output does.
    """

    def __init__(
        self, token: str = "", *, write: Callable[[bytes], object] | None = None
    ) -> None:
        self._token = token
        self._write = write or _write
        self._lock = threading.Lock()
        self._owner = ""

    def write(self, owner: str, data: bytes) -> None:
        """Write what *owner* has printed."""
        with self._lock:
            if self._token and owner != self._owner:
                self._write(mark(self._token, owner))
                self._owner = owner
            self._write(data)

    def end(self, owner: str) -> None:
        """Let readers know that *owner* prints nothing more."""
        if not self._token:
            return
        with self._lock:
            # Logs come in lines: what has none would wait for the next task's.
            self._write(end_mark(self._token, owner) + b"\n")
            self._owner = ""


class Printing:
    """Prints what the tasks of one call print.

    Args:
        output: the pod's log; None for one that has no marks.
        run: name of the run, for marks.
    """

    def __init__(self, output: PodOutput | None = None, run: str = "") -> None:
        self._output = output or PodOutput()
        self._run = run
        self._lock = threading.Lock()
        self._redactor = Redactor()
        self._streams: dict[str, RedactedStream] = {}
        self._ended: set[str] = set()

    def hide(self, redactor: Redactor) -> None:
        """Keep what *redactor* hides out of all that is printed."""
        with self._lock:
            self._redactor = redactor
            for stream in self._streams.values():
                stream.redactor = redactor

    def log(self, action: str, data: bytes) -> None:
        """Print what a task has printed."""
        with self._lock:
            stream = self._streams.get(action)
            if stream is None:
                stream = self._streams[action] = RedactedStream(self._redactor)
            self._print(action, stream.feed(data))

    def end(self, action: str) -> None:
        """Print what is kept back of an action: it prints nothing more."""
        with self._lock:
            stream = self._streams.pop(action, None)
            if stream is not None:
                self._print(action, stream.close())
            if action not in self._ended:
                # Once: readers count, and what comes late has to do without.
                self._ended.add(action)
                self._output.end(self._owner(action))

    def close(self) -> None:
        """Print all that is kept back."""
        for action in list(self._streams):
            self.end(action)

    def _print(self, action: str, data: bytes) -> None:
        if data:
            self._output.write(self._owner(action), data)

    def _owner(self, action: str) -> str:
        return f"{self._run}/{action}"


def _write(data: bytes) -> None:
    write_all(_Log(), data)


class _Log:
    """Standard output, without any buffer."""

    def write(self, data: bytes | memoryview, /) -> int:
        return os.write(_OUTPUT, data)
