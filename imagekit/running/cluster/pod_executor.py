"""Runs attempts in this pod: each has a worker of its own."""

from __future__ import annotations

import os
from collections.abc import Callable

from imagekit.cluster.documents import ImageDocument
from imagekit.cluster.variables import OWN
from imagekit.records import dataclass
from imagekit.run_events import Json
from imagekit.running.attempt import Attempt, Placed
from imagekit.running.cluster.child_process import ChildProcess
from imagekit.running.container.command import worker_arguments
from imagekit.running.container.endings import KILLED, Ending, death, quoted
from imagekit.running.container.worker import Worker
from imagekit.runtime.log_marks import owner_of
from imagekit.runtime.messages import PROTOCOL, Setup
from imagekit.task_errors import (
    BaseRuntimeError,
    RuntimeSystemError,
    TaskInterruptedError,
    WorkerLostError,
)
from imagekit.value_blobs import ValueBlobs


@dataclass(frozen=True, slots=True, kw_only=True)
class PodExecutor:
    """Runs tasks of one environment in this pod.

    Attributes:
        image: what this pod's image has.
        module: gives the module of a task, by its full name.
        pod: name of this pod.
        blobs: the large parts of inputs and outputs.
    """

    image: ImageDocument
    module: Callable[[str], str]
    pod: str
    blobs: ValueBlobs

    def check(self, attempt: Attempt) -> None:
        """Do nothing: what the pod lacks, it could not have started without."""

    async def execute(self, attempt: Attempt, placed: Placed) -> Json:
        """Run the task, and return its encoded output."""
        module = self.module(attempt.task.name)
        worker = self.worker(module, action=owner_of(attempt.context.action))
        try:
            placed(self.image.reference, self.pod)
        except BaseException:
            worker.kill()
            raise
        return await worker.call(attempt, module)

    def delay(self, attempt: Attempt) -> str | None:  # noqa: ARG002  (the contract's)
        """Return None: it runs at once."""
        return None

    def close(self) -> None:
        """Do nothing: no worker is kept."""

    def worker(
        self, module: str, *, action: str, token: str = "", concurrency: int = 1
    ) -> Worker:
        """Return a worker that is being started.

        Args:
            module: the module that it loads.
            action: the action that it is started for: see :func:`owner_of`.
            token: see :class:`imagekit.runtime.messages.Setup`.
            concurrency: how many tasks it runs at a time.

        Raises:
            RuntimeSystemError: there is no Python.
        """
        image = self.image
        setup = Setup(
            protocol=PROTOCOL,
            module=module,
            code=image.code,
            paths=list(image.paths),
            variables={},
            files={},
            token=token,
            concurrency=concurrency,
        )
        return Worker(
            self._start,
            setup,
            action=action,
            blobs=self.blobs,
            name=self.pod,
            image=image.reference,
            explain=self._explained,
            relayed=True,
        )

    def _start(self, printed: Callable[[bytes], None]) -> ChildProcess:
        image = self.image
        environ = {k: v for k, v in os.environ.items() if k not in OWN}
        try:
            return ChildProcess(
                [image.python, *worker_arguments(image.runtime)],
                printed=printed,
                environ=environ,
            )
        except OSError as error:
            raise RuntimeSystemError(
                f"can't run {image.python!r} in the image {image.reference!r}: "
                f"{error.strerror}",
                hint="tasks need an image with Python 3.11 or newer",
            ) from error

    def _explained(self, ending: Ending) -> BaseRuntimeError:
        """Return what to raise for calls whose worker ended by itself."""
        if ending.died is not None:
            return death(ending.died, ending.tail, self.pod)
        if ending.code < 0 or ending.code in KILLED:
            return TaskInterruptedError(
                f"the worker in the pod {self.pod!r} was killed from outside",
                hint="tasks of environments with interruptible=True are tried again",
            )
        return WorkerLostError(
            f"the worker in the pod {self.pod!r} ended with exit code {ending.code} "
            f"and said nothing{quoted(ending.tail)}"
        )
