"""The other side, as tasks in this container see it: it runs what they call."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeAlias

from imagekit.context import Active
from imagekit.failures import decode_failure
from imagekit.run_events import Event, Json
from imagekit.running.attempt import EncodedCall
from imagekit.runtime.channel import Channel
from imagekit.runtime.messages import (
    Cancel,
    NestedCall,
    Raised,
    Recorded,
    Returned,
    event_json,
)
from imagekit.task_cache import VersionParameters
from imagekit.task_settings import TaskSettings
from imagekit.value_blobs import ValueBlobs
from imagekit.values import blob_digests

if TYPE_CHECKING:
    from imagekit.task import TaskTemplate

Answer: TypeAlias = Returned | Raised


class Answers:
    """The calls that wait for an answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Future[Answer]] = {}

    def new(self) -> tuple[int, Future[Answer]]:
        """Return the number of a new call, and what will hold its answer."""
        future: Future[Answer] = Future()
        with self._lock:
            number = next(self._numbers)
            self._waiting[number] = future
        return number, future

    def answer(self, answer: Answer) -> None:
        """Hand *answer* to who waits for it; nobody may, any more."""
        with self._lock:
            future = self._waiting.pop(answer.number, None)
        if future is not None and future.set_running_or_notify_cancel():
            future.set_result(answer)

    def fail(self, number: int, error: Exception) -> None:
        """Have the call raise *error*: it could not be sent."""
        with self._lock:
            future = self._waiting.pop(number, None)
        if future is not None and future.set_running_or_notify_cancel():
            future.set_exception(error)


class HostCaller:
    """Has tasks run that a task here calls.

    Args:
        channel: to the other side.
        answers: where those to calls arrive.
        blobs: the large parts of inputs and outputs.
        by: number of the call that runs the calling task.
        renamed: modules here, and what they are called on the other side.
    """

    def __init__(
        self,
        channel: Channel,
        answers: Answers,
        blobs: ValueBlobs,
        *,
        by: int,
        renamed: Mapping[str, str],
    ) -> None:
        self._renamed = renamed
        self._back = {there: here for here, there in renamed.items()}
        self._channel = channel
        self._answers = answers
        self._blobs = blobs
        self._by = by

    async def call(
        self, task: TaskTemplate[..., Any], inputs: Mapping[str, object], by: Active
    ) -> Any:
        """Have *task* run, and return what it returns."""
        call = EncodedCall(
            task=task.name,
            settings=_versioned(task),
            inputs=task.interface.encode_inputs(
                inputs, self._blobs, renamed=self._renamed
            ),
            action=by.next_id(),
            parent=by.id,
        )
        output = await self.call_encoded(call)
        return task.interface.decode_output(output, self._blobs, renamed=self._back)

    async def call_encoded(self, call: EncodedCall) -> Json:
        """Have a task run, and return its encoded output."""
        assert call.parent is not None  # tasks call it
        number, future = self._answers.new()
        message = NestedCall(
            number=number,
            by=self._by,
            task=call.task,
            settings=call.settings.to_json(),
            inputs=call.inputs,
            action=call.action,
            parent=call.parent,
        )
        self._channel.send(
            message,
            blob_digests(call.inputs),
            failed=lambda error: self._answers.fail(number, error),
        )
        try:
            answer = await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            self._channel.send(Cancel(number=number))
            raise
        if isinstance(answer, Raised):
            raise decode_failure(answer.error, renamed=self._back)
        return answer.output


class HostRecorder:
    """Sends events to be recorded; what tasks print goes another way.

    Args:
        channel: to the other side.
        by: number of the call that they are of.
    """

    def __init__(self, channel: Channel, by: int) -> None:
        self._channel = channel
        self._by = by

    def record(self, event: Event) -> None:
        """Send *event*."""
        self._channel.send(Recorded(by=self._by, event=event_json(event)))

    def log(self, action: str, data: bytes) -> None:  # noqa: ARG002  (it is this task's)
        """Write *data* where the task's output goes."""
        import sys  # noqa: PLC0415  (tasks may have replaced its streams)

        sys.stdout.write(data.decode(errors="replace"))


def _versioned(task: TaskTemplate[..., Any]) -> TaskSettings:
    """Return settings with a version of the cache: it is made from the code here."""
    settings = task.settings
    cache = settings.cache
    if cache.version_override is not None or not cache.is_enabled():
        return settings
    parameters = VersionParameters(func=task.func, image=task.environment.image)
    return settings.with_cache_version(cache.get_version(parameters))
