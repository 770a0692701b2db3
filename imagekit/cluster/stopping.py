"""``Stop``: ends what waits for the API, from another thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock


class Stop:
    """Like a :class:`threading.Event` that also ends reads which block."""

    def __init__(self) -> None:
        self._event = Event()
        self._lock = Lock()
        self._ends: dict[object, Callable[[], None]] = {}

    def set(self) -> None:
        """End everything that waits, and that will."""
        with self._lock:
            self._event.set()
            ends = list(self._ends.values())
        for end in ends:
            end()

    def is_set(self) -> bool:
        """Return whether it is to end."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait so long at most; return whether it is to end."""
        return self._event.wait(seconds)

    @contextmanager
    def ending(self, end: Callable[[], None]) -> Iterator[None]:
        """Have *end* called, from another thread or at once, when it is to end."""
        key = object()
        with self._lock:
            late = self._event.is_set()
            if not late:
                self._ends[key] = end
        if late:
            end()
        try:
            yield
        finally:
            with self._lock:
                self._ends.pop(key, None)
