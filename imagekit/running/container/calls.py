"""The calls that run in one container, and what is heard of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, TypeAlias

from imagekit.frames import FrameError
from imagekit.records import dataclass
from imagekit.running.attempt import Attempt
from imagekit.running.container.nested import NestedCalls
from imagekit.runtime.log_marks import owner_of
from imagekit.runtime.messages import (
    Cancel,
    Message,
    NestedCall,
    Raised,
    Recorded,
    Returned,
    event_of,
)

Answer: TypeAlias = Returned | Raised


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCall:
    """A call that runs.

    Attributes:
        loop: waits for it, and runs what it calls.
        heard: done when all its output has come.
    """

    attempt: Attempt
    loop: asyncio.AbstractEventLoop
    nested: NestedCalls
    answer: Future[Answer]
    heard: Future[None]

    @property
    def action(self) -> str:
        """What the action is called in marks of its output."""
        return owner_of(self.attempt.context.action)

    def fail(self, error: BaseException) -> None:
        """Have it raise *error*, unless it is answered already."""
        with suppress(InvalidStateError):
            self.answer.set_exception(error)

    def settle(self, answer: Answer) -> None:
        """Answer it, unless it is answered already."""
        with suppress(InvalidStateError):
            self.answer.set_result(answer)


class RunningCalls:
    """Calls by number and by action; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbered: dict[int, RunningCall] = {}
        self._actions: dict[str, RunningCall] = {}
        self._error: Callable[[str], BaseException] | None = None

    def add(self, number: int, call: RunningCall) -> None:
        """Take a call in; raise if none can run any more."""
        with self._lock:
            if self._error is None:
                self._numbered[number] = call
                self._actions[call.action] = call
                return
            error = self._error(call.action)
        raise error

    def remove(self, number: int) -> None:
        """Forget a call."""
        with self._lock:
            call = self._numbered.pop(number)
            if self._actions.get(call.action) is call:
                del self._actions[call.action]

    def end(self, error: Callable[[str], BaseException]) -> None:
        """Have all calls raise an error, and those that are to be added.

        Args:
            error: makes it, for each call its own, whose action it is given.
        """
        with self._lock:
            self._error = error
            calls = list(self._numbered.values())
        for call in calls:
            call.fail(error(call.action))

    def answer_all(self, answer: Answer) -> None:
        """Answer all calls alike."""
        with self._lock:
            calls = list(self._numbered.values())
        for call in calls:
            call.settle(answer)

    def printed(self, action: str, data: bytes | None) -> None:
        """Hand on what *action* has printed; None if that was all."""
        with self._lock:
            call = self._actions.get(action)
        if call is None:
            return  # printed while no task runs: nobody's
        if data is None:
            with suppress(InvalidStateError):
                call.heard.set_result(None)
        elif data:
            call.attempt.recorder.log(call.attempt.context.action.name, data)

    def take(self, message: Message) -> None:
        """Hand on what a worker says of a call.

        Raises:
            FrameError: a worker does not say such a thing.
        """
        match message:
            case Returned(number=number) | Raised(number=number):
                self._of(number, lambda call: call.settle(message))
            case NestedCall(by=number):
                self._of(
                    number, lambda call: _in_loop(call, call.nested.start, message)
                )
            case Recorded(by=number, event=event):
                document = event_of(event)
                self._of(number, lambda call: call.attempt.recorder.record(document))
            case Cancel(number=nested):
                with self._lock:
                    calls = list(self._numbered.values())
                for call in calls:
                    _in_loop(call, call.nested.cancel, nested)
            case _:
                raise FrameError(f"wanted news of a call, found {message!r}")

    def _of(self, number: int, do: Callable[[RunningCall], object]) -> None:
        """Do something with a call, if it is still waited for."""
        with self._lock:
            call = self._numbered.get(number)
        if call is not None:
            do(call)


def _in_loop(call: RunningCall, do: Callable[..., object], *arguments: Any) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        call.loop.call_soon_threadsafe(do, *arguments)
