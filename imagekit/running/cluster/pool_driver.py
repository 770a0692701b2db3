"""What runs in a pod of a pool, beside the tasks: it claims calls, and has them run.

It serves any number of runs, until nothing wants it any more. A call that it can't run
has a result that says why; what it can't even say that of ends with the pod, which all
who wait for one of its calls notice.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import OrderedDict
from typing import NoReturn

from imagekit.cluster.api import Cluster
from imagekit.cluster.in_pod import PodApi
from imagekit.cluster.variables import POD_NAME
from imagekit.cluster.variables import POOL as POOL_VARIABLE
from imagekit.run_events import Json
from imagekit.running.cluster.call_here import CallHere
from imagekit.running.cluster.driver import INTERRUPTED, RESULT_PATIENCE
from imagekit.running.cluster.pod_output import PodOutput, Printing
from imagekit.running.cluster.pool_claims import (
    PooledCall,
    claim,
    finish,
    selector,
)
from imagekit.running.cluster.pool_idle import PoolIdle
from imagekit.running.cluster.pool_pods import PoolPlace, is_alive, pods_selector
from imagekit.running.cluster.pool_view import PoolView
from imagekit.running.cluster.refused_call import refuse_call
from imagekit.running.cluster.run_here import RunHere
from imagekit.running.cluster.warm_worker import WarmWorker
from imagekit.runtime.log_marks import owner_of
from imagekit.task_errors import TaskInterruptedError
from imagekit.value_blobs import ValueBlobs

#: Exit code of a pod that could not say what became of a call.
_BROKEN = 1
#: Runs of which what they have in common is kept.
_RUNS = 8
#: Seconds by which pods let others claim first: for each call that they run, and those
#: that would go when they are idle. So calls are spread, and go where it is warm.
_BUSY, _SURPLUS = 0.02, 0.03
#: Seconds that what calls have called gets for its end when this pod ends.
_SETTLE = 20.0


def main() -> NoReturn:
    """Run calls of the pool that this pod belongs to."""
    cluster, lasting = Cluster(PodApi()), Cluster(PodApi(patience=RESULT_PATIENCE))
    pod = cluster.get("Pod", os.environ[POD_NAME])
    with tempfile.TemporaryDirectory(prefix="imagekit-") as folder:
        blobs = ValueBlobs(os.path.join(folder, "blobs"))
        code = asyncio.run(_serve(cluster, lasting, pod, blobs))
    sys.stdout.flush()
    # What imagekit's threads wait for does not matter any more.
    os._exit(code)


async def _serve(
    cluster: Cluster, lasting: Cluster, pod: Json, blobs: ValueBlobs
) -> int:
    serving = asyncio.current_task()
    assert serving is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    place = PoolPlace.of(pod)
    driver = _PoolDriver(
        cluster, lasting, pod, place=place, pool=os.environ[POOL_VARIABLE], blobs=blobs
    )
    try:
        return await driver.serve()
    except asyncio.CancelledError:
        await driver.cancel()
        return INTERRUPTED
    finally:
        if not place.is_alone:
            await asyncio.to_thread(
                cluster.delete, "Pod", driver.name, uid=pod["metadata"]["uid"]
            )


class _PoolDriver:
    """Claims calls and has them run.

    Attributes:
        name: of this pod.
    """

    def __init__(
        self,
        cluster: Cluster,
        lasting: Cluster,
        pod: Json,
        *,
        place: PoolPlace,
        pool: str,
        blobs: ValueBlobs,
    ) -> None:
        self.name: str = pod["metadata"]["name"]
        self._uid: str = pod["metadata"]["uid"]
        self._cluster = cluster
        self._lasting = lasting
        self._pool = pool
        self._limits = place.limits
        self._is_surplus = place.index >= place.limits.fewest
        self._blobs = blobs
        self._view = PoolView(cluster.api, pool, with_pods=False)
        self._output = PodOutput(place.token)
        self._warm = WarmWorker(place.limits.concurrency)
        self._idle = PoolIdle(place.limits, place.index)
        self._runs: OrderedDict[str, RunHere] = OrderedDict()
        #: What has a place here, and the calls that are this pod's, by name.
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._claimed: dict[str, Json] = {}
        self._settling: set[asyncio.Task[None]] = set()
        self._is_broken = False
        #: Calls whose pods were lost, with whoever might have said so.
        self._lost: set[str] = set()
        self._looked = 0.0

    async def serve(self) -> int:
        """Run calls until there are none for long; return the exit code."""
        view = self._view
        await view.listed()
        while True:
            version = view.version
            self._end_withdrawn()
            if self._is_ending:
                if not self._tasks:
                    break
            else:
                self._begin_more()
            await self._look_for_lost()
            calls = sum(call.uid not in self._lost for call in view.calls.values())
            self._idle.see(own=len(self._tasks), calls=calls)
            left = self._idle.left()
            if left == 0 and await self._is_unwanted():
                break
            await view.newer(version, self._limits.idle if left is None else left or 1)
        if self._settling:
            await asyncio.wait(self._settling, timeout=_SETTLE)
        return _BROKEN if self._is_broken else 0

    async def cancel(self) -> None:
        """End all calls that run, and say so: that a pod is gone is seen much later."""
        tasks, claimed = set(self._tasks.values()), list(self._claimed.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        error = TaskInterruptedError(
            f"the pod {self.name!r} was interrupted: it was told to end",
            hint="tasks of environments with interruptible=True are tried again",
        )
        said = [asyncio.to_thread(self._refusal, found, error) for found in claimed]
        await asyncio.gather(*said, return_exceptions=True)

    @property
    def _is_ending(self) -> bool:
        """Whether it takes no more calls."""
        return self._is_broken or self._warm.has_died

    def _end_withdrawn(self) -> None:
        """Cancel calls that nobody waits for any more."""
        for name, found in list(self._claimed.items()):
            seen = self._view.calls.get(name)
            if seen is None or seen.uid != found["metadata"]["uid"]:
                del self._claimed[name]
                self._tasks[name].cancel()

    def _begin_more(self) -> None:
        """Try to claim as many calls as there is room for."""
        room = self._limits.concurrency - len(self._tasks)
        if room <= 0:
            return
        calls = self._view.calls.values()
        found = [
            item for item in calls if item.is_open and item.name not in self._tasks
        ]
        found.sort(key=lambda item: item.created)
        # Not all pods are to try the same.
        first = found[: max(room, self._limits.most)]
        for call in random.sample(first, min(room, len(first))):
            task = asyncio.create_task(self._one(call, len(self._tasks)))
            self._tasks[call.name] = task
            task.add_done_callback(lambda _, name=call.name: self._ended(name))  # type: ignore[misc]

    def _ended(self, name: str) -> None:
        task = self._tasks.pop(name)
        self._claimed.pop(name, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            traceback.print_exception(error)
            self._is_broken = True
        self._view.poke()

    async def _one(self, call: PooledCall, busy: int) -> None:
        """Run a call, if it can be had."""
        await asyncio.sleep(busy * _BUSY + self._is_surplus * _SURPLUS)
        seen = self._view.calls.get(call.name)
        if seen is None or seen.uid != call.uid or not seen.is_open:
            return
        found = await asyncio.to_thread(
            claim, self._cluster, seen, self.name, self._uid
        )
        if found is None:
            # Until there is news of it, it is not to be tried again.
            if self._view.calls.get(call.name) is seen:
                del self._view.calls[call.name]
            return
        self._view.calls[call.name] = PooledCall.of(found["metadata"])
        self._claimed[call.name] = found
        await self._run(call, found)

    async def _run(self, call: PooledCall, found: Json) -> None:
        """Run a call that was claimed."""
        try:
            here = await asyncio.to_thread(self._call_here, call, found)
        except BaseException as error:
            self._output.end(owner_of(call.action))
            if not isinstance(error, Exception):
                raise
            # Whoever waits for it gets it.
            await self._refuse(found, error)
            return
        try:
            try:
                await here.run(self._warm.place)
            except Exception as error:  # noqa: BLE001  (likewise)
                await self._refuse(found, error)
                return
            await self._done(call.name)
        except BaseException:
            here.close()
            raise
        settling = asyncio.create_task(self._settle(here))
        self._settling.add(settling)
        settling.add_done_callback(self._settling.discard)

    async def _settle(self, here: CallHere) -> None:
        try:
            await here.settled()
        finally:
            here.close()

    async def _done(self, name: str) -> None:
        """Give the place back: there is a result."""
        self._claimed.pop(name, None)
        await asyncio.to_thread(finish, self._cluster, name)

    async def _refuse(self, found: Json, error: Exception) -> None:
        """Have *error* as the result of a call that can't be run, or not be told."""
        traceback.print_exception(error)
        await asyncio.to_thread(self._refusal, found, error)
        await self._done(found["metadata"]["name"])

    def _refusal(self, found: Json, error: Exception) -> None:
        refuse_call(self._lasting, found, error, pod=self.name, blobs=self._blobs)

    def _call_here(self, call: PooledCall, found: Json) -> CallHere:
        run = self._runs.get(call.run)
        if run is None:
            run = RunHere.of(self._cluster, found, self._blobs)
            self._runs[call.run] = run
            while len(self._runs) > _RUNS:
                self._runs.popitem(last=False)
        return CallHere(
            self._cluster,
            self._lasting,
            found,
            run,
            pod=self.name,
            blobs=self._blobs,
            printing=Printing(self._output, run.document.name),
        )

    async def _is_unwanted(self) -> bool:
        """Return whether there is really no call; what was missed is seen then."""

        def look() -> bool:
            listed = self._cluster.list(
                "ConfigMap", selector(pool=self._pool), metadata=True
            )
            return any(PooledCall.of(item["metadata"]).is_open for item in listed)

        return not await asyncio.to_thread(look)

    async def _look_for_lost(self) -> None:
        """Find out which calls are of pods that are gone, and of no interest."""
        if self._tasks or not self._view.calls:
            return
        now = time.monotonic()
        if now < self._looked + self._limits.idle:
            return
        self._looked = now

        def look() -> set[str]:
            pods = self._cluster.list("Pod", pods_selector(self._pool))
            return {pod["metadata"]["uid"] for pod in pods if is_alive(pod)}

        alive = await asyncio.to_thread(look)
        self._lost = {
            call.uid
            for call in self._view.calls.values()
            if not call.is_open and call.pod not in alive
        }
