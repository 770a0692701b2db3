"""Containers that stay warm for the next call."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress

from imagekit.context import ActionID
from imagekit.records import dataclass, field
from imagekit.reuse_policy import ReusePolicy
from imagekit.running.container.standstill import WAITS, Waits
from imagekit.running.container.worker import Worker
from imagekit.task_errors import RunAbortedError

#: Seconds that containers get for their end when the pool is closed.
_CLOSE = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """How many containers there are, and for how long.

    Attributes:
        fewest: a container beyond that many goes when it was idle for *surplus_idle*
            seconds. There are fewer as long as no calls have wanted them.
        most: the most containers.
        concurrency: the most calls in a container at a time.
        idle: seconds without any call after which all containers go.
    """

    fewest: int
    most: int
    concurrency: int
    idle: float
    surplus_idle: float

    @classmethod
    def of(cls, policy: ReusePolicy) -> PoolLimits:
        """Return the limits that *policy* sets."""
        return cls(
            fewest=policy.min_replicas,
            most=policy.max_replicas,
            concurrency=policy.concurrency,
            idle=policy.ttl.total_seconds(),
            surplus_idle=policy.get_scaledown_ttl().total_seconds(),
        )


@dataclass(slots=True, kw_only=True)
class _Replica:
    """A container with the number of its calls, and when the last of them ended."""

    container: Worker
    calls: int = 0
    idle_since: float = 0.0


@dataclass(slots=True, kw_only=True)
class _Waiter:
    """A call that wants a container; *start* starts one for it."""

    action: ActionID
    start: Callable[[], Worker]
    replica: Future[_Replica] = field(default_factory=Future)


class NeverFreeError(Exception):
    """All places are held by calls that can't go on before this one has run."""


class Pool:
    """Containers that are all alike.

    Calls wait in the order in which they came; it may be used from any event loop and
    thread.

    Args:
        waits: of all pools whose calls may wait for each other.
    """

    def __init__(self, limits: PoolLimits, waits: Waits = WAITS) -> None:
        self._limits = limits
        self._waits = waits
        self._changed = threading.Condition(threading.RLock())
        self._replicas: list[_Replica] = []
        self._waiting: deque[_Waiter] = deque()
        self._used = time.monotonic()
        self._closed = False
        self._janitor: threading.Thread | None = None

    @property
    def containers(self) -> list[Worker]:
        """Those that are there now."""
        with self._changed:
            return [replica.container for replica in self._replicas]

    @asynccontextmanager
    async def lease(
        self, action: ActionID, start: Callable[[], Worker]
    ) -> AsyncIterator[Worker]:
        """Have a place in a container, once there is one.

        Args:
            action: who wants it.
            start: starts another container, if there may be one.

        Raises:
            NeverFreeError: there will be none.
            RunAbortedError: the pool is closed.
            RuntimeSystemError: no container can be started.
        """
        replica = await self._place(action, start)
        try:
            yield replica.container
        finally:
            self._put_back(replica, action)

    async def _place(self, action: ActionID, start: Callable[[], Worker]) -> _Replica:
        waiter = _Waiter(start=start, action=action)
        with self._changed:
            self._waiting.append(waiter)
            self._hand_out()
            waits = not waiter.replica.done()
            if waits and not self._waits.begin(self, action):
                waiter.replica.cancel()
                raise NeverFreeError
        try:
            return await asyncio.wrap_future(waiter.replica)
        except asyncio.CancelledError:
            self._withdraw(waiter)
            raise
        finally:
            if waits:
                self._waits.end(self, action)

    def close(self) -> list[Worker]:
        """Begin to end all containers, and return them; nothing waits any more."""
        with self._changed:
            self._closed = True
            gone = self.containers
            self._replicas.clear()
            waiting = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        for waiter in waiting:
            if waiter.replica.set_running_or_notify_cancel():
                waiter.replica.set_exception(_closed())
        for container in gone:
            container.stop()
        return gone

    def _hand_out(self) -> None:
        """Give places to those who wait, as long as there are any."""
        while self._waiting:
            if self._closed:
                replica = None
            elif (replica := self._free()) is None and (
                len(self._replicas) >= self._limits.most
            ):
                return
            waiter = self._waiting.popleft()
            if not waiter.replica.set_running_or_notify_cancel():
                continue
            try:
                replica = replica or self._started(waiter.start)
            except BaseException as error:  # noqa: BLE001  (the waiter raises it)
                waiter.replica.set_exception(error)
                continue
            replica.calls += 1
            self._waits.hold(self, waiter.action)
            waiter.replica.set_result(replica)

    def _free(self) -> _Replica | None:
        """Return the least busy container that can take a call."""
        free = [
            replica
            for replica in self._replicas
            if replica.container.alive and replica.calls < self._limits.concurrency
        ]
        return min(free, key=lambda replica: replica.calls, default=None)

    def _started(self, start: Callable[[], Worker]) -> _Replica:
        if self._closed:
            raise _closed()
        replica = _Replica(container=start())
        self._replicas.append(replica)
        replica.container.ended.add_done_callback(lambda _: self._forget(replica))
        if self._janitor is None:
            self._janitor = threading.Thread(
                target=self._tidy, name="imagekit pool", daemon=True
            )
            self._janitor.start()
        return replica

    def _forget(self, replica: _Replica) -> None:
        """Take a container out that has ended; whoever waits gets another one."""
        with self._changed:
            if replica in self._replicas:
                self._replicas.remove(replica)
            self._hand_out()
            self._changed.notify_all()

    def _withdraw(self, waiter: _Waiter) -> None:
        if not waiter.replica.cancel():
            # It got a place at the same time, or is getting one just now.
            waiter.replica.add_done_callback(
                _put_back_with(lambda replica: self._put_back(replica, waiter.action))
            )

    def _put_back(self, replica: _Replica, action: ActionID) -> None:
        with self._changed:
            replica.calls -= 1
            self._waits.leave(self, action)
            replica.idle_since = self._used = time.monotonic()
            self._hand_out()
            self._changed.notify_all()

    def _tidy(self) -> None:
        """End containers that nothing uses, until none are left."""
        with self._changed:
            while self._replicas and not self._closed:
                now = time.monotonic()
                due, wait = self._due(now)
                for replica in due:
                    self._replicas.remove(replica)
                    replica.container.stop()
                if not due:
                    self._changed.wait(wait)
            self._janitor = None

    def _due(self, now: float) -> tuple[list[_Replica], float | None]:
        """Return the containers to end, and the seconds until there may be others."""
        idle = [replica for replica in self._replicas if not replica.calls]
        if not idle:
            return [], None
        if len(idle) == len(self._replicas):
            left = self._used + self._limits.idle - now
            if left <= 0:
                return idle, None
        else:
            left = None
        surplus = len(self._replicas) - self._limits.fewest
        if surplus <= 0:
            return [], left
        idle.sort(key=lambda replica: replica.idle_since)
        ends = [item.idle_since + self._limits.surplus_idle - now for item in idle]
        due = [item for item, end in zip(idle, ends, strict=True) if end <= 0]
        if due:
            return due[:surplus], None
        return [], ends[0] if left is None else min(left, ends[0])


def _put_back_with(
    put_back: Callable[[_Replica], None],
) -> Callable[[Future[_Replica]], None]:
    def done(future: Future[_Replica]) -> None:
        if future.exception() is None:
            put_back(future.result())

    return done


def _closed() -> RunAbortedError:
    return RunAbortedError("the pool of containers was closed")


def wait_closed(containers: list[Worker]) -> None:
    """Wait until *containers*, which were told to stop, have ended; kill the rest."""
    deadline = time.monotonic() + _CLOSE
    for container in containers:
        _wait(container, deadline - time.monotonic())
    for container in containers:
        if not container.ended.done():
            container.kill()
    for container in containers:
        _wait(container, deadline + _CLOSE - time.monotonic())


def _wait(container: Worker, seconds: float) -> None:
    with suppress(TimeoutError):  # it is killed next, or nothing more can be done
        container.ended.result(max(0.0, seconds))
