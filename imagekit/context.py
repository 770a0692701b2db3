"""Where a task is: which action it is, and who runs the tasks that it calls.

It is kept in a context variable, so that it follows ``await``, ``asyncio.gather`` and
the threads that imagekit starts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from imagekit.records import dataclass, field, replace
from imagekit.run_events import Recorder

if TYPE_CHECKING:
    from imagekit.task import TaskTemplate

Mode: TypeAlias = Literal["local", "container", "remote"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionID:
    """Names a running task.

    Attributes:
        name: id of the action in its run.
        run_name: name of the run.
    """

    name: str
    run_name: str
    project: str | None = None
    domain: str | None = None
    org: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskContext:
    """What a task may know of itself; ``ctx()`` returns it.

    Attributes:
        version: version of the code.
        raw_data_path: where large outputs go.
        run_base_dir: where the run is recorded.
        attempt: 1 for the first attempt.
        labels: as the run was given them.
    """

    action: ActionID
    task_name: str
    version: str = ""
    mode: Mode = "local"
    raw_data_path: str = ""
    run_base_dir: str = ""
    attempt: int = 1
    interactive_mode: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()


class Caller(Protocol):
    """Runs the tasks that a task calls, wherever they run."""

    async def call(
        self, task: TaskTemplate[..., Any], inputs: Mapping[str, object], by: Active
    ) -> Any:
        """Run *task*, and return what it returns, or raise what it raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Active:
    """A task, trace or group that is running here.

    Attributes:
        id: the action.
        numbers: numbers for the actions that it calls; shared by all its copies.
        report: what the task wants to show, if it has a report.
    """

    id: str
    context: TaskContext
    caller: Caller
    recorder: Recorder
    numbers: Iterator[int]
    prefix: str
    report: Any = field(default=None)

    def next_id(self) -> str:
        """Return the id of the next action that this one calls."""
        return f"{self.prefix}.{next(self.numbers)}"

    def inside(self, action: str) -> Active:
        """Return what is active in *action*, a trace or group that this one calls."""
        return replace(self, id=action, prefix=action, numbers=itertools.count(1))


def first_active(
    context: TaskContext, caller: Caller, recorder: Recorder, *, report: Any = None
) -> Active:
    """Return what is active in an attempt at a task."""
    action = context.action.name
    prefix = action if context.attempt == 1 else f"{action}.r{context.attempt}"
    return Active(
        id=action,
        context=context,
        caller=caller,
        recorder=recorder,
        numbers=itertools.count(1),
        prefix=prefix,
        report=report,
    )


_ACTIVE: ContextVar[Active | None] = ContextVar("imagekit_active", default=None)


def active() -> Active | None:
    """Return what is running here; None outside of tasks."""
    return _ACTIVE.get()


def activate(state: Active | None) -> None:
    """Have *state* as what is running, in the rest of this context."""
    _ACTIVE.set(state)


@contextmanager
def activated(state: Active | None) -> Iterator[None]:
    """Have *state* as what is running here."""
    token = _ACTIVE.set(state)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def ctx() -> TaskContext | None:
    """Return the context of the task that is running; None outside of tasks."""
    state = _ACTIVE.get()
    return None if state is None else state.context
