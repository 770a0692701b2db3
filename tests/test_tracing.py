"""Groups and traces are actions of their own, wherever they are used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from event_log import EventLog, running

import imagekit


@imagekit.trace
def plain(number: int) -> int:
    return number + 1


@imagekit.trace
async def waiting(number: int) -> int:
    await asyncio.sleep(0)
    return plain(number)


@imagekit.trace
def counting(number: int) -> Iterator[int]:
    yield from range(number)


@imagekit.trace
async def streaming(number: int) -> AsyncIterator[int]:
    for item in range(number):
        await asyncio.sleep(0)
        yield item


@imagekit.trace
def failing() -> None:
    raise ValueError("on purpose")


def test_outside_of_tasks_functions_are_as_they_were() -> None:
    async def collected() -> list[int]:
        return [item async for item in streaming(3)]

    assert plain(1) == 2
    assert asyncio.run(waiting(1)) == 2
    assert list(counting(3)) == [0, 1, 2]
    assert asyncio.run(collected()) == [0, 1, 2]
    with imagekit.group("nothing"):
        assert imagekit.ctx() is None
    assert plain.__name__ == "plain"


def test_traces_and_groups_are_a_tree() -> None:
    async def work() -> None:
        plain(1)
        with imagekit.group("both"):
            await asyncio.gather(waiting(1), waiting(2))
        assert list(counting(2)) == [0, 1]
        assert [item async for item in streaming(2)] == [0, 1]

    log = EventLog()
    with running(log):
        asyncio.run(work())

    assert log.tree() == [
        ("a0.1", "a0", "trace", "plain", "succeeded"),
        ("a0.2", "a0", "group", "both", "succeeded"),
        ("a0.2.1", "a0.2", "trace", "waiting", "succeeded"),
        ("a0.2.2", "a0.2", "trace", "waiting", "succeeded"),
        ("a0.2.1.1", "a0.2.1", "trace", "plain", "succeeded"),
        ("a0.2.2.1", "a0.2.2", "trace", "plain", "succeeded"),
        ("a0.3", "a0", "trace", "counting", "succeeded"),
        ("a0.4", "a0", "trace", "streaming", "succeeded"),
    ]


def test_what_is_called_between_two_items_is_not_part_of_a_generator() -> None:
    log = EventLog()
    with running(log):
        for item in counting(2):
            plain(item)

    assert [(name, parent) for _, parent, _, name, _ in log.tree()] == [
        ("counting", "a0"),
        ("plain", "a0"),
        ("plain", "a0"),
    ]


def test_a_generator_that_nobody_reads_to_its_end_has_succeeded() -> None:
    log = EventLog()
    with running(log):
        numbers = counting(10)
        assert next(numbers) == 0
        numbers.close()  # type: ignore[attr-defined]  # a generator has it

    assert log.tree() == [("a0.1", "a0", "trace", "counting", "succeeded")]


def test_failures_are_recorded_and_go_on() -> None:
    log = EventLog()
    with (
        running(log),
        pytest.raises(ValueError, match="on purpose"),
        imagekit.group("all"),
    ):
        failing()

    assert log.tree() == [
        ("a0.1", "a0", "group", "all", "failed"),
        ("a0.1.1", "a0.1", "trace", "failing", "failed"),
    ]


def test_a_second_attempt_numbers_its_calls_apart() -> None:
    log = EventLog()
    with running(log, attempt=2):
        plain(1)

    assert [action for action, *_ in log.tree()] == ["a0.r2.1"]
