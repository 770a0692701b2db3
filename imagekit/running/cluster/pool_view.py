"""What is known of a pool: its calls that are not done, and its pods."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial

from imagekit.cluster.access import Api
from imagekit.cluster.stopping import Stop
from imagekit.cluster.watching import Deleted, Listed, WatchEvent, watch
from imagekit.run_events import Json
from imagekit.running.cluster.pool_claims import PooledCall, selector
from imagekit.running.cluster.pool_pods import pods_selector
from imagekit.task_errors import RuntimeSystemError


class PoolView:
    """Follows a pool, for one event loop, in which all of it has to be used.

    Args:
        api: reaches the cluster.
        pool: name of the pool.
        with_pods: whether its pods are of interest, too.

    Attributes:
        calls: its calls that are not done, by name.
        pods: its pods, by name.
        version: another one after each change.
    """

    def __init__(self, api: Api, pool: str, *, with_pods: bool = True) -> None:
        self.calls: dict[str, PooledCall] = {}
        self.pods: dict[str, Json] = {}
        self.version = 0
        self._api = api
        self._loop = asyncio.get_running_loop()
        self._stop = Stop()
        self._error: BaseException | None = None
        self._unlisted: set[str] = set()
        self._expected: dict[str, bool] = {}
        self._waiting: set[asyncio.Future[None]] = set()
        self._watch("ConfigMap", selector(pool=pool), self._take_call, metadata=True)
        if with_pods:
            self._watch("Pod", pods_selector(pool), self._take_pod, metadata=False)

    async def listed(self) -> None:
        """Wait until all that is there is known.

        Raises:
            RuntimeSystemError: the cluster can't be watched.
        """
        while self._unlisted:
            await self.newer(self.version)

    async def newer(self, version: int, seconds: float | None = None) -> None:
        """Wait until there is something newer than *version*, or so many seconds.

        Raises:
            RuntimeSystemError: the cluster can't be watched any more.
        """
        self._check()
        if self.version != version:
            return
        change: asyncio.Future[None] = self._loop.create_future()
        self._waiting.add(change)
        try:
            await asyncio.wait({change}, timeout=seconds)
        finally:
            self._waiting.discard(change)
        self._check()

    def poke(self) -> None:
        """Have whoever waits look again."""
        self.version += 1
        for change in self._waiting:
            if not change.done():
                change.set_result(None)

    def expect(self, name: str) -> None:
        """Take note of whether a call was ever seen."""
        self._expected[name] = name in self.calls

    def forget(self, name: str) -> None:
        """Take no more note of a call."""
        self._expected.pop(name, None)

    def is_gone(self, name: str) -> bool:
        """Return whether a call that is expected was there, and is done or deleted."""
        return self._expected.get(name, False) and name not in self.calls

    def see_pod(self, pod: Json) -> None:
        """Take note of a pod that was just made, before the cluster tells of it."""
        self.pods.setdefault(pod["metadata"]["name"], pod)
        self.poke()

    def fail(self, error: BaseException) -> None:
        """Have all who wait raise *error*."""
        self._error = error
        self.poke()

    @property
    def has_failed(self) -> bool:
        """Whether nothing new is known any more; another view may know more."""
        return self._error is not None

    def close(self) -> None:
        """End the watches."""
        self._stop.set()

    def _check(self) -> None:
        if self._error is not None:
            raise RuntimeSystemError(
                f"a pool can't be followed any more: {self._error}"
            ) from self._error

    def _watch(
        self,
        kind: str,
        labels: str,
        take: Callable[[Json, bool], None],
        *,
        metadata: bool,
    ) -> None:
        self._unlisted.add(kind)

        def work() -> None:
            try:
                for event in watch(
                    self._api, kind, labels, stop=self._stop, metadata=metadata
                ):
                    self._tell(partial(self._take, kind, event, take))
            except Exception as error:  # noqa: BLE001  (who waits is told)
                self._tell(partial(self.fail, error))

        name = f"imagekit pool {kind.lower()}s"
        threading.Thread(target=work, name=name, daemon=True).start()

    def _tell(self, news: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(news)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    def _take(
        self, kind: str, event: WatchEvent, take: Callable[[Json, bool], None]
    ) -> None:
        if isinstance(event, Listed):
            self._unlisted.discard(kind)
        else:
            take(event.object, isinstance(event, Deleted))
        self.poke()

    def _take_call(self, found: Json, gone: bool) -> None:
        metadata = found["metadata"]
        name = metadata["name"]
        if gone:
            self.calls.pop(name, None)
            return
        self.calls[name] = PooledCall.of(metadata)
        if name in self._expected:
            self._expected[name] = True

    def _take_pod(self, pod: Json, gone: bool) -> None:
        metadata = pod["metadata"]
        if not gone:
            self.pods[metadata["name"]] = pod
        elif self._has_uid(metadata):
            del self.pods[metadata["name"]]

    def _has_uid(self, metadata: Json) -> bool:
        known = self.pods.get(metadata["name"])
        return known is not None and known["metadata"]["uid"] == metadata["uid"]
