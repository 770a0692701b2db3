"""Keeps what happens in a run, for tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from imagekit.context import (
    ActionID,
    Active,
    TaskContext,
    activated,
    first_active,
)
from imagekit.run_events import ROOT, Ended, Event, Started
from imagekit.task import TaskTemplate


class EventLog:
    """A recorder that forgets nothing."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.logs: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def record(self, event: Event) -> None:
        with self._lock:
            self.events.append(event)

    def log(self, action: str, data: bytes) -> None:
        with self._lock:
            self.logs[action] = self.logs.get(action, b"") + data

    def tree(self) -> list[tuple[str, str | None, str, str, str | None]]:
        """Id, parent, kind, name and status of all actions, as they began."""
        ended = {
            item.id: item.status for item in self.events if isinstance(item, Ended)
        }
        return [
            (item.id, item.parent, item.kind, item.name, ended.get(item.id))
            for item in self.events
            if isinstance(item, Started)
        ]

    def of(self, kind: type[Any]) -> list[Any]:
        return [item for item in self.events if isinstance(item, kind)]


class NoCalls:
    """For tasks that call none."""

    async def call(
        self, task: TaskTemplate[..., Any], inputs: Mapping[str, object], by: Active
    ) -> Any:
        raise AssertionError(task)


@contextmanager
def running(log: EventLog, *, attempt: int = 1) -> Iterator[None]:
    """Be in an attempt at a task, and record in *log*."""
    context = TaskContext(
        action=ActionID(name=ROOT, run_name="run"),
        task_name="env.task",
        attempt=attempt,
    )
    with activated(first_active(context, NoCalls(), log)):
        yield
