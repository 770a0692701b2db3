"""Environment variables of tasks that run in one process."""

from __future__ import annotations

import asyncio
import os

import pytest

from imagekit.running.variables import ProcessVariables
from imagekit.task_errors import RuntimeUserError

NAME = "IMAGEKIT_TEST_VARIABLE"
OTHER = "IMAGEKIT_TEST_OTHER"


def now() -> str | None:
    return os.environ.get(NAME)


def test_what_was_there_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "before")
    monkeypatch.delenv(OTHER, raising=False)
    variables = ProcessVariables()

    async def work() -> None:
        async with variables.set("run", "a0", {NAME: "1", OTHER: "2"}):
            assert (os.environ[NAME], os.environ[OTHER]) == ("1", "2")
            async with variables.set("run", "a0.1", {NAME: "3"}):
                assert (os.environ[NAME], os.environ[OTHER]) == ("3", "2")
            assert now() == "1"
        assert now() == "before"

    asyncio.run(work())

    assert OTHER not in os.environ


def test_tasks_that_want_the_same_run_at_the_same_time() -> None:
    variables = ProcessVariables()
    inside = 0
    most = 0

    async def one(action: str) -> None:
        nonlocal inside, most
        async with variables.set("run", action, {NAME: "same"}):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    async def work() -> None:
        await asyncio.gather(*(one(f"a0.{number}") for number in range(5)))

    asyncio.run(work())

    assert most == 5
    assert now() is None


def test_tasks_that_want_another_value_wait() -> None:
    variables = ProcessVariables()
    seen: list[tuple[str, str | None]] = []

    async def one(action: str, value: str) -> None:
        async with variables.set("run", action, {NAME: value}):
            for _ in range(3):
                seen.append((value, now()))
                await asyncio.sleep(0)

    async def work() -> None:
        await asyncio.gather(*(one(f"a0.{n}", str(n % 2)) for n in range(6)))

    asyncio.run(work())

    assert len(seen) == 18
    assert all(wanted == found for wanted, found in seen)


def test_an_error_lets_the_next_one_in() -> None:
    variables = ProcessVariables()

    async def fails() -> None:
        async with variables.set("run", "a0.1", {NAME: "1"}):
            await asyncio.sleep(0)
            raise ValueError

    async def waits() -> str | None:
        async with variables.set("run", "a0.2", {NAME: "2"}):
            return now()

    async def work() -> list[object]:
        return list(await asyncio.gather(fails(), waits(), return_exceptions=True))

    first, second = asyncio.run(work())

    assert isinstance(first, ValueError)
    assert second == "2"


def test_other_runs_and_threads_wait_too() -> None:
    variables = ProcessVariables()
    seen: list[str | None] = []

    async def one(run: str, value: str) -> None:
        async with variables.set(run, "a0", {NAME: value}):
            await asyncio.sleep(0)
            seen.append(now() if now() == value else "wrong")

    async def work() -> None:
        await asyncio.gather(
            *(
                asyncio.to_thread(asyncio.run, one(f"run-{number}", str(number)))
                for number in range(8)
            )
        )

    asyncio.run(work())

    assert sorted(map(str, seen)) == [str(number) for number in range(8)]


def test_tasks_that_wait_for_each_other_are_told() -> None:
    """Two tasks run, and each calls one that wants what the other has."""
    variables = ProcessVariables()
    both: asyncio.Barrier

    async def outer(action: str, own: str, inner: str) -> str | None:
        async with variables.set("run", action, {own: "1"}):
            await both.wait()
            async with variables.set("run", f"{action}.1", {inner: "2"}):
                return os.environ[inner]

    async def work() -> list[object]:
        nonlocal both
        both = asyncio.Barrier(2)
        found = await asyncio.gather(
            outer("a0.1", NAME, OTHER),
            outer("a0.2", OTHER, NAME),
            return_exceptions=True,
        )
        return list(found)

    found = asyncio.run(work())

    errors = [item for item in found if isinstance(item, RuntimeUserError)]
    assert len(errors) == 1
    assert "wait for each other" in errors[0].message
    assert "2" in found
