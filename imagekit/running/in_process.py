"""Runs attempts in this process.

Async tasks run in the caller's event loop, sync tasks in a thread of their own, so that
both can be given up when their time is over. Python can't end a thread: one that hangs
outside of Python code is left behind, as a daemon.
"""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from imagekit.context import activated, first_active
from imagekit.run_events import Json
from imagekit.running.attempt import Attempt, Placed, template_of
from imagekit.running.variables import PROCESS
from imagekit.secret import Secret
from imagekit.secret_values import secret_value
from imagekit.task_errors import RuntimeUserError
from imagekit.value_blobs import ValueBlobs

#: Seconds that a thread gets for leaving when it is told to.
_GRACE = 0.5


class InProcessExecutor:
    """Runs tasks here.

    Limits of memory and processors are those of this process.

    Args:
        blobs: the binary parts of inputs and outputs.
        files: folder for the files that tasks get; None for temporary ones.
        environ: where secrets are looked for.
    """

    def __init__(
        self,
        blobs: ValueBlobs,
        *,
        files: str | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._blobs = blobs
        self._files = files
        self._environ = environ

    def check(self, attempt: Attempt) -> None:
        """Raise for secrets that can't be given here, or are nowhere."""
        for secret in attempt.settings.secrets:
            _check_place(secret, attempt)
            secret_value(secret, environ=self._environ, origin=_origin(attempt))

    async def execute(self, attempt: Attempt, placed: Placed) -> Json:
        """Run the task."""
        settings = attempt.settings
        variables = dict(settings.env_vars) | {
            secret.as_env_var: secret_value(secret, environ=self._environ)
            for secret in settings.secrets
            if secret.as_env_var is not None
        }
        action = attempt.context.action
        async with PROCESS.set(action.run_name, action.name, variables):
            placed()
            task = template_of(attempt.task)
            interface = task.interface
            values = interface.decode_inputs(
                attempt.inputs, self._blobs, files=self._files
            )
            report = _report(attempt)
            state = first_active(
                attempt.context, attempt.caller, attempt.recorder, report=report
            )
            with activated(state):
                try:
                    value = await _called(task, values)
                except SystemExit as error:
                    # It would end the event loop, and all that runs in it.
                    raise RuntimeUserError(
                        f"the task {attempt.task.name!r} raised SystemExit"
                        f"({error.code!r}) instead of returning",
                        hint="return a value, or raise another exception",
                        origin=_origin(attempt),
                    ) from error
                finally:
                    if report is not None:
                        report.publish(action.name, attempt.recorder)
            return interface.encode_output(value, self._blobs)

    def delay(self, attempt: Attempt) -> str | None:  # noqa: ARG002  (the contract's)
        """Return None: other tasks have what it waits for."""
        return None

    def close(self) -> None:
        """Do nothing: nothing is kept."""


def _report(attempt: Attempt) -> Any:
    if not attempt.settings.report:
        return None
    from imagekit.report import Report  # noqa: PLC0415  (few tasks have one)

    return Report(attempt.task.name)


async def _called(task: Any, values: Mapping[str, object]) -> Any:
    if task.is_async:
        return await task.func(**values)
    return await in_thread(lambda: task.func(**values), name=task.name)


async def in_thread(function: Callable[[], Any], *, name: str) -> Any:
    """Run *function* in a new thread with this context, and wait for it.

    Cancelled, it raises CancelledError in the thread, and gives up on it after a short
    while.
    """
    # With its error as a value: a future would make another TimeoutError of one, and
    # complain of errors that nobody waits for any more.
    done: Future[tuple[Any, BaseException | None]] = Future()
    context = contextvars.copy_context()

    def work() -> None:
        found: tuple[Any, BaseException | None]
        try:
            found = context.run(function), None
        except BaseException as error:  # noqa: BLE001  (it is handed on)
            found = None, error
        if not done.cancelled():
            done.set_result(found)

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        result, error = await asyncio.shield(asyncio.wrap_future(done))
    except asyncio.CancelledError:
        if not done.done() and thread.ident is not None:
            _interrupt(thread.ident)
            await asyncio.to_thread(thread.join, _GRACE)
        raise
    if error is not None:
        raise _portable(error)
    return result


def _portable(error: BaseException) -> BaseException:
    """Return what a coroutine can raise: StopIteration would end its frame."""
    if isinstance(error, StopIteration):
        wrapped = RuntimeError("a task raised StopIteration")
        wrapped.__cause__ = error
        return wrapped
    return error


def _interrupt(thread: int) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), ctypes.py_object(asyncio.CancelledError)
    )


def _check_place(secret: Secret, attempt: Attempt) -> None:
    if secret.mount is not None:
        raise RuntimeUserError(
            f"the secret {secret.key!r} is to be the file {str(secret.mount)!r}, which "
            "imagekit does not write on this machine",
            hint='run the task in a container, with mode="container", or give the '
            "secret as an environment variable",
            origin=_origin(attempt),
        )


def _origin(attempt: Attempt) -> str:
    return str(attempt.task.origin)
