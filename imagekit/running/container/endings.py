"""What it means that a container has ended without an answer."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable

from imagekit.frames import Frame, FrameError
from imagekit.records import dataclass
from imagekit.runtime.messages import DIED, Died, message_of
from imagekit.task_errors import (
    BaseRuntimeError,
    ImagePullBackOffError,
    OOMError,
    RunAbortedError,
    RuntimeSystemError,
    TaskInterruptedError,
    WorkerLostError,
)

#: Exit codes of ``docker run``: the engine said no, the program can't be executed,
#: there is no such program.
_REFUSED = 125
_NOT_EXECUTABLE = 126
_NO_PROGRAM = 127
#: Exit codes of containers that were ended by SIGKILL and SIGTERM.
KILLED = frozenset({137, 143})
_LINES = 12
_NO_IMAGE = ("unable to find image", "no such image")
_NO_ENGINE = (
    "cannot connect to the docker daemon",
    "is the docker daemon running",
    "error during connect",
    "failed to connect to the docker api",
    "permission denied while trying to connect",
)
_NO_IMAGEKIT = ("no module named imagekit", "no module named 'imagekit'")
_MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a container ended.

    Attributes:
        code: exit code of the ``docker`` command.
        died: what the supervisor said last; None if it said nothing.
        frames: whether the worker had begun at all.
        tail: what was printed last, by tasks or the ``docker`` command.
        engine: whether the engine answered afterwards.
    """

    code: int
    died: Died | None
    frames: bool
    tail: str
    engine: bool = True


def error_of(ending: Ending, *, image: str, container: str) -> BaseRuntimeError:
    """Return what to raise for calls that ran in a container, or were to."""
    if ending.died is not None:
        return death(ending.died, ending.tail, container)
    said = ending.tail.lower()
    if not ending.engine or (not ending.frames and _has(said, _NO_ENGINE)):
        return RuntimeSystemError(
            f"no Docker engine answers any more: {_last_line(ending.tail)}",
            hint="start Docker, or see its log for why it stopped",
        )
    if not ending.frames:
        return _no_start(ending, said, image)
    if ending.code in KILLED:
        return TaskInterruptedError(
            f"the container {container!r} was killed from outside",
            hint="tasks of environments with interruptible=True are tried again",
        )
    return WorkerLostError(
        f"the container {container!r} ended with exit code {ending.code} and said "
        f"nothing{quoted(ending.tail)}"
    )


def last_words(tail: bytes) -> Died | None:
    """Return what the supervisor said behind half a frame of the worker."""
    start = tail.rfind(DIED)
    if start < 0:
        return None
    try:
        found = message_of(Frame(json.loads(tail[start:])))
    except (ValueError, FrameError):
        return None  # not all of it came
    return found if isinstance(found, Died) else None


def stopped() -> BaseException:
    """Return what calls raise that nobody waits for any more."""
    return RunAbortedError("the container was stopped while the task ran in it")


def unusable(fault: Exception, name: str) -> Callable[[], BaseException]:
    """Return what makes the errors of calls in a container that makes no sense."""

    def make() -> BaseException:
        error = RuntimeSystemError(f"can't go on with the container {name!r}: {fault}")
        error.__cause__ = fault
        return error

    return make


def killed_for(task: str, container: str) -> BaseException:
    """Return what other calls raise that ran in a container with a stubborn task."""
    return WorkerLostError(
        f"the container {container!r} was killed, because {task!r}, which ran in it "
        "too, did not stop when it was cancelled"
    )


def death(died: Died, tail: str, container: str) -> BaseRuntimeError:
    """Return what to raise where a supervisor has told how its worker ended."""
    killed = died.signal == signal.SIGKILL
    if killed and died.out_of_memory:
        peak = "" if died.peak is None else f", its peak was {_size(died.peak)}"
        limit = "no limit" if died.limit is None else _size(died.limit)
        return OOMError(
            f"the task was killed because it took more memory than it may: the limit "
            f"is {limit}{peak}",
            hint="ask for more: Resources(memory=...)",
        )
    if killed or died.signal in (signal.SIGTERM, signal.SIGINT):
        name = signal.Signals(died.signal or 0).name
        return TaskInterruptedError(
            f"the worker in the container {container!r} was killed with {name}",
            hint="tasks of environments with interruptible=True are tried again",
        )
    if died.signal is not None:
        hint = None
        if died.signal == signal.SIGBUS:
            hint = "shared memory may have been full: ask for Resources(shm=...)"
        return WorkerLostError(
            f"the worker in the container {container!r} crashed with "
            f"{_signal_name(died.signal)}{quoted(tail)}",
            hint=hint,
        )
    return WorkerLostError(
        f"the worker in the container {container!r} ended with exit code {died.code} "
        f"before the task was done{quoted(tail)}",
        hint="tasks return or raise; they must not call os._exit()",
    )


def _no_start(ending: Ending, said: str, image: str) -> BaseRuntimeError:
    if _has(said, _NO_IMAGE):
        return ImagePullBackOffError(
            f"the local engine has no image {image!r}",
            hint="build it anew, or pull it with 'docker pull'",
        )
    if _has(said, _NO_IMAGEKIT):
        return RuntimeSystemError(
            f"the image {image!r} has no imagekit for its Python",
            hint="start from Image.from_debian_base(), or add imagekit to the image",
        )
    if ending.code in (_NOT_EXECUTABLE, _NO_PROGRAM):
        return RuntimeSystemError(
            f"no Python can be started in the image {image!r}: "
            f"{_last_line(ending.tail)}",
            hint="tasks need an image with Python 3.11 or newer",
        )
    if ending.code == _REFUSED:
        return RuntimeSystemError(
            f"the engine can't run the image {image!r}: {_last_line(ending.tail)}"
        )
    if ending.code in KILLED:
        return TaskInterruptedError(
            f"a container of the image {image!r} was killed before it had started"
        )
    return WorkerLostError(
        f"the worker did not start in the image {image!r}: exit code "
        f"{ending.code}{quoted(ending.tail)}"
    )


def _has(text: str, words: tuple[str, ...]) -> bool:
    return any(word in text for word in words)


def _last_line(text: str) -> str:
    """Return the last line that says something, without docker's own hints."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith("Run 'docker run --help'")]
    return told[-1] if told else "it said nothing"


def quoted(tail: str) -> str:
    """Return the last lines of *tail* for the end of a message."""
    lines = tail.strip().splitlines()[-_LINES:]
    if not lines:
        return ", and printed nothing"
    shown = "\n".join(f"  {line}" for line in lines)
    return f"; it had printed:\n{shown}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _size(count: int) -> str:
    return f"{count / _MIB:.1f} MiB"
