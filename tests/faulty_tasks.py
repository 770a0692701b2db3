"""Tasks that go wrong, and others that tests of containers run; it runs there, too."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
import warnings
from collections.abc import Iterator

from imagekit import Image, Resources, ReusePolicy, TaskEnvironment
from imagekit.context import ctx

IMAGE = Image.from_debian_base((3, 11), name="faulty")
SMALL = Resources(memory="96Mi")

env = TaskEnvironment("faulty", image=IMAGE, resources=SMALL)
pooled = TaskEnvironment(
    "faulty-pooled", image=IMAGE, resources=SMALL, reusable=ReusePolicy(replicas=(0, 2))
)
shared = TaskEnvironment(
    "faulty-shared", image=IMAGE, reusable=ReusePolicy(replicas=1, concurrency=4)
)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that it has one place: it is what is tested
    single = TaskEnvironment(
        "faulty-single", image=IMAGE, reusable=ReusePolicy(replicas=1, concurrency=1)
    )
    other = TaskEnvironment(
        "faulty-other", image=IMAGE, reusable=ReusePolicy(replicas=1, concurrency=1)
    )


class Broken(Exception):  # noqa: N818  (a user's name)
    """An exception whose ``__init__`` is its own."""

    def __init__(self, code: int) -> None:
        super().__init__(f"broken with {code}")
        self.code = code


def add(a: int, b: int) -> int:
    return a + b


def takes(megabytes: int) -> int:
    data = bytearray(megabytes << 20)
    for at in range(0, len(data), 4096):
        data[at] = 1
    return len(data)


def hangs(in_c: bool) -> int:
    print("hanging")
    if in_c:
        # Holds on to the interpreter: no other thread of Python runs.
        ctypes.PyDLL(None).sleep(1000)
    time.sleep(1000)
    return 0


def dies(number: int) -> int:
    os.kill(os.getpid(), number)
    time.sleep(1000)
    return 0


def survives() -> int:
    """Hang in the first attempt, and return the number of the second."""
    context = ctx()
    assert context is not None
    if context.attempt == 1:
        hangs(False)
    return context.attempt


def wrong() -> int:
    return "seven"  # type: ignore[return-value]  # what this test is about


def leaves(code: int) -> int:
    sys.exit(code)


def raises(code: int) -> int:
    raise Broken(code)


def printed(megabytes: int) -> Iterator[str]:
    for number in range(megabytes * 1000):
        yield f"{number:09} {'x' * 989}\n"


def prints(megabytes: int) -> int:
    sys.stdout.writelines(printed(megabytes))
    return megabytes


#: Each in a container of its own, and in one that is reused.
BOTH = {
    function.__name__: (env.task(function), pooled.task(function))
    for function in (
        *(add, takes, hangs, dies, survives),
        *(wrong, leaves, raises, prints),
    )
}


@shared.task
async def blocks() -> int:
    """Hang in a way that no cancellation ends."""
    print("hanging")
    time.sleep(1000)  # noqa: ASYNC251  (what this test is about)
    return 0


@shared.task
async def sleeps() -> int:
    print("hanging")
    await asyncio.sleep(1000)
    return 0


@env.task
async def gathers() -> int:
    """Call five tasks that hang, some of them in containers that are reused."""
    once, again = BOTH["hangs"]
    await asyncio.gather(
        *(once.aio(False) for _ in range(3)), *(again.aio(False) for _ in range(2))
    )
    return 0


@single.task
async def counts_down(number: int) -> list[int]:
    """Call itself, in an environment that runs one task at a time."""
    print(number)
    return [number, *(await counts_down.aio(number - 1))] if number else [0]


@single.task
def counts_down_sync(number: int) -> list[int]:
    return [number, *counts_down_sync(number - 1)] if number else [0]


@single.task
async def fans_out(count: int) -> int:
    """Call more tasks of its own environment than it has places."""
    return sum(await asyncio.gather(*(adds.aio(1, n) for n in range(count))))


@single.task
async def adds(a: int, b: int) -> int:
    return a + b


@single.task
async def here(number: int) -> int:
    return number and 1 + await there.aio(number - 1)


@other.task
async def there(number: int) -> int:
    return number and 1 + await here.aio(number - 1)


@env.task
async def both_ways(number: int) -> int:
    """Have two environments with one place each wait for each other."""
    return sum(await asyncio.gather(here.aio(number), there.aio(number)))


@env.task
async def times_calls(count: int) -> list[float]:
    """Call a task in a warm container, and return the seconds of each call."""
    found = []
    for number in range(count):
        begun = time.perf_counter()
        assert await BOTH["add"][1].aio(number, 1) == number + 1
        found.append(time.perf_counter() - begun)
    return found
