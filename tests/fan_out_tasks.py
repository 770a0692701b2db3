"""One task that calls many others at once."""

from __future__ import annotations

import asyncio

from imagekit import Image, Resources, TaskEnvironment

IMAGE = Image.from_debian_base(python_version=(3, 11), name="fan-out")
#: Little enough for twenty pods on a node of two cores, beside what others have there.
SMALL = Resources(cpu=("10m", 1), memory=("64Mi", "256Mi"))

leaves = TaskEnvironment("leaves", image=IMAGE, resources=SMALL)
trunk = TaskEnvironment("trunk", image=IMAGE, resources=SMALL, depends_on=[leaves])


@leaves.task
async def square(number: int) -> int:
    return number * number


@trunk.task
async def squares(count: int) -> list[int]:
    """Return squares in order, each from a call of its own."""
    return list(await asyncio.gather(*map(square.aio, range(count))))
