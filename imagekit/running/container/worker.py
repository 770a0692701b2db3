"""A worker, as the process that has it run tasks sees it."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from imagekit.failures import decode_failure
from imagekit.frames import CutFrameError, Readable
from imagekit.records import replace
from imagekit.redaction import Redactor
from imagekit.run_events import Json
from imagekit.running.attempt import Attempt
from imagekit.running.container.calls import Answer, RunningCall, RunningCalls
from imagekit.running.container.endings import (
    KILLED,
    Ending,
    killed_for,
    last_words,
    stopped,
    unusable,
)
from imagekit.running.container.nested import NestedCalls
from imagekit.running.container.slots import Slot
from imagekit.runtime.channel import Channel, ClosableWritable
from imagekit.runtime.log_marks import MarkedOutput, own_part
from imagekit.runtime.messages import (
    LOADING,
    Call,
    Cancel,
    Died,
    Message,
    Raised,
    Ready,
    Setup,
    Stop,
    context_json,
)
from imagekit.task_cache import Cache
from imagekit.task_settings import TaskSettings
from imagekit.value_blobs import ValueBlobs
from imagekit.values import blob_digests

#: Seconds that a worker gets for its end when it is told to stop.
_STOP = 5.0
#: Seconds that a task gets for its end when it is cancelled.
_CANCEL = 2.0
#: Seconds that output may come later than the result.
_OUTPUT = 2.0
#: Seconds after which nobody waits for a killed container any more.
_GONE = 30.0


class WorkerProcess(Protocol):
    """What a worker hangs on: a ``docker run``, or a process beside this one."""

    @property
    def stdin(self) -> ClosableWritable:
        """Takes frames."""

    @property
    def stdout(self) -> Readable:
        """Gives frames."""

    @property
    def tail(self) -> str:
        """What was printed last."""

    def print(self, data: bytes) -> None:
        """Take *data* for something that was printed."""

    def kill(self) -> None:
        """Begin to end it, if it has not ended."""

    def wait(self) -> int:
        """Return the exit code, once all was read and nothing is left."""

    def engine_answers(self) -> bool:
        """Return whether what it runs on is still there."""


class Worker:
    """Runs tasks somewhere else: calls go in, answers and logs come out.

    Args:
        start: starts what it runs in, and has what is printed there given to a
            function.
        setup: what it is for; with a token, output is marked, and the worker is used
            again and again.
        action: what is printed first is its output: see :func:`owner_of`.
        blobs: the large parts of inputs and outputs.
        name: name of the container or pod.
        image: reference of its image.
        explain: makes an error of how it ended, where it ended by itself.
        relayed: whether what tasks raise is only passed on: the user's classes are not
            here.

    Attributes:
        ended: done when nothing of it is left.
    """

    def __init__(
        self,
        start: Callable[[Callable[[bytes], None]], WorkerProcess],
        setup: Setup,
        *,
        action: str,
        blobs: ValueBlobs,
        name: str,
        image: str,
        explain: Callable[[Ending], BaseException],
        relayed: bool = False,
    ) -> None:
        self.name = name
        self._relayed = relayed
        self.image = image
        self._explain = explain
        self.ended: Future[None] = Future()
        self._token = setup.token
        self._reused = bool(setup.token)
        self._output = MarkedOutput(setup.token, action)
        self._numbers = itertools.count(LOADING + 1)
        self._calls = RunningCalls()
        self._frames = self._deaf = self._over = False
        self._died: Died | None = None
        self._why: Callable[[], BaseException] | None = None
        self._unheard: Callable[[], BaseException] | None = None
        # What was printed last is part of errors.
        self._redactor = Redactor((*setup.variables.values(), *setup.files.values()))
        self._process = start(self._printed)
        self._channel = Channel(self._process.stdout, self._process.stdin, blobs)
        self._channel.start()
        self._channel.send(setup)
        threading.Thread(target=self._read, name="imagekit worker", daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether it can take calls."""
        return self._why is None and not self._over

    @property
    def was_stopped(self) -> bool:
        """Whether it was told to end, or has said why it does."""
        return self._why is not None

    async def call(
        self, attempt: Attempt, module: str, slot: Slot | None = None
    ) -> Json:
        """Run a task, and return its encoded output.

        When this is cancelled, the task is. If it does not end soon, or is not async,
        the whole container is killed.

        Args:
            attempt: what to run.
            module: the task's module, as in :class:`TaskImage`.
            slot: is paused while the task waits for others.

        Raises:
            BaseException: what the task raised.
            BaseRuntimeError: the container ended.
        """
        number = next(self._numbers)
        call = RunningCall(
            attempt=attempt,
            loop=asyncio.get_running_loop(),
            nested=NestedCalls(attempt, self._channel, slot),
            answer=Future(),
            heard=Future(),
        )
        self._calls.add(number, call)
        try:
            self._send(number, call, module)
            answer = await self._answered(number, call)
            await self._heard(call)
        except BaseException:
            if not self._reused:
                self.kill()
            raise
        finally:
            try:
                await call.nested.end()
                if not self._reused:
                    await self.gone()
            finally:
                self._calls.remove(number)
        if isinstance(answer, Raised):
            raise _error(answer, kept=self._relayed)
        if self._unheard is not None:
            # It may have returned before all that it had printed came.
            raise self._unheard()
        return answer.output

    def stop(self) -> None:
        """Let the worker end; kill it if it does not."""
        self._why = self._why or stopped
        self._channel.send(Stop())
        self._channel.finish()
        timer = threading.Timer(_STOP, self.kill)
        timer.daemon = True
        timer.start()
        self.ended.add_done_callback(lambda _: timer.cancel())

    def kill(self, why: Callable[[], BaseException] | None = None) -> None:
        """Begin to end it; *why* makes the error of calls that run in it."""
        self._why = self._why or why or stopped
        self._channel.finish()
        self._process.kill()

    async def gone(self) -> None:
        """Wait until nothing of it is left."""
        try:
            await asyncio.wait({asyncio.wrap_future(self.ended)}, timeout=_GONE)
        except asyncio.CancelledError:
            self.kill()
            raise

    def _send(self, number: int, call: RunningCall, module: str) -> None:
        attempt = call.attempt
        message = Call(
            number=number,
            task=attempt.task.name,
            module=module,
            called=attempt.task.called,
            settings=_settings(attempt.settings).to_json(),
            inputs=attempt.inputs,
            context=context_json(attempt.context),
        )
        self._channel.send(message, blob_digests(attempt.inputs), failed=call.fail)

    async def _answered(self, number: int, call: RunningCall) -> Answer:
        answer = asyncio.wrap_future(call.answer)
        try:
            await asyncio.wait({answer})
        except asyncio.CancelledError:
            try:
                await self._cancelled(number, call, answer)
            finally:
                if not answer.cancel():
                    answer.exception()  # seen, and of no interest any more
                elif self._reused:
                    self.kill(lambda: killed_for(call.attempt.task.name, self.name))
            raise
        return answer.result()

    async def _heard(self, call: RunningCall) -> None:
        """Wait until all that the task has printed is here."""
        if self._reused:
            await asyncio.wait({asyncio.wrap_future(call.heard)}, timeout=_OUTPUT)
        else:
            self.stop()
            await self.gone()

    async def _cancelled(
        self, number: int, call: RunningCall, answer: asyncio.Future[Answer]
    ) -> None:
        """Have a task end, if it can. A thread can't be ended."""
        if self._reused and call.attempt.task.is_async:
            self._channel.send(Cancel(number=number))
            await asyncio.wait({answer}, timeout=_CANCEL)

    def _printed(self, data: bytes) -> None:
        if self._deaf:
            return
        try:
            for action, part in self._output.feed(data):
                self._calls.printed(action, part)
        except Exception as error:  # noqa: BLE001  (the calls raise it)
            # What is printed is read on, or the container would wait for ever.
            self._deaf = True
            self._unheard = unusable(error, self.name)
            self.kill(self._unheard)

    def _read(self) -> None:
        """Take what the worker says, until nothing of the container is left."""
        try:
            self._process.print(self._channel.reader.preamble())
            self._frames = True
            while (message := self._channel.receive()) is not None:
                self._take(message)
        except CutFrameError as error:
            if self._frames:
                self._died = last_words(error.tail)
            else:
                self._process.print(error.tail)
        except Exception as error:  # noqa: BLE001  (the calls raise it)
            self.kill(unusable(error, self.name))
        self._channel.finish()
        self._end(self._process.wait())

    def _take(self, message: Message) -> None:
        match message:
            case Ready():
                pass
            case Died():
                self._died = message
            case Raised(number=number) if number == LOADING:
                self._why = self._why or (lambda: _error(message, kept=self._relayed))
                self._calls.answer_all(message)
            case _:
                self._calls.take(message)

    def _end(self, code: int) -> None:
        # Before the calls in it fail: nobody is to send another one then.
        self._over = True
        self._printed_last()
        ending = Ending(
            code=code,
            died=self._died,
            frames=self._frames,
            tail=self._process.tail,
            engine=self._why is not None
            or self._died is not None
            or code in KILLED
            or self._process.engine_answers(),
        )
        self._calls.end(lambda action: self._error(ending, action))
        self.ended.set_result(None)

    def _error(self, ending: Ending, action: str) -> BaseException:
        """Return what the call of *action* raises, now that there is no worker."""
        if self._why is not None:
            return self._why()
        tail = own_part(self._token, ending.tail, action)
        return self._explain(replace(ending, tail=self._redactor(tail)))

    def _printed_last(self) -> None:
        if self._deaf:
            return
        try:
            self._calls.printed(self._output.action, self._output.close())
        except Exception as error:  # noqa: BLE001  (the calls raise it)
            self._unheard = unusable(error, self.name)


def _settings(settings: TaskSettings) -> TaskSettings:
    """Return what matters to a worker; secrets and a cache's policies stay here."""
    return replace(
        settings,
        cache=Cache("disable"),
        env_vars=(),
        secrets=(),
        resources=None,
        pod_template=None,
    )


def _error(raised: Raised, *, kept: bool) -> BaseException:
    error = decode_failure(raised.error, kept=kept)
    if raised.out_of_memory:
        error.add_note(
            "imagekit: the kernel has killed processes of this container, as it took "
            "more memory than it may; ask for more: Resources(memory=...)"
        )
    return error
