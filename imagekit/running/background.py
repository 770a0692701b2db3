"""Work that may take long, in a thread that nobody has to wait for."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import TypeVar

_R = TypeVar("_R")


async def in_background(function: Callable[[], _R], *, name: str) -> _R:
    """Run *function* in a thread of its own, and wait for it.

    Cancelled, this ends at once. The thread goes on, since others may wait for what it
    does, but it does not keep Python from ending, as one of ``asyncio.to_thread()``
    would.
    """
    done: Future[_R] = Future()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            result = context.run(function)
        except BaseException as error:  # noqa: BLE001  (it is handed on)
            with suppress(InvalidStateError):  # nobody waits any more
                done.set_exception(error)
        else:
            with suppress(InvalidStateError):
                done.set_result(result)

    threading.Thread(target=work, name=name, daemon=True).start()
    return await asyncio.wrap_future(done)
