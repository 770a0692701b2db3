"""Calls of tasks that come out of a container."""

from __future__ import annotations

import asyncio

from imagekit.failures import encode_failure
from imagekit.run_events import Json
from imagekit.running.attempt import Attempt, EncodedCall
from imagekit.running.container.slots import Slot
from imagekit.runtime.channel import Channel
from imagekit.runtime.messages import NestedCall, Raised, Returned
from imagekit.task_settings import TaskSettings
from imagekit.values import blob_digests


class NestedCalls:
    """What one attempt calls; they run in the event loop that waits for it.

    Every method has to be called in that loop.

    Args:
        attempt: what calls.
        channel: to its container.
        slot: is paused while the attempt waits for what it has called.
    """

    def __init__(self, attempt: Attempt, channel: Channel, slot: Slot | None) -> None:
        self._attempt = attempt
        self._channel = channel
        self._slot = slot
        self._running: dict[int, asyncio.Task[None]] = {}

    def start(self, call: NestedCall) -> None:
        """Run what is called, and send the answer."""
        task = asyncio.create_task(self._answer(call), name=call.task)
        self._running[call.number] = task
        if self._slot is not None:
            self._slot.pause()
        task.add_done_callback(lambda _: self._done(call.number))

    def cancel(self, number: int) -> None:
        """End a call, if it runs."""
        if number in self._running:
            self._running[number].cancel()

    async def end(self) -> None:
        """End all calls: nobody waits for them any more."""
        for task in self._running.values():
            task.cancel()
        if self._running:
            await asyncio.wait(set(self._running.values()))

    def _done(self, number: int) -> None:
        del self._running[number]
        if self._slot is not None and not self._running:
            self._slot.resume()

    async def _answer(self, call: NestedCall) -> None:
        try:
            output = await self._output(call)
        except asyncio.CancelledError as error:
            self._raise(call.number, error)
            raise
        except BaseException as error:  # noqa: BLE001  (it is handed on)
            self._raise(call.number, error)
            return
        self._channel.send(
            Returned(number=call.number, output=output),
            blob_digests(output),
            failed=lambda error: self._raise(call.number, error),
        )

    async def _output(self, call: NestedCall) -> Json:
        encoded = EncodedCall(
            task=call.task,
            settings=TaskSettings.from_json(call.settings),
            inputs=call.inputs,
            action=call.action,
            parent=call.parent,
        )
        return await self._attempt.encoded.call_encoded(encoded)

    def _raise(self, number: int, error: BaseException) -> None:
        self._channel.send(Raised(number=number, error=encode_failure(error)))
