"""The process in a container that loads the user's code and runs tasks."""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import sys
import tempfile
import threading
from typing import Any, NoReturn

from imagekit.context import TaskContext, activated, first_active
from imagekit.failures import encode_failure
from imagekit.frames import FrameError
from imagekit.report import Report
from imagekit.run_events import Json
from imagekit.running.in_process import in_thread
from imagekit.runtime.channel import Channel
from imagekit.runtime.host import Answers, HostCaller, HostRecorder
from imagekit.runtime.log_marks import owner_of
from imagekit.runtime.memory import memory
from imagekit.runtime.messages import (
    LOADING,
    PROTOCOL,
    Call,
    Cancel,
    Message,
    Raised,
    Ready,
    Returned,
    Setup,
    Stop,
    context_of,
)
from imagekit.runtime.output import Output
from imagekit.runtime.task_module import find_task, load_module
from imagekit.task import TaskTemplate
from imagekit.task_errors import RunAbortedError, RuntimeSystemError, RuntimeUserError
from imagekit.task_settings import TaskSettings
from imagekit.value_blobs import ValueBlobs
from imagekit.values import blob_digests

#: Exit code where the other side has gone or makes no sense.
_ALONE = 70
#: Seconds that the last messages get.
_LAST_WORDS = 60.0


def main(incoming: int, outgoing: int) -> NoReturn:
    """Do what comes in frames from *incoming*, until there is nothing more."""
    # Killed by whoever may: then the supervisor tells that it was a signal.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with tempfile.TemporaryDirectory(prefix="imagekit-") as folder:
        blobs = ValueBlobs(os.path.join(folder, "blobs"))
        channel = Channel(
            os.fdopen(incoming, "rb"), os.fdopen(outgoing, "wb", buffering=0), blobs
        )
        channel.start()
        worker = _set_up(channel, blobs)
        if worker is not None:
            asyncio.run(worker.serve())
        channel.finish()
        channel.wait(_LAST_WORDS)
    sys.exit(0)


def _set_up(channel: Channel, blobs: ValueBlobs) -> Worker | None:
    """Prepare this process and load the user's code; None if that can't be done."""
    setup = _next(channel)
    if not isinstance(setup, Setup):
        os._exit(_ALONE)
    try:
        _check_protocol(setup)
        os.environ.update(setup.variables)
        for path, content in setup.files.items():
            _write_secret(path, content)
        output = Output(setup.token, concurrency=setup.concurrency)
        output.install()
        module = load_module(setup.module, setup.code, setup.paths)
    except BaseException as error:  # noqa: BLE001  (it is reported)
        channel.send(Raised(number=LOADING, error=encode_failure(error)))
        return None
    channel.send(Ready(python=platform.python_version()))
    return Worker(channel, blobs, setup, output, module.__name__)


def _check_protocol(setup: Setup) -> None:
    if setup.protocol != PROTOCOL:
        raise RuntimeSystemError(
            f"the image's imagekit speaks version {PROTOCOL} of the worker's "
            f"protocol, the one that started it version {setup.protocol}",
            hint="build the image anew, with the same imagekit",
        )


def _write_secret(path: str, content: str) -> None:
    """Write what nobody else may read."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with open(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
        file.write(content)


def _next(channel: Channel) -> Message:
    """Return the next message; end this process if there is none."""
    try:
        message = channel.receive()
    except FrameError:
        message = None
    if message is None:
        # Nobody wants a result any more. What the user's code has registered for its
        # end is not run: it might wait for ever.
        os._exit(_ALONE)
    return message


class Worker:
    """Runs tasks as they are called.

    Args:
        channel: to the other side.
        blobs: the large parts of inputs and outputs.
        setup: what this worker is for.
        output: where what tasks print goes.
        module: name under which the setup's module was loaded.
    """

    def __init__(
        self,
        channel: Channel,
        blobs: ValueBlobs,
        setup: Setup,
        output: Output,
        module: str,
    ) -> None:
        self._modules = {setup.module: module}
        self._channel = channel
        self._blobs = blobs
        self._setup = setup
        self._output = output
        self._answers = Answers()
        self._running: dict[int, asyncio.Task[None]] = {}

    async def serve(self) -> None:
        """Run what is called until the other side says that nothing will come."""
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()

        def listen() -> None:
            while not isinstance(message := _next(self._channel), Stop):
                if isinstance(message, Returned | Raised):
                    self._answers.answer(message)
                else:
                    loop.call_soon_threadsafe(self._take, message)
            # What the user's code has registered for its end is run, as far as the
            # supervisor lets it.
            loop.call_soon_threadsafe(stopped.set)

        threading.Thread(target=listen, name="imagekit calls", daemon=True).start()
        await stopped.wait()

    def _take(self, message: Message) -> None:
        if isinstance(message, Call):
            task = asyncio.create_task(self._run(message), name=message.task)
            self._running[message.number] = task
            task.add_done_callback(lambda _: self._running.pop(message.number))
        elif isinstance(message, Cancel) and message.number in self._running:
            self._running[message.number].cancel()

    async def _run(self, call: Call) -> None:
        """Run a task, and send what becomes of it."""
        context = context_of(call.context)
        renamed: dict[str, str] = {}
        try:
            with self._output.of(owner_of(context.action)):
                if call.module not in self._modules:
                    await asyncio.to_thread(self._load, call.module)
                here = self._modules[call.module]
                if here != call.called:
                    renamed[here] = call.called
                output = await self._result(call, context, renamed)
        except BaseException as error:  # noqa: BLE001  (it is handed on)
            failure = _portable(error, call.task)
            answer = Raised(
                number=call.number,
                error=encode_failure(failure, renamed=renamed),
                out_of_memory=memory().killed,
            )
            self._channel.send(answer)
            return
        self._channel.send(
            Returned(number=call.number, output=output),
            blob_digests(output),
            failed=lambda error: self._channel.send(
                Raised(number=call.number, error=encode_failure(error))
            ),
        )

    def _load(self, module: str) -> None:
        self._modules[module] = load_module(
            module, self._setup.code, self._setup.paths
        ).__name__

    async def _result(
        self, call: Call, context: TaskContext, renamed: dict[str, str]
    ) -> Json:
        """Run a task, and return its encoded output."""
        task = find_task(call.task)
        settings = TaskSettings.from_json(call.settings)
        recorder = HostRecorder(self._channel, call.number)
        caller = HostCaller(
            self._channel, self._answers, self._blobs, by=call.number, renamed=renamed
        )
        report = Report(task.name) if settings.report else None
        state = first_active(context, caller, recorder, report=report)
        back = {there: here for here, there in renamed.items()}
        with tempfile.TemporaryDirectory(prefix="imagekit-files-") as files:
            values = task.interface.decode_inputs(
                call.inputs, self._blobs, renamed=back, files=files
            )
            with activated(state):
                try:
                    value = await _called(task, values)
                finally:
                    if report is not None:
                        report.publish(context.action.name, recorder)
            return task.interface.encode_output(value, self._blobs, renamed=renamed)


async def _called(task: TaskTemplate[..., Any], values: dict[str, object]) -> Any:
    if task.is_async:
        return await task.func(**values)
    return await in_thread(lambda: task.func(**values), name=task.name)


def _portable(error: BaseException, task: str) -> BaseException:
    """Return what to raise in another process for what a task has raised."""
    found: BaseException
    match error:
        case asyncio.CancelledError():
            # Where it was the other side that has cancelled it, nobody listens.
            found = RunAbortedError(f"the task {task!r} was cancelled")
        case SystemExit() | KeyboardInterrupt():
            code = f"({error.code!r})" if isinstance(error, SystemExit) else ""
            found = RuntimeUserError(
                f"the task {task!r} raised {type(error).__name__}{code} instead of "
                "returning",
                hint="return a value, or raise another exception",
            )
        case _:
            return error
    found.__cause__ = error
    return found
