"""The contract between what decides that a task runs, and what runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from imagekit.context import TaskContext
from imagekit.records import dataclass
from imagekit.run_events import Json, Recorder

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagekit.context import Caller
    from imagekit.task import TaskTemplate
    from imagekit.task_settings import TaskSettings


class TaskEnvironmentFacts(Protocol):
    """What has to be known of a task's environment."""

    @property
    def name(self) -> str:
        """Name of the environment."""

    @property
    def image(self) -> Any:
        """The image, as it was written or deployed."""


class TaskInterface(Protocol):
    """What has to be known of a task's inputs and outputs."""

    def describe(self) -> Json:
        """Return what tells it from others."""

    def size(self, document: Json) -> int:
        """Return how many bytes of *document* are inline."""


class RunnableTask(Protocol):
    """What has to be known of a task to have it run: its code is not part of it.

    A :class:`imagekit.task.TaskTemplate` is one, and so is what is known on a cluster
    of a task that was deployed.
    """

    @property
    def name(self) -> str:
        """Full name."""

    @property
    def called(self) -> str:
        """What its module is called where it was defined."""

    @property
    def func(self) -> Callable[..., Any] | None:
        """The function; None where there is no code."""

    @property
    def is_async(self) -> bool:
        """Whether the function is async."""

    @property
    def origin(self) -> object:
        """Where it is defined."""

    @property
    def environment(self) -> TaskEnvironmentFacts:
        """What it runs in."""

    @property
    def interface(self) -> TaskInterface:
        """Its inputs and its output."""


def template_of(task: RunnableTask) -> TaskTemplate[..., Any]:
    """Return *task* where its code is here."""
    from imagekit.task import TaskTemplate  # noqa: PLC0415  (not to define contracts)

    assert isinstance(task, TaskTemplate)
    return task


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedCall:
    """A call of a task by another, as it comes out of a container.

    Attributes:
        task: full name of the task.
        settings: the task's settings as the caller overrode them.
        inputs: encoded, by parameter name; the blobs are there already.
        action: id of the call, which the caller gave it.
        parent: id of the action that calls; None for the run's own task.
        cache_version: version of the task's code for its cache; None where it is not
            cached, or where the host is to find out.
    """

    task: str
    settings: TaskSettings
    inputs: Json
    action: str
    parent: str | None
    cache_version: str | None = None


class EncodedCaller(Protocol):
    """Runs the tasks that a task in a container calls."""

    async def call_encoded(self, call: EncodedCall) -> Json:
        """Run the task and return its encoded output, or raise what it raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt at a task.

    Attributes:
        settings: of the task, as the call has overridden them.
        inputs: encoded, by parameter name.
        context: what the task may know; ``context.action.name`` is the action's id.
        caller: runs the tasks that this one calls, in this process.
        encoded: runs those that it calls from a container.
        recorder: receives traces, groups, logs and reports.
    """

    task: RunnableTask
    settings: TaskSettings
    inputs: Json
    context: TaskContext
    caller: Caller
    encoded: EncodedCaller
    recorder: Recorder


class Executor(Protocol):
    """Runs attempts: in this process, in containers, on a cluster.

    It may be used from several event loops at the same time.
    """

    def check(self, attempt: Attempt) -> None:
        """Raise what can be known to be wrong before anything waits or starts."""

    async def execute(self, attempt: Attempt, placed: Placed) -> Json:
        """Run the task and return its encoded output.

        Cancelling it ends what runs, and leaves nothing behind.

        Raises:
            BaseException: what the task raised.
            BaseRuntimeError: it was killed, took too much memory, could not start.
        """

    def delay(self, attempt: Attempt) -> str | None:
        """Return why an attempt does not run yet, where that is known."""

    def close(self) -> None:
        """End what is kept warm."""


class Placed(Protocol):
    """Is told where an attempt runs, when it starts to run.

    The time until then was spent in the queue.
    """

    def __call__(self, image: str | None = None, place: str | None = None) -> None:
        """Take note of the image and the container; None in this process."""
