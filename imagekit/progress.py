"""What happens during a build, as events; who shows them is somebody else's choice."""

from __future__ import annotations

from typing import Protocol, TypeAlias

from imagekit.records import dataclass


@dataclass(frozen=True, slots=True)
class TaskStarted:
    """A piece of work began.

    Attributes:
        task: a key that is unique within the build (``wheel:numpy``).
        title: what a person reads (``numpy 2.4.6``).
        phase: ``read``, ``resolve``, ``fetch``, ``build``, ``push`` or ``load``.
        total: expected bytes, or None.
    """

    task: str
    title: str
    phase: str
    total: int | None = None


@dataclass(frozen=True, slots=True)
class TaskAdvanced:
    """*amount* more bytes of *task* are done."""

    task: str
    amount: int


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """A piece of work is done. *outcome*: ``done``, ``reused`` or ``failed``."""

    task: str
    outcome: str = "done"
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth a line. *level*: ``info`` or ``warning``."""

    text: str
    level: str = "info"


Event: TypeAlias = TaskStarted | TaskAdvanced | TaskEnded | Note


class Progress(Protocol):
    """Receives events, from any thread."""

    def __call__(self, event: Event, /) -> None:
        """Take note of *event*."""


def silent(_event: Event, /) -> None:
    """Show nothing: the progress of library calls."""
