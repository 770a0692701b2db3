"""How long, and after what pauses, a request is sent again."""

from __future__ import annotations

import time
from collections.abc import Callable

from imagekit.cluster.api_errors import ClusterError
from imagekit.cluster.stopping import Stop

_FIRST_PAUSE = 0.2
#: An API server that is back must not find its clients asleep.
_LONGEST_PAUSE = 3.0

#: Is told why something waits: a text for people.
Waiting = Callable[[str], None]


class Pauses:
    """Each one twice as long as the one before, up to a limit, and never the same."""

    def __init__(
        self, first: float = _FIRST_PAUSE, longest: float = _LONGEST_PAUSE
    ) -> None:
        self._first = first
        self._next = first
        self._longest = longest

    def seconds(self) -> float:
        """Return how long to wait this time."""
        from random import uniform  # noqa: PLC0415  (slow to import)

        pause = self._next
        self._next = min(2 * pause, self._longest)
        # Clients that failed together must not come back together.
        return pause * uniform(0.5, 1)  # noqa: S311  (spreads load, guards nothing)

    def reset(self) -> None:
        """Begin with the first one again."""
        self._next = self._first


class Patience:
    """What is left of the time that one request may take, counted from its first fault.

    Args:
        seconds: how long to go on after the first fault.
        waiting: is told why, at each pause.
        stop: ends the pauses.
    """

    def __init__(self, seconds: float, *, waiting: Waiting, stop: Stop) -> None:
        self._seconds = seconds
        self._waiting = waiting
        self._stop = stop
        self._pauses = Pauses()
        self._end: float | None = None

    def after(self, error: ClusterError) -> None:
        """Wait until it is time for another try.

        Args:
            error: how the last try failed.

        Raises:
            ClusterError: *error*, as there is no time left, or no need.
        """
        now = time.monotonic()
        if self._end is None:
            self._end = now + self._seconds
        left = self._end - now
        if left <= 0 or self._stop.is_set():
            raise error
        self._waiting(error.message)
        # The last try is made when the time is over, not before.
        pause = max(self._pauses.seconds(), error.retry_after or 0)
        if self._stop.wait(min(pause, left)):
            raise error
