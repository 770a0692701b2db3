"""One call that waits for a pool, or runs in it, as its caller sees it."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from imagekit.records import dataclass
from imagekit.run_events import Json
from imagekit.running.attempt import Attempt, Placed
from imagekit.running.cluster.callees import Blind, News, ResultSeen
from imagekit.running.cluster.pool_keeper import PoolKeeper
from imagekit.running.cluster.pool_pods import LOG_TOKEN, Pool
from imagekit.running.cluster.pool_view import PoolView
from imagekit.running.container.slots import Slots
from imagekit.runtime.log_marks import own_part, owner_of

#: Seconds between looks whether a call waits for itself.
STUCK = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedPool:
    """A pool that is used here."""

    pool: Pool
    view: PoolView
    keeper: PoolKeeper
    slots: Slots


class PoolCall:
    """What is known of one call.

    Attributes:
        making: makes its object; *uid* is that one's.
        news: what the cluster told of its result.
        pod: the pod that has it, as it was last seen.
        began: when the call began to wait, and *began_at* to run.
        excused_at: from when on it counts that it waits.
        stuck_at: when to see whether it waits for itself.
    """

    def __init__(
        self, name: str, attempt: Attempt, placed: Placed, used: UsedPool
    ) -> None:
        self.name = name
        self.attempt = attempt
        self.used = used
        self.making: asyncio.Future[Json] | None = None
        self.uid = ""
        self.news: News | None = None
        self.pod: Json = None
        self.began = time.monotonic()
        self.began_at = 0.0
        self.excused_at = self.began
        self.stuck_at = self.began + STUCK
        self._placed = placed
        self._loop = asyncio.get_running_loop()

    def tell(self, news: News) -> None:
        """Take news of the result, in any thread."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._take, news)

    def excuse(self) -> None:
        """Let the time that it has waited not count."""
        self.excused_at = time.monotonic()

    def begin(self, pod: str) -> None:
        """Take note that a pod runs it, or has run it."""
        if not self.began_at:
            self.began_at = time.monotonic()
            self._placed(self.attempt.task.environment.image, pod)

    def own(self, pod: Json, tail: str) -> str:
        """Return what the task has printed, of all that a pod printed last."""
        token = (pod["metadata"].get("annotations") or {}).get(LOG_TOKEN, "")
        return own_part(token, tail, owner_of(self.attempt.context.action))

    def _take(self, news: News) -> None:
        if isinstance(news, ResultSeen | Blind):
            self.news = news
            self.used.view.poke()
