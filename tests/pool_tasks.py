"""Tasks in pools of warm pods, and one that calls them all; it runs there, too."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import Any

from imagekit import Image, Resources, ReusePolicy, Secret, TaskEnvironment, Timeout
from imagekit.errors import ImageKitError

IMAGE = Image.from_debian_base((3, 11), name="pools")
SMALL = Resources(cpu=("50m", 1), memory="256Mi")

#: Two pods, one call in each at a time. They stay for as long as the tests may take.
pair = TaskEnvironment(
    "pool-pair",
    image=IMAGE,
    resources=SMALL,
    reusable=ReusePolicy(replicas=2, idle_ttl=600),
    interruptible=True,
)
#: One pod with four calls at a time.
wide = TaskEnvironment(
    "pool-wide",
    image=IMAGE,
    resources=SMALL,
    secrets=[Secret("word", group="pools")],
    reusable=ReusePolicy(replicas=1, idle_ttl=600, concurrency=4),
)
alone = TaskEnvironment("pool-none", image=IMAGE, resources=SMALL)
top = TaskEnvironment(
    "pool-top", image=IMAGE, resources=SMALL, depends_on=[pair, wide, alone]
)


@dataclass
class Place:
    """Where and when a task ran.

    Attributes:
        pod: name of the pod.
        worker: when the process was started, which says which one it is.
        calls: how many calls that process had begun before.
    """

    number: int
    pod: str
    worker: float
    calls: int
    began: float
    ended: float


@dataclass
class Met:
    """How a call failed, and where others ran before and after it."""

    kind: str
    message: str
    places: list[Place]


_STARTED = time.time()
_LOCK = threading.Lock()
_BEGUN: list[int] = []


def begun(number: int) -> Place:
    with _LOCK:
        _BEGUN.append(number)
        calls = len(_BEGUN) - 1
    now = time.time()
    return Place(number, socket.gethostname(), _STARTED, calls, now, now)


def ended(place: Place) -> Place:
    place.ended = time.time()
    return place


async def met(task: Any) -> Met:
    try:
        await task.aio()
    except ImageKitError as error:
        return Met(type(error).__name__, error.message, [])
    raise AssertionError("it did not fail")


@pair.task
def step(number: int, seconds: float = 0.0) -> Place:
    place = begun(number)
    print("step", number, flush=True)
    subprocess.run(["echo", f"process {number}"], check=True)
    time.sleep(seconds)
    return ended(place)


@pair.task(timeout=Timeout(max_runtime=3))
def stubborn() -> None:
    time.sleep(1000)


@wide.task
async def dies() -> None:
    print("last words", flush=True)
    os._exit(3)


@pair.task
async def deep(levels: int) -> list[Place]:
    place = begun(levels)
    print("level", levels)
    below = await deep(levels - 1) if levels else []
    return [ended(place), *below]


@wide.task
async def talk(number: int) -> Place:
    place = begun(number)
    for line in range(5):
        print("talk", number, line, os.environ["POOLS_WORD"])
        await asyncio.sleep(0.1)
    return ended(place)


@alone.task
def single(number: int) -> Place:
    return ended(begun(number))


@top.task
async def steps(count: int, seconds: float = 0.0) -> list[Place]:
    return list(
        await asyncio.gather(*(step.aio(number, seconds) for number in range(count)))
    )


@top.task
async def singles(count: int) -> list[Place]:
    return list(await asyncio.gather(*(single.aio(number) for number in range(count))))


@top.task
async def talks(count: int) -> list[Place]:
    return list(await asyncio.gather(*(talk(number) for number in range(count))))


@top.task
async def nested(levels: int, chains: int) -> list[list[Place]]:
    return list(await asyncio.gather(*(deep(levels) for _ in range(chains))))


@top.task
async def waits(seconds: float) -> Place:
    return await step.aio(7, seconds)


@top.task
async def fails() -> list[Met]:
    """Have calls fail in two ways, each between two that don't."""
    before = await step.aio(1)
    late = await met(stubborn)
    late.places = [before, await step.aio(2)]
    before = await talk(1)
    dead = await met(dies)
    dead.places = [before, await talk(2)]
    return [late, dead]
