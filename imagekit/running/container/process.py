"""The ``docker run`` that a container hangs on."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from imagekit.oci.docker import Docker
from imagekit.running.container.piped import PipedProcess
from imagekit.task_errors import RuntimeSystemError

#: Seconds between two tries to kill a container, which may not have started yet.
_AGAIN = 1.0
#: Seconds until no more tries are made.
_PATIENCE = 15.0
_ANSWER = 10.0


class DockerProcess(PipedProcess):
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
        self._lock = threading.Lock()
        self._killing = False
        try:
            super().__init__(
                [docker.program, *arguments],
                environ=docker.environment,
                printed=printed,
            )
        except OSError as error:
            raise RuntimeSystemError(
                f"can't run {docker.program!r}: {error.strerror}",
                hint="install Docker",
            ) from error

    def kill(self) -> None:
        """Begin to end the container, if it has not ended."""
        with self._lock:
            if self._killing or self._process.poll() is not None:
                return
            self._killing = True
        threading.Thread(target=self._kill, name="imagekit kill", daemon=True).start()

    def engine_answers(self) -> bool:
        """Return whether there is an engine."""
        return self._run("version", "--format", "{{.Server.Version}}")

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
