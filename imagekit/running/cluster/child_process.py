"""A worker that runs in the same pod as the process that watches over it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO

_READ = 1 << 16
_TAIL = 1 << 13
_INIT = 1
#: Where the kernel takes this into account when memory runs out: worst first.
_WORST = b"1000"


class ChildProcess:
    """A process with pipes, which ends with all that it has started.

    When memory runs out, the kernel ends it before the process that watches over it.

    Args:
        arguments: the program and its arguments.
        printed: is called in a thread with what it prints.
        environ: all its environment variables.

    Raises:
        OSError: there is no such program.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        printed: Callable[[bytes], None],
        environ: Mapping[str, str],
    ) -> None:
        self._printed = printed
        self._tail = b""
        self._printing = threading.Lock()
        self._process = process = subprocess.Popen(
            list(arguments),
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        _offer_to_kernel(process.pid)
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

    def kill(self) -> None:
        """End it, and all that it has started."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Return the exit code, once all was read and nothing is left."""
        code = self._process.wait()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        if os.getpid() == _INIT:
            # What has left its session is still in this container, or is nobody's.
            with suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
        self._logs.join()
        self.stdout.close()
        return code

    def engine_answers(self) -> bool:
        """Return True: what it runs on is what this runs on."""
        return True

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            while data := stream.read(_READ):
                self.print(data)


def _offer_to_kernel(process: int) -> None:
    """Have the kernel prefer *process* when it has to end one."""
    with (
        suppress(OSError),  # then it chooses for itself: the one with the most memory
        open(f"/proc/{process}/oom_score_adj", "wb", buffering=0) as file,
    ):
        file.write(_WORST)
