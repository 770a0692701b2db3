"""Waiting for a coroutine in code that is not async."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio

_R = TypeVar("_R")


def finish(work: Coroutine[Any, Any, _R]) -> _R:
    """Run *work* until it is done, and return its result.

    In a thread that runs an event loop, that loop stands still meanwhile: *work* runs
    in a loop of its own, in another thread, with the context variables of this one. If
    this thread is interrupted, *work* is cancelled and waited for.
    """
    import asyncio  # noqa: PLC0415  (slow to import)

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        is_running = False
    else:
        is_running = True
    # Not in the handler: what *work* raises would seem to come of its exception.
    if not is_running:
        return asyncio.run(work)
    result: _R = _Elsewhere(work).result()
    return result


class _Elsewhere:
    """A coroutine in a thread of its own."""

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        import contextvars  # noqa: PLC0415  (only here)
        import threading  # noqa: PLC0415  (only here)

        self._work = work
        self._value: Any = None
        self._error: BaseException | None = None
        self._task: asyncio.Task[Any] | None = None
        self._begun = threading.Event()
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._run,), name="imagekit-call", daemon=True
        )

    def result(self) -> Any:
        self._thread.start()
        try:
            self._thread.join()
        except BaseException:  # interrupted; the work must not go on unseen
            self._cancel()
            self._thread.join()
            raise
        if self._error is not None:
            raise self._error
        return self._value

    def _run(self) -> None:
        import asyncio  # noqa: PLC0415  (see above)

        try:
            self._value = asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001  (raised again by whoever waits)
            self._error = error
        finally:
            self._begun.set()

    async def _main(self) -> Any:
        import asyncio  # noqa: PLC0415  (see above)

        self._task = asyncio.current_task()
        self._begun.set()
        return await self._work

    def _cancel(self) -> None:
        self._begun.wait()
        if self._task is not None:
            with suppress(RuntimeError):  # it has ended: its loop is closed
                self._task.get_loop().call_soon_threadsafe(self._task.cancel)
