"""Runs attempts in warm pods, which claim them."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from imagekit.cluster.api_errors import ClusterError
from imagekit.cluster.documents import ResultDocument
from imagekit.failures import decode_failure
from imagekit.run_events import Json
from imagekit.running.attempt import Attempt, Executor, Placed
from imagekit.running.cluster.call_objects import CallObjects
from imagekit.running.cluster.callees import Blind, Callees, ResultSeen
from imagekit.running.cluster.pod_endings import ending_of, is_over
from imagekit.running.cluster.pool_call import STUCK, PoolCall, UsedPool
from imagekit.running.cluster.pool_claims import (
    ELSEWHERE,
    PooledCall,
    claim,
    is_nested,
    selector,
    would_never_run,
)
from imagekit.running.cluster.pool_keeper import PoolKeeper
from imagekit.running.cluster.pool_pods import Pool
from imagekit.running.cluster.pool_view import PoolView
from imagekit.running.cluster.siblings import Siblings
from imagekit.running.cluster.surely import surely
from imagekit.running.container.pool import NeverFreeError
from imagekit.running.container.slots import Slots
from imagekit.task_errors import RunAbortedError, RuntimeSystemError
from imagekit.task_settings import TaskSettings

#: Seconds between looks at a call that waits, and at one that runs.
_WAITING, _RUNNING = 1.0, 10.0
#: Seconds after which news that must have been missed is asked for.
_MISSED = 10.0
#: Calls of one caller that wait or run, for each place of the pool: the next is there
#: when a place is free, and other callers have their turn.
_AHEAD = 2


class PoolExecutor:
    """Runs each attempt in a pod of a pool.

    Args:
        objects: makes and reads what the calls of this run are on the cluster.
        callees: tells of their results.
        siblings: the calls of the same caller.
        alone: runs attempts that would wait for themselves in a pool.
    """

    def __init__(
        self,
        objects: CallObjects,
        callees: Callees,
        siblings: Siblings,
        *,
        alone: Executor,
    ) -> None:
        self._objects = objects
        self._callees = callees
        self._siblings = siblings
        self._alone = alone
        self._used: dict[str, UsedPool] = {}
        #: Pools by tasks; settings can't be keys, as pod templates can be in them.
        self._known: dict[str, list[tuple[TaskSettings, Pool]]] = {}
        self._delays: dict[str, str] = {}

    def check(self, attempt: Attempt) -> None:
        """Do nothing: what is wrong, the cluster will say."""

    async def execute(self, attempt: Attempt, placed: Placed) -> Json:
        """Run the task, and return its encoded output."""
        used = await self._use(attempt)
        try:
            async with used.slots.taken():
                # After long, another one may be used by now.
                return await self._run(await self._use(attempt), attempt, placed)
        except NeverFreeError:
            pass  # its callers have all places, and wait for it
        return await self._alone.execute(attempt, placed)

    def delay(self, attempt: Attempt) -> str | None:
        """Return why an attempt does not run yet, where that is known."""
        return self._delays.get(attempt.context.action.name)

    def close(self) -> None:
        """End the watches; the pods stay for the next who want them."""
        for used in self._used.values():
            used.view.close()

    async def _use(self, attempt: Attempt) -> UsedPool:
        pool = await self._pool(attempt)
        used = self._used.get(pool.name)
        if used is None or used.view.has_failed:
            used = self._used[pool.name] = self._opened(pool, used)
        # Pods that come later than this are seen to come.
        await used.view.listed()
        return used

    def _opened(self, pool: Pool, failed: UsedPool | None) -> UsedPool:
        """Return what follows a pool, in place of what can't any more."""
        if failed is not None:
            failed.view.close()
        cluster = self._objects.cluster
        view = PoolView(cluster.api, pool.name)
        return UsedPool(
            pool=pool,
            view=view,
            keeper=PoolKeeper(cluster, pool, view),
            slots=Slots(_AHEAD * pool.places) if failed is None else failed.slots,
        )

    async def _pool(self, attempt: Attempt) -> Pool:
        known = self._known.setdefault(attempt.task.name, [])
        for settings, pool in known:
            if settings == attempt.settings:
                return pool
        pool = await asyncio.to_thread(self._objects.pool_of, attempt)
        known.append((attempt.settings, pool))
        return pool

    async def _run(self, used: UsedPool, attempt: Attempt, placed: Placed) -> Json:
        name = self._objects.name_of(attempt)
        if await self._is_stuck(used.pool, attempt):
            raise NeverFreeError
        call = PoolCall(name, attempt, self._siblings.noting(name, placed), used)
        used.view.expect(name)
        self._callees.expect(name, call.tell)
        try:
            create = self._objects.create_pooled
            call.making = asyncio.ensure_future(
                asyncio.to_thread(create, name, attempt, used.pool)
            )
            call.uid = (await asyncio.shield(call.making))["metadata"]["uid"]
            result = await self._result(call)
        except BaseException:
            await surely(self._given_up(call))
            raise
        finally:
            self._callees.forget(name)
            self._siblings.end(name)
            used.view.forget(name)
            self._delays.pop(attempt.context.action.name, None)
        call.begin(result.pod)
        if result.error is not None:
            raise decode_failure(result.error, kept=True)
        return result.output

    async def _result(self, call: PoolCall) -> ResultDocument:
        """Return the result, once it is there.

        Raises:
            BaseRuntimeError: it can't come any more.
            NeverFreeError: the call would wait for itself.
        """
        view = call.used.view
        while True:
            version = view.version
            if isinstance(call.news, ResultSeen):
                found = call.news.result
                return await asyncio.to_thread(self._objects.read, found)
            if isinstance(call.news, Blind):
                raise RuntimeSystemError(
                    f"the cluster can't be watched any more: {call.news.error}"
                ) from call.news.error
            seen = view.calls.get(call.name)
            if view.is_gone(call.name) or (seen and seen.uid != call.uid):
                return await self._last(call, _withdrawn(call.name))
            if seen is None or seen.is_open:
                await self._wait_open(call, seen)
                await view.newer(version, _WAITING)
            else:
                call.begin(seen.claim)
                lost = await self._lost_pod(call, seen)
                if lost is not None:
                    tail = await asyncio.to_thread(self._objects.tail, lost)
                    own = None if tail is None else call.own(lost, tail)
                    return await self._last(call, ending_of(lost, own))
                await view.newer(version, _RUNNING)

    async def _last(self, call: PoolCall, error: Exception) -> ResultDocument:
        """Return the result if there is one; there will be none later."""
        result = await asyncio.to_thread(self._objects.result, call.name)
        if result is None:
            raise error
        return result

    async def _wait_open(self, call: PoolCall, seen: PooledCall | None) -> None:
        """See to it that a call is claimed some time; raise if it won't be."""
        keeper, pool = call.used.keeper, call.used.pool
        keeper.see()
        trouble = keeper.trouble()
        why = f"all {pool.places} places of its pool are taken"
        if trouble is not None:
            why = trouble.error.message
            settings = call.attempt.settings
            patience = self._siblings.patience(call.name, settings, trouble)
            if patience is None:
                call.excuse()
            elif keeper.troubled_for(call.excused_at) > patience:
                raise trouble.error
        self._delays[call.attempt.context.action.name] = why
        lost = keeper.lost_since(call.began)
        if lost is not None:
            tail = await asyncio.to_thread(self._objects.tail, lost)
            raise ending_of(lost, tail)
        if seen is None or time.monotonic() < call.stuck_at:
            return
        call.stuck_at = time.monotonic() + STUCK
        if await self._is_stuck(pool, call.attempt):
            cluster = self._objects.cluster
            if await asyncio.to_thread(claim, cluster, seen, ELSEWHERE):
                raise NeverFreeError

    async def _is_stuck(self, pool: Pool, attempt: Attempt) -> bool:
        """Return whether an attempt would wait for itself."""
        action = attempt.context.action
        if not is_nested(action):
            return False
        cluster = self._objects.cluster

        def look() -> bool:
            listed = cluster.list("ConfigMap", selector(), metadata=True)
            calls = [PooledCall.of(item["metadata"]) for item in listed]
            return would_never_run(calls, pool.name, pool.places, action)

        return await asyncio.to_thread(look)

    async def _lost_pod(self, call: PoolCall, seen: PooledCall) -> Json:
        """Return the pod that has a call, if it is lost; None if it is not."""
        pod = call.used.view.pods.get(seen.claim)
        if pod is not None and pod["metadata"]["uid"] == seen.pod:
            call.pod = pod
            is_lost = is_over(pod) or call.used.keeper.departures.is_lost(pod)
            return pod if is_lost else None
        if call.pod is None:
            # It claims calls, but was not seen to come: maybe soon.
            if time.monotonic() < call.began_at + _MISSED:
                return None
            find = self._objects.cluster.find
            pod = await asyncio.to_thread(find, "Pod", seen.claim)
            if pod is not None and pod["metadata"]["uid"] == seen.pod:
                call.used.view.see_pod(pod)
                return None
        known = call.pod or {"metadata": {"name": seen.claim}}
        metadata = {**known["metadata"], "deletionTimestamp": "now"}
        return {**known, "metadata": metadata}

    async def _given_up(self, call: PoolCall) -> None:
        """Delete a call, so that its pod ends it, and pods that it alone wanted."""
        making = call.making
        assert making is not None
        await asyncio.wait({making})
        # Otherwise, what calls takes it along in the end.
        with suppress(ClusterError):
            if not making.cancelled() and making.exception() is None:
                uid = making.result()["metadata"]["uid"]
                await asyncio.to_thread(self._objects.delete_call, call.name, uid)
            await call.used.keeper.tidy(call.name)


def _withdrawn(name: str) -> RunAbortedError:
    return RunAbortedError(
        f"the call {name!r} was deleted from the cluster before it had a result"
    )
