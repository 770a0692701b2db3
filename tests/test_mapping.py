"""``map()``: one task, called once for each of many inputs."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import flyte
import imagekit
from imagekit import TaskEnvironment
from imagekit.errors import DefinitionError
from imagekit.run import Run

env = TaskEnvironment("maps")


class OddError(Exception):
    pass


_running: list[int] = []
_most: list[int] = []


@env.task
async def square(number: int, times: int = 1) -> int:
    _running.append(number)
    _most.append(len(_running))
    await asyncio.sleep(0.01)
    _running.remove(number)
    if number == 3:
        raise OddError("three")
    return number * number * times


@env.task
def square_sync(number: int, times: int = 1) -> int:
    if number == 3:
        raise OddError("three")
    return number * number * times


@env.task
async def in_async(count: int, concurrency: int) -> list[str]:
    mapped = imagekit.map.aio(square, range(count), concurrency=concurrency)
    return [repr(item) async for item in mapped]


@env.task
def in_sync(count: int) -> list[str]:
    # What is called between two results belongs to the caller.
    mapped = imagekit.map(square, range(count), group_name="mine")
    return [f"{item!r} {square_sync(2)}" for item in mapped]


@env.task
async def blocking_in_async() -> list[Any]:
    return list(imagekit.map(square_sync, [1, 2], [10, 20]))


@env.task
async def strict(numbers: list[int]) -> list[Any]:
    mapped = imagekit.map.aio(square, numbers, return_exceptions=False)
    return [item async for item in mapped]


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEKIT_RECORD_DIR", str(tmp_path))
    _most.clear()


def run(task: Any, *args: Any) -> Run:
    found = imagekit.run(task, *args)
    assert isinstance(found, Run)
    return found


def tree(done: Run) -> Iterator[str]:
    root = done.details().tree()
    assert root is not None
    for _, node in root.walk():
        yield f"{node.id} {node.name} {node.status}"


@pytest.mark.parametrize("api", [imagekit, flyte], ids=["imagekit", "flyte"])
def test_outside_of_runs_functions_are_called(api: ModuleType) -> None:
    found = list(api.map(square, range(5)))

    assert found[:3] == [0, 1, 4]
    assert isinstance(found[3], OddError)
    assert found[4] == 16
    assert list(api.map(square_sync, [1, 2, 4], [5, 6])) == [5, 24]

    async def several() -> list[Any]:
        return [item async for item in api.map.aio(square_sync, [1, 2])]

    assert asyncio.run(several()) == [1, 4]


def test_calls_are_a_group_of_the_run() -> None:
    done = run(in_async, 5, 0)

    assert done.outputs() == ["0", "1", "4", "OddError('three')", "16"]
    assert max(_most) == 5
    assert list(tree(done)) == [
        "a0 maps.in_async succeeded",
        "a0.1 maps.square_map succeeded",
        "a0.1.1 maps.square succeeded",
        "a0.1.2 maps.square succeeded",
        "a0.1.3 maps.square succeeded",
        "a0.1.4 maps.square failed",
        "a0.1.5 maps.square succeeded",
    ]


def test_so_many_run_at_the_same_time() -> None:
    assert len(run(in_async, 7, 2).outputs()) == 7
    assert max(_most) == 2


def test_in_tasks_that_are_not_async() -> None:
    done = run(in_sync, 2)

    assert done.outputs() == ["0 4", "1 4"]
    shown = list(tree(done))
    assert "a0.1 mine succeeded" in shown
    assert {"a0.2 maps.square_sync succeeded", "a0.3 maps.square_sync succeeded"} < set(
        shown
    )
    assert run(blocking_in_async).outputs() == [10, 80]


def test_the_first_error_is_raised_if_they_are_not_returned() -> None:
    with pytest.raises(OddError, match="three"):
        run(strict, [1, 3, 4])
    with pytest.raises(OddError):
        list(imagekit.map(square, [3], return_exceptions=False))
    assert run(strict, [1, 2]).outputs() == [1, 4]


def test_some_inputs_may_be_given_before() -> None:
    assert list(imagekit.map(functools.partial(square, times=10), [1, 2])) == [10, 40]


def test_calls_that_nobody_waits_for_are_cancelled() -> None:
    cancelled = threading.Event()

    @env.task
    async def slow(seconds: float) -> float:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return seconds

    begun = time.monotonic()
    results = imagekit.map(slow, [0, 600])
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]  # it is a generator

    assert cancelled.is_set()
    assert time.monotonic() - begun < 60


def test_nothing_begins_before_a_result_is_asked_for() -> None:
    imagekit.map(square, [1, 2])

    assert _most == []


@pytest.mark.parametrize(
    ("arguments", "options", "error", "match"),
    [
        ((square,), {}, TypeError, "wants inputs for 'maps.square', found none"),
        ((print, [1]), {}, TypeError, "wanted a task, found <built-in function"),
        ((square, [1]), {"concurrency": -1}, DefinitionError, "found -1"),
        ((square, [1]), {"concurrency": True}, DefinitionError, "found True"),
    ],
)
def test_mistakes(
    arguments: Any, options: Any, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        imagekit.map(*arguments, **options)
    with pytest.raises(error, match=match):
        imagekit.map.aio(*arguments, **options)
