"""The worker of a pool's pod: it runs call after call, or several at once."""

from __future__ import annotations

import asyncio
import secrets as random_texts

from imagekit.records import dataclass
from imagekit.run_events import Json
from imagekit.running.attempt import Attempt, Placed
from imagekit.running.cluster.pod_executor import PodExecutor
from imagekit.running.container.worker import Worker
from imagekit.runtime.log_marks import owner_of

_TOKEN_BYTES = 8


class WarmWorker:
    """A worker that stays, and another one when it was ended.

    Args:
        concurrency: how many tasks it runs at a time.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._worker: Worker | None = None
        self._starting = asyncio.Lock()
        self._has_died = False

    @property
    def has_died(self) -> bool:
        """Whether it has ended by itself: this pod is not as it should be any more."""
        return self._has_died or self._is_dead()

    def place(self, here: PodExecutor) -> WarmExecutor:
        """Return what runs attempts in it."""
        return WarmExecutor(warm=self, here=here)

    async def ready(self, here: PodExecutor, module: str, action: str) -> Worker:
        """Return the worker, started if need be.

        Args:
            here: starts it.
            module: the first module that it loads.
            action: see :meth:`PodExecutor.worker`.

        Raises:
            RuntimeSystemError: there is no Python.
        """
        async with self._starting:
            worker = self._worker
            if worker is not None and not worker.alive:
                self._has_died |= self._is_dead()
                # Its end takes along all processes of this container but the first.
                await worker.gone()
                worker = None
            if worker is None:
                worker = self._worker = here.worker(
                    module,
                    action=action,
                    token=random_texts.token_hex(_TOKEN_BYTES),
                    concurrency=self._concurrency,
                )
            return worker

    def _is_dead(self) -> bool:
        worker = self._worker
        return worker is not None and not (worker.alive or worker.was_stopped)


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmExecutor:
    """Runs the attempts at one call: :class:`imagekit.running.attempt.Executor`.

    Attributes:
        warm: has the worker.
        here: starts one.
    """

    warm: WarmWorker
    here: PodExecutor

    def check(self, attempt: Attempt) -> None:
        """Do nothing: what the pod lacks, it could not have started without."""

    async def execute(self, attempt: Attempt, placed: Placed) -> Json:
        """Run the task, and return its encoded output."""
        module = self.here.module(attempt.task.name)
        owner = owner_of(attempt.context.action)
        worker = await self.warm.ready(self.here, module, owner)
        placed(self.here.image.reference, self.here.pod)
        return await worker.call(attempt, module)

    def delay(self, attempt: Attempt) -> str | None:  # noqa: ARG002  (the contract's)
        """Return None: it runs at once."""
        return None

    def close(self) -> None:
        """Do nothing: the worker stays for other calls."""
