"""The calls that one call makes, as far as they are in each other's way."""

from __future__ import annotations

from imagekit.running.attempt import Placed
from imagekit.running.cluster.pod_endings import PENDING, Trouble
from imagekit.task_settings import TaskSettings


class Siblings:
    """Knows which calls of one caller run, in Jobs or pools; for one event loop."""

    def __init__(self) -> None:
        self._running: set[str] = set()

    def noting(self, name: str, placed: Placed) -> Placed:
        """Return *placed* so that the call *name* is known to run from then on."""

        def begun(image: str | None = None, place: str | None = None) -> None:
            self._running.add(name)
            placed(image, place)

        return begun

    def end(self, name: str) -> None:
        """Take note that nothing of a call runs any more."""
        self._running.discard(name)

    def patience(
        self, name: str, settings: TaskSettings, trouble: Trouble
    ) -> float | None:
        """Return for how many seconds a call may have *trouble*.

        None if that can't be said now: others of the same caller run, and it may just
        be that there is no room beside them.
        """
        if trouble.patience is not None:
            return trouble.patience
        if self._running - {name}:
            return None
        timeout = settings.timeout
        return (timeout.queued_seconds if timeout else None) or PENDING
