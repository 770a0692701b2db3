"""When a pod of a pool has nothing to do any more."""

from __future__ import annotations

import time
from collections.abc import Callable

from imagekit.running.container.pool import PoolLimits


class PoolIdle:
    """Tells when a pod is to end.

    Pods beyond the fewest go when they were idle for a while themselves, all others
    when the pool was.

    Args:
        limits: of the pool.
        index: number of the pod.
        clock: counts seconds.
    """

    def __init__(
        self,
        limits: PoolLimits,
        index: int,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._is_surplus = index >= limits.fewest
        self._clock = clock
        self._own: float | None = clock()
        self._any: float | None = clock()

    def see(self, *, own: int, calls: int) -> None:
        """Take note of how many calls this pod runs, and how many the pool has."""
        now = self._clock()
        self._own = None if own else now if self._own is None else self._own
        self._any = None if own or calls else now if self._any is None else self._any

    def left(self) -> float | None:
        """Return the seconds until it is to end; None as long as it is busy."""
        if self._own is None:
            return None
        ends = []
        if self._is_surplus:
            ends.append(self._own + self._limits.surplus_idle)
        if self._any is not None:
            ends.append(self._any + self._limits.idle)
        return max(0.0, min(ends) - self._clock()) if ends else None
