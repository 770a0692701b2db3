"""A worker that runs in the same pod as the process that watches over it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from imagekit.running.container.piped import PipedProcess

_INIT = 1
#: Where the kernel takes this into account when memory runs out: worst first.
_WORST = b"1000"


class ChildProcess(PipedProcess):
    """A process with pipes, which ends with all that it has started.

    When memory runs out, the kernel ends it before the process that watches over it.
    Arguments and errors are as for :class:`PipedProcess`.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        printed: Callable[[bytes], None],
        environ: Mapping[str, str],
    ) -> None:
        super().__init__(arguments, environ=environ, printed=printed)
        _offer_to_kernel(self._process.pid)

    def kill(self) -> None:
        """End it, and all that it has started."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def engine_answers(self) -> bool:
        """Return True: what it runs on is what this runs on."""
        return True

    def _ended(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        if os.getpid() == _INIT:
            # What has left its session is still in this container, or is nobody's.
            with suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)


def _offer_to_kernel(process: int) -> None:
    """Have the kernel prefer *process* when it has to end one."""
    with (
        suppress(OSError),  # then it chooses for itself: the one with the most memory
        open(f"/proc/{process}/oom_score_adj", "wb", buffering=0) as file,
    ):
        file.write(_WORST)
