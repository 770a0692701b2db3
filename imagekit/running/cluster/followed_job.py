"""What is known of a Job that somebody waits for, from news that come in any thread."""

from __future__ import annotations

import asyncio
import time

from imagekit.run_events import Json
from imagekit.running.attempt import Attempt, Placed
from imagekit.running.cluster.callees import Blind, News, PodGone, PodSeen, ResultSeen
from imagekit.running.cluster.departures import Departures
from imagekit.running.cluster.pod_endings import (
    Trouble,
    is_going,
    is_over,
    phase_of,
    trouble_of,
)

#: Seconds in which nothing happens after which somebody has to say why.
_SILENCE = 5.0
#: Seconds between looks at what may change without news.
_LOOK = 1.0


class FollowedJob:
    """What is known of one Job."""

    def __init__(self, name: str, attempt: Attempt, placed: Placed) -> None:
        self.name = name
        self.attempt = attempt
        self.pod: Json = None
        self.running = False
        self._placed = placed
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[News] = asyncio.Queue()
        self._began = time.monotonic()
        self._since: tuple[str, float] = ("", 0.0)
        self._told: Trouble | None = None
        self._asked = self._began
        self._departures = Departures()

    def tell(self, news: News) -> None:
        """Take news, in any thread."""
        try:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, news)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    async def next(self) -> News | None:
        """Return the next news; None if there is none for a while."""
        try:
            idle = self.running and not self._is_going()
            return await asyncio.wait_for(self._queue.get(), None if idle else _LOOK)
        except TimeoutError:
            return None

    @property
    def waited(self) -> float:
        """Seconds since the trouble that is on began, or since the Job was wanted."""
        return time.monotonic() - (self._since[1] or self._began)

    def trouble(self) -> Trouble | None:
        """Return what keeps the pod from running; None if nothing is known to."""
        found = self._told if self.pod is None else trouble_of(self.pod) or self._told
        kind = "" if found is None else type(found.error).__name__
        if kind != self._since[0]:
            self._since = (kind, time.monotonic() if kind else 0.0)
        return found

    def excuse(self) -> None:
        """Let the time that the trouble took not count."""
        self._since = (self._since[0], time.monotonic())

    def is_silent(self) -> bool:
        """Return whether it is time to ask why nothing happens."""
        if self.pod is not None and trouble_of(self.pod) is not None:
            return False
        now = time.monotonic()
        is_time = now - self._asked > _SILENCE
        if is_time:
            self._asked = now
        return is_time

    def hear(self, told: Trouble | None) -> None:
        """Take note of what events say."""
        self._told = told

    def is_replaced(self, pod: Json) -> bool:
        """Return whether the Job has made another pod, in place of one that ran."""
        if self.pod is None:
            return False
        return bool(pod["metadata"]["uid"] != self.pod["metadata"]["uid"])

    def see(self, pod: Json) -> None:
        """Take note of how the pod is."""
        self.pod = pod
        self._told = None
        if phase_of(pod) != "Pending":
            self.begin(pod["metadata"]["name"])

    def begin(self, pod: str) -> None:
        """Take note that the task runs, or ran: its result may be seen before."""
        if not self.running:
            self.running = True
            self._placed(self.attempt.task.environment.image, pod)

    def is_lost(self) -> bool:
        """Return whether the pod should be gone for long: nobody tells of it."""
        return self.pod is not None and self._departures.is_lost(self.pod)

    def lose(self, pod: Json) -> None:
        """Take note that the pod is gone; little may be known of it but its name."""
        known = self.pod or pod
        metadata = {**known["metadata"], "deletionTimestamp": "now"}
        self.pod = {**known, "metadata": metadata}

    def _is_going(self) -> bool:
        return self.pod is not None and is_going(self.pod)

    async def until_over(self, seconds: float) -> None:
        """Wait until the pod has ended."""
        end = time.monotonic() + seconds
        while not (self.pod is not None and is_over(self.pod)):
            left = end - time.monotonic()
            if left <= 0:
                return
            try:
                news = await asyncio.wait_for(self._queue.get(), left)
            except TimeoutError:
                return
            match news:
                case PodSeen(pod=pod):
                    self.see(pod)
                case PodGone() | Blind():
                    return
                case ResultSeen():
                    pass
