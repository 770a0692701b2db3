"""Locks that pods and clients share: Leases on the cluster.

A Lease says who holds it and when that was last said. Who holds one renews it, and
deletes it in the end; one that is not renewed any more is free. Clocks of machines
differ, so nobody compares the time in a Lease with a clock: it only matters whether it
changes while somebody else looks.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from imagekit.cluster.api import Cluster
from imagekit.cluster.api_errors import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    NotFoundError,
    UnreachableError,
)
from imagekit.cluster.kinds import path_of

_T = TypeVar("_T")

_KIND = "Lease"
#: Seconds after which a lease is free that nobody renews.
_SECONDS = 30
#: Seconds between two looks at a lease that another holds: the first, and the longest.
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 2.0
#: Seconds between two looks that are too many to tell what happened meanwhile.
_GAP = 2 * _LONGEST_WAIT
_THREADS = 4


class LeaseLocks:
    """Locks by name; not reentrant.

    Args:
        labels: of the leases.
        note: is told in a line what is wrong while something waits.
        seconds: after which a lease is free that nobody renews.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        labels: Mapping[str, str],
        note: Callable[[str], object],
        seconds: int = _SECONDS,
    ) -> None:
        self._cluster = cluster
        self._labels = labels
        self._note = note
        self._seconds = seconds
        # The loop's own threads may all wait for something else while a lease ends.
        self._threads = ThreadPoolExecutor(_THREADS, "imagekit-lease")
        #: Those in one event loop wait for each other without asking the API.
        self._queues: WeakValueDictionary[tuple[int, str], asyncio.Lock]
        self._queues = WeakValueDictionary()

    @asynccontextmanager
    async def held(self, name: str) -> AsyncIterator[None]:
        """Hold the lease *name*; wait until it is free.

        Faults that pass are waited for. If the lease is lost while it is held, as the
        API was out of reach for too long, another may hold it too: nobody is told.

        Raises:
            ClusterError: the API refuses.
        """
        key = (id(asyncio.get_running_loop()), name)
        async with self._queues.setdefault(key, asyncio.Lock()):
            lease = _Lease(self._cluster, name, self._labels, self._seconds)
            await self._acquired(lease)
            renewing = asyncio.create_task(self._renewed(lease))
            try:
                yield
            finally:
                renewing.cancel()
                # If this is cancelled too, the thread goes on.
                await asyncio.shield(self._in_thread(lease.release))

    async def _acquired(self, lease: _Lease) -> None:
        wait = _FIRST_WAIT
        while True:
            try:
                if await self._in_thread(lease.acquire):
                    return
            except asyncio.CancelledError:
                # It may be acquired all the same.
                self._threads.submit(lease.release)
                raise
            except ClusterError as error:
                if not _passes(error):
                    raise
                self._note(f"waiting for the lease {lease.name}: {error}")
            await asyncio.sleep(wait * random.uniform(0.5, 1))  # noqa: S311  (spreads load)
            wait = min(wait * 1.5, _LONGEST_WAIT)

    async def _renewed(self, lease: _Lease) -> None:
        pause = self._seconds / 3
        while True:
            await asyncio.sleep(pause)
            try:
                if not await self._in_thread(lease.renew):
                    self._note(f"the lease {lease.name} was lost to another")
                    return
                pause = self._seconds / 3
            except ClusterError as error:
                self._note(f"can't renew the lease {lease.name}: {error}")
                pause = self._seconds / 10

    def _in_thread(self, action: Callable[[], _T]) -> asyncio.Future[_T]:
        return asyncio.wrap_future(self._threads.submit(action))


class _Lease:
    """One holder's lease, or its wish for it; methods wait for each other."""

    def __init__(
        self, cluster: Cluster, name: str, labels: Mapping[str, str], seconds: int
    ) -> None:
        self.name = name
        self._cluster = cluster
        self._labels = labels
        self._seconds = seconds
        self._holder = f"{os.uname().nodename}-{os.urandom(8).hex()}"
        self._lock = threading.Lock()
        #: What is held, and whether it was let go of.
        self._held: Any = None
        self._over = False
        #: Who else was seen to hold it, since when, and when last.
        self._other: tuple[object, ...] | None = None
        self._since = self._looked = 0.0

    def acquire(self) -> bool:
        """Return whether it could be had.

        Raises:
            ClusterError: the API refuses, or is not there for too long.
        """
        with self._lock:
            if self._over:
                return False
            try:
                self._held = self._had()
            except ClusterError:
                # What happened meanwhile is not known.
                self._other = None
                raise
            return self._held is not None

    def renew(self) -> bool:
        """Return whether it is still held.

        Raises:
            ClusterError: the API refuses, or is not there for too long.
        """
        with self._lock:
            if self._held is None:
                return False
            try:
                self._held = self._patched(self._held, {})
            except (ConflictError, NotFoundError):
                there = self._cluster.find(_KIND, self.name)
                self._held = there if there and self._is_mine(there) else None
            return self._held is not None

    def release(self) -> None:
        """Let go of it, for good; what can't be deleted is free after a while."""
        with self._lock, suppress(ClusterError):
            self._over = True
            while self._held is not None:
                held, self._held = self._held, None
                try:
                    self._delete(held)
                except ConflictError:
                    # Taken by another, or touched by somebody.
                    there = self._cluster.find(_KIND, self.name)
                    self._held = there if there and self._is_mine(there) else None

    def _had(self) -> Any:
        """Return the lease if it is ours now, else None."""
        there = self._cluster.find(_KIND, self.name) if self._other else None
        there = there or self._created()
        if there is None or self._is_mine(there):
            return there
        return self._taken(there) if self._is_free(there) else None

    def _created(self) -> Any:
        """Return the new lease, or the one that there is; None if it went away."""
        try:
            # Asked twice, the API may answer with that of another.
            return self._cluster.create(
                {
                    "apiVersion": "coordination.k8s.io/v1",
                    "kind": _KIND,
                    "metadata": {"name": self.name, "labels": dict(self._labels)},
                    "spec": self._spec({"acquireTime": _now()}),
                }
            )
        except AlreadyExistsError:
            return self._cluster.find(_KIND, self.name)

    def _is_free(self, there: Any) -> bool:
        """Return whether nobody renewed it for as long as its holder said."""
        spec = there.get("spec") or {}
        holder = spec.get("holderIdentity")
        seconds = float(spec.get("leaseDurationSeconds") or self._seconds)
        other = (there["metadata"]["uid"], holder, spec.get("renewTime"))
        now = time.monotonic()
        # While the API was not there to be asked, nobody could renew either.
        if other != self._other or now - self._looked > max(seconds / 3, _GAP):
            self._other, self._since = other, now
        self._looked = now
        return not holder or now - self._since > seconds

    def _taken(self, there: Any) -> Any:
        """Return the lease, taken from who does not renew it; None if another was."""
        transitions = (there.get("spec") or {}).get("leaseTransitions") or 0
        more = {"acquireTime": _now(), "leaseTransitions": transitions + 1}
        try:
            return self._patched(there, more)
        except (ConflictError, NotFoundError):
            return None

    def _patched(self, there: Any, more: Mapping[str, object]) -> Any:
        version = there["metadata"]["resourceVersion"]
        return self._cluster.patch(
            _KIND, self.name, {"spec": self._spec(more)}, resource_version=version
        )

    def _delete(self, held: Any) -> None:
        metadata = held["metadata"]
        wanted = {key: metadata[key] for key in ("uid", "resourceVersion")}
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": wanted,
        }
        path = path_of(_KIND, self._cluster.namespace, self.name)
        with suppress(NotFoundError):
            self._cluster.api.request("DELETE", path, options)

    def _spec(self, more: Mapping[str, object]) -> dict[str, object]:
        return {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": self._seconds,
            "renewTime": _now(),
            **more,
        }

    def _is_mine(self, there: Any) -> bool:
        return bool((there.get("spec") or {}).get("holderIdentity") == self._holder)


def _passes(error: ClusterError) -> bool:
    return error.temporary or isinstance(error, UnreachableError)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
