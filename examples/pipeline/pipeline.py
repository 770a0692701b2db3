"""Five tasks in three environments; the same in this process and in containers.

imagekit run examples/pipeline/pipeline.py report --count 50
imagekit run examples/pipeline/pipeline.py report --count 50 --mode container
"""

import asyncio
from dataclasses import dataclass

import imagekit
from imagekit import Image, Resources, RetryStrategy, TaskEnvironment
from imagekit.task_errors import TaskTimeoutError

numbers = TaskEnvironment(
    "numbers",
    image=Image.from_debian_base(python_version=(3, 11), name="numbers"),
    resources=Resources(cpu=("50m", 1), memory="256Mi"),
)
tables = TaskEnvironment(
    "tables",
    image=Image.from_debian_base(python_version=(3, 11), name="tables")
    .with_pip_packages("rich>=13.7")
    .with_env_vars({"COLUMNS": "40"}),
    env_vars={"TABLE_TITLE": "squares"},
)
network = TaskEnvironment(
    "network",
    image=Image.from_debian_base(python_version=(3, 11), name="network"),
    depends_on=[numbers, tables],
)


@dataclass
class Report:
    total: int
    table: str
    attempt: int
    late: str


@numbers.task
async def square(number: int) -> int:
    await asyncio.sleep(0)
    return number * number


@tables.task(cache="auto")
def table(squares: list[int]) -> str:
    """Draw a table; the next call with the same numbers starts nothing."""
    import io
    import os

    from rich.console import Console
    from rich.table import Table

    drawn = Table("number", "square", title=os.environ["TABLE_TITLE"])
    for number, found in enumerate(squares[:3]):
        drawn.add_row(str(number), str(found))
    console = Console(file=io.StringIO(), width=40)
    console.print(drawn)
    print("drew", len(squares), "squares")
    return console.file.getvalue()


@network.task(retries=RetryStrategy(count=2, backoff=0.1))
async def third_time() -> int:
    """Fail twice, as services do, and then work."""
    context = imagekit.ctx()
    assert context is not None
    if context.attempt < 3:
        raise ConnectionError(f"attempt {context.attempt} found nobody")
    return context.attempt


@network.task(timeout=1)
async def never() -> None:
    """Take longer than the timeout."""
    await asyncio.sleep(3600)


@imagekit.trace
def total(squares: list[int]) -> int:
    return sum(squares)


@network.task
async def report(count: int = 50) -> Report:
    with imagekit.group("squares"):
        squares = await asyncio.gather(*(square(number) for number in range(count)))
    late = "it was in time"
    try:
        await never()
    except TaskTimeoutError:
        late = "it was late"
    return Report(
        total=total(squares),
        table=await table.aio(squares),
        attempt=await third_time(),
        late=late,
    )
