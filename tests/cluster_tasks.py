"""Tasks that go wrong on a cluster, and those that call them; it runs there, too."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from imagekit import Image, Resources, Secret, TaskEnvironment, Timeout
from imagekit.context import ctx
from imagekit.errors import ImageKitError
from imagekit.task_errors import OOMError

IMAGE = Image.from_debian_base((3, 11), name="faults")
#: More than any machine has on which this is tried.
TOO_MUCH = Resources(cpu=4000)
NOWHERE = Secret("key", group="nowhere")
NO_FILE = Secret("key", group="nowhere", mount="/etc/nowhere")

leaf = TaskEnvironment("faults-leaf", image=IMAGE)
small = TaskEnvironment("faults-small", image=IMAGE, resources=Resources(memory="96Mi"))
#: Its image is deleted after it was deployed.
gone = TaskEnvironment("faults-gone", image=IMAGE)
stranger = TaskEnvironment("faults-stranger", image=IMAGE)
top = TaskEnvironment("faults-top", image=IMAGE, depends_on=[leaf, small, gone])


@dataclass
class Met:
    """What became of a call."""

    kind: str
    message: str
    hint: str


@leaf.task
async def adds(a: int, b: int) -> int:
    print("adding")
    return a + b


@small.task
async def takes(megabytes: int) -> int:
    print("taking")
    data = bytearray(megabytes << 20)
    for at in range(0, len(data), 4096):
        data[at] = 1
    return len(data)


@gone.task
async def missing() -> int:
    return 1


@stranger.task
async def unknown() -> int:
    return 1


@leaf.task
async def leaves(code: int) -> int:
    print("leaving")
    sys.exit(code)


@leaf.task
async def ends(code: int) -> int:
    print("ending")
    sys.stdout.flush()
    os._exit(code)


@leaf.task
async def waits(seconds: float) -> float:
    print("waiting")
    await asyncio.sleep(seconds)
    print("waited")
    return seconds


@leaf.task
async def survives() -> int:
    """Hang in the first attempt, and return the number of the second."""
    print("attempt", attempt())
    if attempt() == 1:
        await asyncio.sleep(3600)
    return attempt()


#: Calls that go wrong, by what goes wrong with them.
CALLS: dict[str, Callable[[], Awaitable[object]]] = {
    "memory": lambda: takes(500),
    "cpu": lambda: adds.override(
        resources=TOO_MUCH, timeout=Timeout(max_queued_time=20)
    )(1, 2),
    "image": missing,
    "secret": lambda: adds.override(secrets=[NOWHERE])(1, 2),
    "secret-file": lambda: adds.override(secrets=[NO_FILE])(1, 2),
    "quota": lambda: adds.override(
        resources=Resources(gpu=1), timeout=Timeout(max_queued_time=20)
    )(1, 2),
    "exit": lambda: leaves(3),
    "os-exit": lambda: ends(3),
    "late": lambda: waits.override(timeout=1)(3600),
    "unknown": unknown,
}


@top.task
async def meets(kinds: list[str]) -> dict[str, Met]:
    """Make calls that go wrong, all at once, and go on."""
    found = await asyncio.gather(*(_met(CALLS[kind]()) for kind in kinds))
    return dict(zip(kinds, found, strict=True))


async def _met(call: Awaitable[object]) -> Met:
    try:
        value = await call
    except ImageKitError as error:
        return Met(type(error).__name__, error.message, error.hint or "")
    return Met("", repr(value), "")


@top.task
async def calls(kind: str) -> None:
    """Make a call that goes wrong, and don't mind."""
    await CALLS[kind]()


@top.task
async def asks_for_less(megabytes: int) -> int:
    """Go on after a call that took too much memory."""
    try:
        return await takes(megabytes)
    except OOMError:
        return await takes(megabytes // 50)


@top.task
async def loses_calls() -> list[object]:
    """Make calls whose pods are killed."""
    found = await asyncio.gather(
        survives.override(interruptible=True)(),
        survives.override(retries=1)(),
        _met(survives()),
        _met(survives()),
    )
    return list(found)


@top.task
async def begins_again() -> list[float]:
    """Wait for long in the first attempt, and not in the second."""
    seconds = 3600.0 if attempt() == 1 else 0.0
    return [await adds(1, 2), await waits(seconds)]


@top.task
async def goes_deep(depth: int) -> float:
    """Wait for a call that waits for a call."""
    print("going", depth)
    return await (goes_deep(depth - 1) if depth else waits(3600))


@top.task
async def fans_out(count: int, seconds: float) -> list[float]:
    """Make many calls at once."""
    found = await asyncio.gather(*(waits(seconds) for _ in range(count)))
    print("fanned out")
    return list(found)


@top.task
async def tries_all(count: int, seconds: float) -> list[Met]:
    """Make many calls at once, of which some may have to wait for too long."""
    call = waits.override(timeout=Timeout(max_queued_time=5))
    return list(await asyncio.gather(*(_met(call(seconds)) for _ in range(count))))


def attempt() -> int:
    """Return the number of the attempt that this is called in."""
    context = ctx()
    assert context is not None
    return context.attempt
