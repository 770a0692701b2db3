"""The ``docker run`` that a container hangs on."""

from __future__ import annotations

import io
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO

from imagekit.oci.docker import Docker
from imagekit.task_errors import RuntimeSystemError

_READ = 1 << 16
_TAIL = 1 << 13
#: Seconds between two tries to kill a container, which may not have started yet.
_AGAIN = 1.0
#: Seconds until no more tries are made.
_PATIENCE = 15.0
_ANSWER = 10.0


class DockerProcess:
    """A container, and the command that started it.

    The command has a session of its own: Ctrl-C in a terminal is for this process only,
    which then ends the container.

    Args:
        arguments: of the ``docker`` command.
        name: of the container.
        printed: is called in a thread with what the container prints.

    Raises:
        RuntimeSystemError: there is no such command.
    """

    def __init__(
        self,
        docker: Docker,
        arguments: Sequence[str],
        *,
        name: str,
        printed: Callable[[bytes], None],
    ) -> None:
        self._docker = docker
        self._name = name
        self._printed = printed
        self._tail = b""
        self._lock = threading.Lock()
        self._printing = threading.Lock()
        self._killing = False
        try:
            self._process = subprocess.Popen(
                [docker.program, *arguments],
                env=docker.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise RuntimeSystemError(
                f"can't run {docker.program!r}: {error.strerror}",
                hint="install Docker",
            ) from error
        process = self._process
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
        """Take *data* for something that the container has printed."""
        with self._printing:
            self._tail = (self._tail + data)[-_TAIL:]
            self._printed(data)

    def kill(self) -> None:
        """Begin to end the container, if it has not ended."""
        with self._lock:
            if self._killing or self._process.poll() is not None:
                return
            self._killing = True
        threading.Thread(target=self._kill, name="imagekit kill", daemon=True).start()

    def wait(self) -> int:
        """Return the command's exit code, once all was read and nothing is left."""
        code = self._process.wait()
        self._logs.join()
        self.stdout.close()
        return code

    def engine_answers(self) -> bool:
        """Return whether there is an engine."""
        return self._run("version", "--format", "{{.Server.Version}}")

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            while data := stream.read(_READ):
                self.print(data)

    def _kill(self) -> None:
        for _ in range(int(_PATIENCE / _AGAIN)):
            self._run("kill", self._name)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_AGAIN)
                return
        # The engine does not do what it is told, or is not there.
        self._process.kill()
        self._run("rm", "--force", self._name)

    def _run(self, *arguments: str) -> bool:
        """Run a short ``docker`` command, and return whether it succeeded."""
        try:
            done = subprocess.run(
                [self._docker.program, *arguments],
                env=self._docker.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=_ANSWER,
                start_new_session=True,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0
