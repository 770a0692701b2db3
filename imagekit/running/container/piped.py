"""A process that speaks frames through pipes, and prints to its standard error."""

from __future__ import annotations

import io
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO

_READ = 1 << 16
_TAIL = 1 << 13


class PipedProcess:
    """A running program.

    It has a session of its own: Ctrl-C in a terminal is for this process only.

    Args:
        arguments: the program and its arguments.
        environ: all its environment variables; None for those of this process.
        printed: is called in a thread with what it prints.

    Raises:
        OSError: there is no such program.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        environ: Mapping[str, str] | None,
        printed: Callable[[bytes], None],
    ) -> None:
        self._printed = printed
        self._tail = b""
        self._printing = threading.Lock()
        self._process = process = subprocess.Popen(
            list(arguments),
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        assert isinstance(process.stdin, io.FileIO)
        assert isinstance(process.stdout, io.FileIO)
        assert process.stderr is not None
        self.stdin = process.stdin
        self.stdout = io.BufferedReader(process.stdout, _READ)
        self._logs = threading.Thread(
            target=self._read, args=(process.stderr,), name="imagekit log", daemon=True
        )
        self._logs.start()

    @property
    def tail(self) -> str:
        """What was printed last."""
        return self._tail.decode(errors="replace")

    def print(self, data: bytes) -> None:
        """Take *data* for something that it has printed."""
        with self._printing:
            self._tail = (self._tail + data)[-_TAIL:]
            self._printed(data)

    def wait(self) -> int:
        """Return the exit code, once all was read and nothing is left."""
        code = self._process.wait()
        self._ended()
        self._logs.join()
        self.stdout.close()
        return code

    def _ended(self) -> None:
        """Do what there is to do before the rest of its output is read."""

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            while data := stream.read(_READ):
                self.print(data)
