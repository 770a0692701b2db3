"""How many containers do something at a time.

A container whose task waits for tasks that it has called does not count: they could
never run if it did. When it goes on, it does so at once, so that there may be some more
than the limit for a while.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager


class Slots:
    """Lets at most *most* tasks begin; None for any number.

    They begin in the order in which they came. It may be used from any event loop.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._busy = 0
        self._waiting: deque[Future[None]] = deque()

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[Slot]:
        """Have a slot, once there is one."""
        place: Future[None] = Future()
        with self._lock:
            self._waiting.append(place)
        self._let_in()
        try:
            await asyncio.wrap_future(place)
        except asyncio.CancelledError:
            if not place.cancel():
                self.change(-1)
            raise
        slot = Slot(self)
        try:
            yield slot
        finally:
            slot.pause()

    def change(self, by: int) -> None:
        """Count *by* more as busy."""
        with self._lock:
            self._busy += by
        self._let_in()

    def _let_in(self) -> None:
        with self._lock:
            while self._waiting and (self._most is None or self._busy < self._most):
                place = self._waiting.popleft()
                if place.set_running_or_notify_cancel():
                    self._busy += 1
                    place.set_result(None)


class Slot:
    """The place of one task among those that are busy."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._busy = True

    def pause(self) -> None:
        """Let another task begin: this one waits for others, or has ended."""
        if self._busy:
            self._busy = False
            self._slots.change(-1)

    def resume(self) -> None:
        """Count as busy again."""
        if not self._busy:
            self._busy = True
            self._slots.change(1)
