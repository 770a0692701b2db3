"""Runs what a call calls: in a Job's pod each, or in warm pods that are reused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagekit.run_events import Json
from imagekit.running.attempt import Attempt, Executor, Placed
from imagekit.running.cluster.callees import Callees
from imagekit.running.cluster.job_executor import JobExecutor
from imagekit.running.cluster.pool_executor import PoolExecutor
from imagekit.running.cluster.siblings import Siblings

if TYPE_CHECKING:
    from imagekit.running.cluster.call_objects import CallObjects


class CalleeExecutor:
    """Chooses by the settings of each attempt.

    Args:
        jobs: runs those that get a pod of their own.
        pools: runs the others.
    """

    def __init__(self, jobs: JobExecutor, pools: PoolExecutor) -> None:
        self._jobs = jobs
        self._pools = pools

    @classmethod
    def of(cls, objects: CallObjects, caller: str, *, most: int) -> CalleeExecutor:
        """Return what runs the callees of the call object *caller*.

        Args:
            objects: makes and reads what they are on the cluster.
            caller: name of the call object.
            most: how many Jobs there may be at a time.
        """
        callees = Callees(objects.cluster.api, caller)
        siblings = Siblings()
        jobs = JobExecutor(objects, callees, siblings, most=most)
        return cls(jobs, PoolExecutor(objects, callees, siblings, alone=jobs))

    def check(self, attempt: Attempt) -> None:
        """Have the right executor check it."""
        self._of(attempt).check(attempt)

    async def execute(self, attempt: Attempt, placed: Placed) -> Json:
        """Have the right executor run it."""
        return await self._of(attempt).execute(attempt, placed)

    def delay(self, attempt: Attempt) -> str | None:
        """Ask both: one may have handed it on."""
        return self._jobs.delay(attempt) or self._pools.delay(attempt)

    async def settled(self) -> None:
        """Wait until the Jobs' pods of all answered calls have ended."""
        await self._jobs.settled()

    def close(self) -> None:
        """End the watches."""
        self._pools.close()
        self._jobs.close()

    def _of(self, attempt: Attempt) -> Executor:
        return self._jobs if attempt.settings.reusable is None else self._pools
