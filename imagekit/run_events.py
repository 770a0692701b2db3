"""What happens in a run, as it is recorded: a tree of actions with their times.

An action is a call of a task, a call of a traced function, or a group of calls. Its id
is that of what called it, a dot, and its number there: the second call that the first
task of a run makes is ``a0.2``. Calls of a second attempt have its number before
theirs: ``a0.r2.1``. So the same run has the same tree wherever its tasks run.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeAlias

from imagekit.records import dataclass

Json: TypeAlias = Any
Kind: TypeAlias = Literal["task", "trace", "group"]
Status: TypeAlias = Literal["succeeded", "cached", "failed", "timed-out", "aborted"]

#: Id of the task that a run is of.
ROOT = "a0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """An action began.

    Attributes:
        id: the action.
        parent: the action that called it; None for the run's own task.
        name: full name of the task, name of the function or of the group.
        time: seconds since the epoch.
        inputs: the task's inputs, encoded (:mod:`imagekit.values`).
        environment: name of the task's environment.
    """

    id: str
    parent: str | None
    kind: Kind
    name: str
    time: float
    inputs: Json = None
    environment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted:
    """A task began to run.

    Attributes:
        number: 1 for the first attempt.
        image: the image that it runs in; None in this process.
        place: the container; None in this process.
    """

    id: str
    number: int
    time: float
    image: str | None = None
    place: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded:
    """An attempt is over; *error* is an encoded failure (:mod:`imagekit.failures`)."""

    id: str
    number: int
    time: float
    status: Status
    error: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An action is over."""

    id: str
    time: float
    status: Status
    outputs: Json = None
    error: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A task with ``report=True`` has a page; *html* is all of it."""

    id: str
    html: str


Event: TypeAlias = Started | AttemptStarted | AttemptEnded | Ended | Reported


class Recorder(Protocol):
    """Receives what happens, from any thread."""

    def record(self, event: Event) -> None:
        """Record *event*."""

    def log(self, action: str, data: bytes) -> None:
        """Record what an action's task printed."""
