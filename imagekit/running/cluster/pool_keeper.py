"""Sees to it that a pool has the pods that its calls want, and says why it has none."""

from __future__ import annotations

import asyncio
import time

from imagekit.cluster.api import Cluster
from imagekit.cluster.api_errors import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    ForbiddenError,
    QuotaError,
)
from imagekit.run_events import Json
from imagekit.running.cluster.departures import Departures
from imagekit.running.cluster.pod_endings import (
    Trouble,
    is_going,
    is_over,
    phase_of,
    trouble_of,
)
from imagekit.running.cluster.pod_events import PATIENCE, quota_trouble
from imagekit.running.cluster.pool_pods import Pool, is_alive, runs
from imagekit.running.cluster.pool_view import PoolView

#: Seconds until a pod that was refused is asked for again.
_AGAIN = 3.0
#: Pods that end while a call waits for them, after which it waits no more.
_LOST = 3


class PoolKeeper:
    """Makes the pods of one pool, as callers do who have calls for it.

    All of it has to be used in the event loop of *view*.

    Attributes:
        departures: knows pods that do not go.
    """

    def __init__(self, cluster: Cluster, pool: Pool, view: PoolView) -> None:
        self.departures = Departures()
        self._cluster = cluster
        self._pool = pool
        self._view = view
        self._making: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._refused: Trouble | None = None
        self._trouble: tuple[str, float] = ("", 0.0)
        self._alive: set[str] = set()
        self._lost: list[tuple[float, Json]] = []

    def see(self) -> None:
        """Take note of what has changed, and have pods made that are missing."""
        now = time.monotonic()
        self._count_lost(now)
        trouble = self.trouble()
        kind = "" if trouble is None else type(trouble.error).__name__
        if kind != self._trouble[0]:
            self._trouble = (kind, now)
        missing = self._missing()
        if missing and self._making is None and now >= self._not_before:
            self._making = asyncio.create_task(self._make(missing))
            self._making.add_done_callback(self._made)

    def trouble(self) -> Trouble | None:
        """Return what keeps all pods from running; None if one runs, or may soon."""
        alive = [pod for pod in self._view.pods.values() if is_alive(pod)]
        if any(runs(pod) for pod in alive):
            return None
        found = [trouble for pod in alive if (trouble := trouble_of(pod)) is not None]
        return found[0] if found else self._refused if not alive else None

    def troubled_for(self, since: float) -> float:
        """Return for how many seconds that has been so, from a time on."""
        return time.monotonic() - max(since, self._trouble[1])

    def lost_since(self, since: float) -> Json:
        """Return the last of many pods that failed, from a time on; None if few did."""
        if any(runs(pod) for pod in self._view.pods.values()):
            return None
        lost = [pod for at, pod in self._lost if at >= since]
        return lost[-1] if len(lost) >= _LOST else None

    async def tidy(self, given_up: str) -> None:
        """Delete pods that never began, unless other calls than one want them.

        Args:
            given_up: name of that call.
        """
        if self._view.calls.keys() - {given_up}:
            return
        for pod in list(self._view.pods.values()):
            if phase_of(pod) == "Pending" and not is_going(pod):
                await asyncio.to_thread(self._delete, pod)

    def _missing(self) -> list[int]:
        pods = {
            name: pod
            for name, pod in self._view.pods.items()
            if not self.departures.is_lost(pod)
        }
        calls = sum(
            call.is_open or _has(pods, call.claim, call.pod)
            for call in self._view.calls.values()
        )
        return self._pool.missing(calls, pods)

    def _count_lost(self, now: float) -> None:
        alive = set()
        for pod in self._view.pods.values():
            uid = pod["metadata"]["uid"]
            if is_alive(pod):
                alive.add(uid)
            elif uid in self._alive and phase_of(pod) == "Failed":
                self._lost = [*self._lost[-_LOST:], (now, pod)]
        self._alive = alive

    async def _make(self, missing: list[int]) -> None:
        for index in missing:
            old = self._view.pods.get(self._pool.pod_name(index))
            if old is not None:
                await asyncio.to_thread(self._delete, old)
            made = await asyncio.to_thread(
                self._cluster.create, self._pool.manifest(index)
            )
            if old is not None:
                self._view.pods.pop(self._pool.pod_name(index), None)
            self._view.see_pod(made)

    def _made(self, making: asyncio.Task[None]) -> None:
        self._making = None
        error = None if making.cancelled() else making.exception()
        self._refused = None
        match error:
            case None:
                return
            case AlreadyExistsError() | ConflictError():
                # Another caller was faster, or the old pod is not quite gone.
                self._not_before = time.monotonic() + _AGAIN / 10
            case QuotaError():
                self._not_before = time.monotonic() + _AGAIN
                self._refused = quota_trouble(error)
            case ClusterError(temporary=True):
                self._not_before = time.monotonic() + _AGAIN
                self._refused = Trouble(error=error, patience=None)
            case ForbiddenError(verb=""):
                # A policy, which somebody may change.
                self._not_before = time.monotonic() + _AGAIN
                self._refused = Trouble(error=error, patience=PATIENCE)
            case ClusterError():
                self._not_before = time.monotonic() + _AGAIN
                self._refused = Trouble(error=error, patience=0)
            case _:
                self._view.fail(error)
        self._view.poke()

    def _delete(self, pod: Json) -> None:
        metadata = pod["metadata"]
        # What has ended needs no time to do so, and nobody can wait for a lost node.
        ended = phase_of(pod) in {"Succeeded", "Failed"} or self.departures.is_lost(pod)
        try:
            self._cluster.delete(
                "Pod", metadata["name"], uid=metadata["uid"], grace=0 if ended else None
            )
        except ConflictError:
            return  # another one has its name by now


def _has(pods: dict[str, Json], name: str, uid: str) -> bool:
    pod = pods.get(name)
    return pod is not None and pod["metadata"]["uid"] == uid and not is_over(pod)
