"""The state of a build, counted from its events. Knows no terminal and no clock."""

from __future__ import annotations

from collections import deque

from imagekit.progress import Event, Note, TaskAdvanced, TaskEnded, TaskStarted
from imagekit.records import dataclass, field

#: Seconds over which a speed is taken.
_WINDOW = 5.0


@dataclass(slots=True, kw_only=True)
class Task:
    """A task that runs. *done* and *total* are bytes."""

    title: str
    phase: str
    began: float
    total: int | None = None
    done: int = 0


@dataclass(slots=True, kw_only=True)
class Phase:
    """All tasks of a phase, together.

    Attributes:
        title: of the task that started last.
        size: bytes that were done.
        expected: bytes of the tasks that said how many they have; reused ones aside.
    """

    name: str
    began: float
    ended: float
    title: str = ""
    running: int = 0
    done: int = 0
    reused: int = 0
    failed: int = 0
    size: int = 0
    expected: int = 0
    samples: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def count(self) -> int:
        """How many tasks there are so far."""
        return self.running + self.done + self.reused + self.failed

    def speed(self, now: float) -> float:
        """Return bytes a second, of late."""
        while self.samples and self.samples[0][0] < now - _WINDOW:
            self.samples.popleft()
        if not self.samples:
            return 0.0
        # The first sample's bytes came before its time.
        seconds = max(now - self.samples[0][0], 0.5)
        return sum(amount for _, amount in self.samples) / seconds


@dataclass(slots=True, kw_only=True)
class Tally:
    """What runs, and what each phase has done; phases in order of appearance."""

    phases: dict[str, Phase] = field(default_factory=dict)
    running: dict[str, Task] = field(default_factory=dict)

    def take(self, event: Event, now: float) -> Task | None:
        """Count *event*, and return the task that it is about."""
        match event:
            case TaskStarted():
                return self._start(event, now)
            case TaskAdvanced():
                return self._advance(event, now)
            case TaskEnded():
                return self._end(event, now)
            case Note():
                return None

    def _start(self, event: TaskStarted, now: float) -> Task:
        phase = self.phases.setdefault(
            event.phase, Phase(name=event.phase, began=now, ended=now)
        )
        phase.running += 1
        phase.title = event.title
        phase.expected += event.total or 0
        task = Task(title=event.title, phase=event.phase, began=now, total=event.total)
        self.running[event.task] = task
        return task

    def _advance(self, event: TaskAdvanced, now: float) -> Task | None:
        task = self.running.get(event.task)
        if task is None:
            return None
        task.done += event.amount
        phase = self.phases[task.phase]
        phase.size += event.amount
        phase.samples.append((now, event.amount))
        return task

    def _end(self, event: TaskEnded, now: float) -> Task | None:
        task = self.running.pop(event.task, None)
        if task is None:
            return None
        phase = self.phases[task.phase]
        phase.running -= 1
        phase.ended = now
        match event.outcome:
            case "reused":
                phase.reused += 1
                phase.expected -= task.total or 0
            case "failed":
                phase.failed += 1
            case _:
                phase.done += 1
        return task
