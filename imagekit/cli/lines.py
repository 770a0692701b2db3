"""Progress as plain lines, for logs: what is not a terminal keeps every line."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import TextIO

from imagekit.cli.sizes import seconds_text, size_text
from imagekit.cli.tally import Phase, Tally, Task
from imagekit.progress import Event, Note, TaskAdvanced, TaskEnded, TaskStarted

#: Lines a second; what is more is counted only.
_LINES = 10
#: A task with fewer bytes is over so soon that its end is news enough.
_SMALL = 5_000_000
#: Seconds of silence after which long work says how far it is.
_SILENCE = 10.0


class Lines:
    """Writes a line for what starts and ends, and sums up each phase."""

    def __init__(
        self, stream: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._tally = Tally()
        self._lock = Lock()
        self._written: deque[float] = deque(maxlen=_LINES)
        self._last = clock()

    def __call__(self, event: Event, /) -> None:
        """Take note of *event*, from any thread."""
        with self._lock:
            now = self._clock()
            task = self._tally.take(event, now)
            match event:
                case Note():
                    mark = "warning: " if event.level == "warning" else ""
                    self._write(f"{mark}{event.text}", now)
                case TaskStarted() if task is not None:
                    if event.total is None or event.total >= _SMALL:
                        size = f" ({size_text(event.total)})" if event.total else ""
                        self._news(f"{task.phase}: {task.title}{size} ...", now)
                case TaskEnded() if task is not None:
                    self._ended(event, task, now)
                case TaskAdvanced() if task is not None:
                    if now - self._last >= _SILENCE:
                        phase = self._tally.phases[task.phase]
                        self._write(f"{phase.name}: {totals(phase)} so far", now)
                case _:
                    pass

    def close(self) -> None:
        """Write a summary of each phase with more than one task."""
        with self._lock:
            for phase in self._tally.phases.values():
                if phase.count == 1 and not phase.reused:
                    continue  # its line has been written
                took = seconds_text(phase.ended - phase.began)
                self._write(f"{phase.name}: {totals(phase)} in {took}", self._last)

    def _ended(self, event: TaskEnded, task: Task, now: float) -> None:
        detail = f": {event.detail}" if event.detail else ""
        if event.outcome == "failed":
            self._write(f"{task.phase}: {task.title} failed{detail}", now)
        elif event.outcome != "reused":
            took = seconds_text(now - task.began)
            self._news(f"{task.phase}: {task.title} done in {took}", now)

    def _news(self, text: str, now: float) -> None:
        if len(self._written) == _LINES and now - self._written[0] < 1:
            return
        self._written.append(now)
        self._write(text, now)

    def _write(self, text: str, now: float) -> None:
        self._last = now
        print(text, file=self._stream, flush=True)


def totals(phase: Phase) -> str:
    """Return what *phase* has done: counts and bytes."""
    done = phase.done
    count = f"{done} of {done + phase.running}" if phase.running else f"{done}"
    parts = [f"{count} done"] if done or phase.running else []
    if phase.reused:
        parts.append(f"{phase.reused} reused")
    if phase.failed:
        parts.append(f"{phase.failed} failed")
    if phase.size and phase.running and phase.expected > phase.size:
        parts.append(f"{size_text(phase.size)} of {size_text(phase.expected)}")
    elif phase.size:
        parts.append(size_text(phase.size))
    return ", ".join(parts)
