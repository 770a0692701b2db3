"""What has begun in a run and not ended, and the events that end it."""

from __future__ import annotations

import time
from collections.abc import Iterator

from imagekit.cluster.documents import CallDocument, RunDocument
from imagekit.failures import encode_failure
from imagekit.run_events import (
    ROOT,
    AttemptEnded,
    AttemptStarted,
    Ended,
    Event,
    Json,
    Reported,
    Started,
    Status,
)
from imagekit.task_errors import RunAbortedError


class OpenActions:
    """Takes note of the events of a run."""

    def __init__(self) -> None:
        self._open: dict[str, set[int]] = {}
        self._seen: set[str] = set()

    def take(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case Started(id=name):
                self._seen.add(name)
                self._open.setdefault(name, set())
            case AttemptStarted(id=name, number=number):
                self._open.setdefault(name, set()).add(number)
            case AttemptEnded(id=name, number=number):
                self._open.get(name, set()).discard(number)
            case Ended(id=name):
                self._open.pop(name, None)
            case Reported():
                pass

    def has_started(self, action: str) -> bool:
        """Return whether an action has begun."""
        return action in self._seen

    def ending(
        self, run: RunDocument, call: CallDocument | None, status: Status, error: Json
    ) -> Iterator[Event]:
        """Yield the events that end all: what the run's own task called is aborted.

        Args:
            run: the run.
            call: of its own task.
            status: how that ends.
            error: why, encoded.
        """
        now = time.time()
        if not self.has_started(ROOT):
            yield Started(
                id=ROOT,
                parent=None,
                kind="task",
                name=run.task,
                time=run.started,
                inputs=call and call.inputs,
                environment=run.task.rpartition(".")[0],
            )
        for action, attempts in reversed(self._open.items()):
            if action != ROOT:
                yield from _ended(action, attempts, "aborted", error, now)
        yield from _ended(ROOT, self._open.get(ROOT, set()), status, error, now)

    def left(self, now: float) -> Iterator[Event]:
        """Yield the events that end what is open though the run is over.

        A pod that was lost could not say how what it had called ended: it was deleted.
        """
        error = encode_failure(
            RunAbortedError("the task that called it was interrupted")
        )
        for action, attempts in reversed(list(self._open.items())):
            yield from _ended(action, set(attempts), "aborted", error, now)


def _ended(
    action: str, attempts: set[int], status: Status, error: Json, now: float
) -> Iterator[Event]:
    for number in sorted(attempts):
        yield AttemptEnded(
            id=action, number=number, time=now, status=status, error=error
        )
    yield Ended(id=action, time=now, status=status, error=error)
