"""What a process and the worker in its container say to each other."""

from __future__ import annotations

from typing import Any, TypeAlias

from imagekit.context import ActionID, TaskContext
from imagekit.frames import Frame, FrameError
from imagekit.records import compared, dataclass, replace
from imagekit.run_events import (
    AttemptEnded,
    AttemptStarted,
    Ended,
    Event,
    Json,
    Reported,
    Started,
)

#: Version of the messages: both sides have to have the same.
PROTOCOL = 1
#: Number of the call that loads a task's module.
LOADING = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """To the worker, first: what it is for.

    Attributes:
        module: the module with the tasks: its name, or a path below *code*.
        code: folder with the code; empty if modules are found anyway.
        paths: folders that modules are found in beside it, the first one first.
        variables: environment variables that nobody else may see.
        files: contents of files that nobody else may see, by path.
        token: names what tells whose output follows; empty if all is of one task.
        concurrency: how many tasks run at a time.
    """

    protocol: int
    module: str
    code: str
    paths: list[str]
    variables: dict[str, str]
    files: dict[str, str]
    token: str
    concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """From the worker: the module is loaded."""

    python: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """To the worker: run a task; the answer has the same number.

    Attributes:
        task: full name.
        module: as in :class:`Setup`.
        called: what the module is called where the call comes from.
        settings: of the task, encoded.
        inputs: encoded, by parameter name.
        context: what the task may know, encoded.
    """

    number: int
    task: str
    module: str
    called: str
    settings: Json
    inputs: Json
    context: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedCall:
    """From the worker: a task has called another one.

    Attributes:
        number: of this call, among those that come from the worker.
        by: number of the call that runs the calling task.
        action: id that the caller gave the call.
        parent: id of what called it.
    """

    number: int
    by: int
    task: str
    settings: Json
    inputs: Json
    action: str
    parent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """Answers a call: it returned *output*, encoded."""

    number: int
    output: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """Answers a call: it raised *error*, an encoded failure.

    Attributes:
        out_of_memory: how many processes the kernel has killed in the container.
    """

    number: int
    error: Json
    out_of_memory: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """End a call; it is answered still."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """From the worker: an event of the call *by*, encoded."""

    by: int
    event: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A part of a blob, which later messages name; the last one has *last*."""

    digest: str
    last: bool
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """To the worker: no calls will come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Died:
    """From the supervisor, last: how the worker ended.

    Attributes:
        code: its exit code; None if a signal ended it.
        signal: the signal; None if it ended itself.
        out_of_memory: how many processes the kernel killed in the container.
        limit: bytes of memory that the container may take; None without a limit.
        peak: most bytes that it took; None where the kernel does not tell.
    """

    code: int | None
    signal: int | None
    out_of_memory: int
    limit: int | None
    peak: int | None


Message: TypeAlias = (
    Setup
    | Ready
    | Call
    | NestedCall
    | Returned
    | Raised
    | Cancel
    | Recorded
    | Chunk
    | Stop
    | Died
)
_TYPES: dict[str, Any] = {
    "setup": Setup,
    "ready": Ready,
    "call": Call,
    "nested": NestedCall,
    "returned": Returned,
    "raised": Raised,
    "cancel": Cancel,
    "recorded": Recorded,
    "chunk": Chunk,
    "stop": Stop,
    "died": Died,
}
_KINDS = {type_: kind for kind, type_ in _TYPES.items()}
_EVENTS: dict[str, Any] = {
    "started": Started,
    "attempt-started": AttemptStarted,
    "attempt-ended": AttemptEnded,
    "ended": Ended,
    "reported": Reported,
}
_EVENT_KINDS = {type_: kind for kind, type_ in _EVENTS.items()}
#: How the header of the last message begins.
DIED = b'{"kind":"died"'


def frame_of(message: Message) -> Frame:
    """Return *message* as a frame."""
    header = {"kind": _KINDS[type(message)], **_fields(message)}
    data = header.pop("data", b"")
    return Frame(header, data)


def message_of(frame: Frame) -> Message:
    """Return the message in *frame*.

    Raises:
        FrameError: there is none.
    """
    fields = dict(frame.header) if isinstance(frame.header, dict) else {}
    type_ = _TYPES.get(fields.pop("kind", ""))
    if type_ is Chunk:
        fields["data"] = frame.payload
    try:
        if type_ is not None:
            message: Message = type_(**fields)
            return message
    except TypeError as error:
        raise FrameError(f"wanted a message, found {frame.header!r}") from error
    raise FrameError(f"wanted a message, found {frame.header!r}")


def event_json(event: Event) -> Json:
    """Return *event* as a JSON document."""
    return {"event": _EVENT_KINDS[type(event)], **_fields(event)}


def event_of(document: Json) -> Event:
    """Return the event that :func:`event_json` wrote."""
    fields = dict(document)
    event: Event = _EVENTS[fields.pop("event")](**fields)
    return event


def context_json(context: TaskContext) -> Json:
    """Return *context* as a JSON document."""
    return {**_fields(context), "action": _fields(context.action)}


def context_of(document: Json) -> TaskContext:
    """Return the context that :func:`context_json` wrote."""
    context = TaskContext(**{**document, "action": ActionID(**document["action"])})
    return replace(
        context,
        labels=tuple((name, value) for name, value in context.labels),
        annotations=tuple((name, value) for name, value in context.annotations),
    )


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in compared(value)}
