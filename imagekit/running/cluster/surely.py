"""Work that has to be done, whatever comes in between."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any


async def surely(work: Coroutine[Any, Any, None]) -> None:
    """Wait until *work* is done, also where this task is cancelled meanwhile.

    Raises:
        Exception: what the work raises.
    """
    task = asyncio.ensure_future(work)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    task.result()
