"""Where what tasks print goes: to the container's standard error, marked.

Where one task runs at a time, all output between two marks is its own: that of its
subprocesses and of C code, too. Where several run at a time, ``sys.stdout`` and
``sys.stderr`` know which task writes to them, as :func:`imagekit.context.active` does;
what comes from elsewhere (subprocesses, C code, threads that were started without the
task's context, loggers that kept an older ``sys.stderr``) is taken for output of the
task that printed last.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from imagekit.context import active
from imagekit.frames import write_all
from imagekit.runtime.log_marks import end_mark, mark, owner_of

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_ERRORS = 2


class Output:
    """Marks the output of this process.

    Args:
        token: for the marks; empty if all output is of one task.
        concurrency: how many tasks run at a time.
    """

    def __init__(self, token: str, *, concurrency: int) -> None:
        self._token = token
        self._shared = concurrency > 1
        self._lock = threading.Lock()
        self._action = ""

    def install(self) -> None:
        """Have what is printed appear at once, and marked if it has to be."""
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if self._token and self._shared:
                stream = io.TextIOWrapper(
                    _Marking(self),
                    encoding=stream.encoding,
                    errors=stream.errors,
                    write_through=True,
                )
                setattr(sys, name, stream)
                setattr(sys, f"__{name}__", stream)
            else:
                stream.reconfigure(line_buffering=True)

    @contextmanager
    def of(self, action: str) -> Iterator[None]:
        """Have what is printed be the output of *action*."""
        if not self._token:
            yield
            return
        with self._lock:
            self._mark(action)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            with self._lock:
                write_all(_Descriptor(), end_mark(self._token, action))
                self._action = ""

    def write(self, data: bytes) -> None:
        """Write what the task that is active prints."""
        state = active()
        with self._lock:
            if state is not None:
                self._mark(owner_of(state.context.action))
            write_all(_Descriptor(), data)

    def _mark(self, action: str) -> None:
        if action != self._action:
            write_all(_Descriptor(), mark(self._token, action))
            self._action = action


class _Descriptor:
    """Standard error, without any buffer."""

    def write(self, data: bytes | memoryview, /) -> int:
        return os.write(_ERRORS, data)


class _Marking(io.RawIOBase):
    """What ``sys.stdout`` and ``sys.stderr`` write to."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return _ERRORS

    def write(self, data: ReadableBuffer, /) -> int:
        content = bytes(data)
        self._output.write(content)
        return len(content)
