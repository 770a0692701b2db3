"""Attempts at a task, one after the other, each with its timeouts."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from imagekit.failures import encode_failure
from imagekit.records import dataclass, replace
from imagekit.run_events import (
    AttemptEnded,
    AttemptStarted,
    Json,
    Recorder,
    Status,
)
from imagekit.running.attempt import Attempt, Executor, RunnableTask
from imagekit.running.background import in_background
from imagekit.task_errors import (
    ImageBuildError,
    InlineIOMaxBytesBreached,
    ModuleLoadError,
    NonRecoverableError,
    RunAbortedError,
    RuntimeDataValidationError,
    TaskInterruptedError,
    TaskTimeoutError,
    WorkerLostError,
)

#: What will not be better the next time.
_FINAL = (
    ImageBuildError,
    InlineIOMaxBytesBreached,
    ModuleLoadError,
    NonRecoverableError,
    RunAbortedError,
    RuntimeDataValidationError,
)
#: How often an interruptible task is begun again when it was killed from outside,
#: beside its retries.
INTERRUPTIONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How far the attempts at a task are.

    Attributes:
        number: of the attempt that is on, from 1.
        failures: how many before it failed.
        interruptions: how many before it were killed from outside, and don't count.
    """

    number: int = 1
    failures: int = 0
    interruptions: int = 0


class History(Protocol):
    """Knows attempts of processes that came before this one."""

    def before(self, action: str) -> tuple[Tally, Exception | None]:
        """Return the attempt that was on last, and how it ended.

        None, with the attempt to begin with, if there was none.
        """

    async def begin(self, action: str, tally: Tally) -> None:
        """Take note, for processes to come, that an attempt begins."""


class Attempts:
    """Runs attempts until one succeeds, or no retry is left."""

    def __init__(
        self,
        executor: Executor,
        recorder: Recorder,
        *,
        prepare: Callable[[RunnableTask], object] | None,
        history: History | None = None,
    ) -> None:
        self._executor = executor
        self._recorder = recorder
        self._prepare = prepare
        self._history = history
        self._random = random.Random()  # noqa: S311  (jitter, no secret)

    async def run(self, attempt: Attempt) -> Json:
        """Return the outputs of the first good attempt.

        Raises:
            BaseException: that of the last attempt.
        """
        self._executor.check(attempt)
        if self._prepare is not None:
            prepare = partial(self._prepare, attempt.task)
            await in_background(prepare, name="imagekit prepare")
        action = attempt.context.action.name
        tally, error = Tally(), None
        if self._history is not None:
            tally, error = self._history.before(action)
        while True:
            if error is not None:
                tally = await self._next(attempt, tally, error)
            if self._history is not None:
                await self._history.begin(action, tally)
            try:
                return await self._one(_numbered(attempt, tally.number))
            except Exception as found:  # noqa: BLE001  (raised again, or tried again)
                error = found

    async def _next(self, attempt: Attempt, tally: Tally, error: Exception) -> Tally:
        """Wait until another attempt is due; raise *error* if none is."""
        settings = attempt.settings
        interruptions, failures = tally.interruptions, tally.failures
        number = tally.number + 1
        if settings.interruptible and _was_killed(error):
            interruptions += 1
            if interruptions <= INTERRUPTIONS:
                return Tally(
                    number=number, failures=failures, interruptions=interruptions
                )
        failures += 1
        if isinstance(error, _FINAL) or failures > settings.retries.count:
            _note(error, tally.number)
            raise error
        await asyncio.sleep(settings.retries.delay(failures, self._random))
        return Tally(number=number, failures=failures, interruptions=interruptions)

    async def _one(self, attempt: Attempt) -> Json:
        """Run one attempt, recorded, within its time."""
        begun: list[float] = []
        try:
            outputs = await self._timed(attempt, begun)
        except BaseException as error:
            self._ended(attempt, begun, status_of(error), encode_failure(error))
            raise
        self._ended(attempt, begun, "succeeded", None)
        return outputs

    async def _timed(self, attempt: Attempt, begun: list[float]) -> Json:
        loop = asyncio.get_running_loop()
        running = asyncio.Event()

        def placed(image: str | None = None, place: str | None = None) -> None:
            begun.append(time.time())
            self._recorder.record(
                AttemptStarted(
                    id=attempt.context.action.name,
                    number=attempt.context.attempt,
                    time=begun[0],
                    image=image,
                    place=place,
                )
            )
            loop.call_soon_threadsafe(running.set)

        timeout = attempt.settings.timeout
        work = asyncio.ensure_future(self._executor.execute(attempt, placed))
        started = asyncio.ensure_future(running.wait())
        try:
            queued = timeout.queued_seconds if timeout else None
            await asyncio.wait(
                {work, started}, timeout=queued, return_when=asyncio.FIRST_COMPLETED
            )
            if not running.is_set() and not work.done():
                raise _late(
                    attempt, queued, "waited to run", self._executor.delay(attempt)
                )
            limit = timeout.runtime_seconds if timeout else None
            await asyncio.wait({work}, timeout=limit)
            if not work.done():
                raise _late(attempt, limit, "ran")
            return work.result()
        finally:
            started.cancel()
            await _end(work)

    def _ended(
        self, attempt: Attempt, begun: list[float], status: Status, error: Json
    ) -> None:
        if not begun:
            return  # it never ran
        self._recorder.record(
            AttemptEnded(
                id=attempt.context.action.name,
                number=attempt.context.attempt,
                time=time.time(),
                status=status,
                error=error,
            )
        )


async def _end(work: asyncio.Future[Json]) -> None:
    """Have *work* end, whatever it was doing."""
    if not work.done():
        work.cancel()
        await asyncio.wait({work})
    if not work.cancelled():
        work.exception()  # it is known that it was given up


def _numbered(attempt: Attempt, number: int) -> Attempt:
    return replace(attempt, context=replace(attempt.context, attempt=number))


def _was_killed(error: Exception) -> bool:
    return isinstance(error, TaskInterruptedError | WorkerLostError)


def status_of(error: BaseException) -> Status:
    """Return how what raised *error* ended."""
    if isinstance(error, TaskTimeoutError):
        return "timed-out"
    return "failed" if isinstance(error, Exception) else "aborted"


def _note(error: Exception, number: int) -> None:
    if number > 1:
        error.add_note(f"imagekit: this was attempt {number}, the last one")


def _late(
    attempt: Attempt, seconds: float | None, what: str, why: str | None = None
) -> TaskTimeoutError:
    return TaskTimeoutError(
        f"the task {attempt.task.name!r} {what} for more than {seconds:g} s, its "
        f"timeout{f': {why}' if why else ''}",
        hint="give it more time: @env.task(timeout=...)",
        origin=str(attempt.task.origin),
    )
