"""Tracebacks are of the user's code; what runs it is left out."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import imagekit
from imagekit import TaskEnvironment
from imagekit.blocking import finish
from imagekit.failure_texts import traceback_text
from imagekit.failures import (
    RemoteTraceback,
    decode_failure,
    encode_failure,
    failure_text,
)
from imagekit.task_errors import RuntimeUserError

env = TaskEnvironment("texts")


class OwnError(Exception):
    pass


@env.task
async def inner() -> None:
    raise OwnError("inside")


@env.task
def outer() -> None:
    asyncio.run(inner.aio())


@env.task
async def several() -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(inner())
    except ExceptionGroup as error:
        raise OwnError("outside") from error


@env.task
async def late() -> None:
    await asyncio.wait_for(asyncio.sleep(60), 0.01)


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEKIT_RECORD_DIR", str(tmp_path))


def raised(work: Any) -> BaseException:
    with pytest.raises(BaseException) as caught:
        work()
    return caught.value


def files(error: BaseException) -> list[str]:
    return [line.filename for line in traceback.extract_tb(error.__traceback__)]


def functions(error: BaseException) -> list[str]:
    return [line.name for line in traceback.extract_tb(error.__traceback__)]


def test_a_failing_task_shows_the_user_s_lines_only() -> None:
    for task, names in ((inner, ["inner"]), (outer, ["outer", "inner"])):
        error = raised(lambda task=task: imagekit.run(task))

        assert set(files(error)) == {__file__}
        assert functions(error)[-len(names) :] == names


def test_causes_and_members_are_trimmed_too() -> None:
    error = raised(lambda: imagekit.run(several))

    text = "".join(traceback.format_exception(error))
    assert "in inner" in text
    assert "imagekit/running" not in text
    assert "base_events" not in text
    # Where an exception comes from the event loop's own lines, they stay.
    assert "taskgroups.py" in text


def test_what_the_event_loop_raises_itself_is_shown() -> None:
    error = raised(lambda: imagekit.run(late))

    names = functions(error)
    assert names[names.index("late") + 1] == "wait_for"
    assert "asyncio" in files(error)[-1]


def test_runs_that_are_awaited_are_trimmed_too() -> None:
    async def main() -> None:
        await imagekit.run.aio(inner)

    error = raised(lambda: asyncio.run(main()))

    names = functions(error)
    assert names[names.index("main") :] == ["main", "inner"]


def test_debugging_shows_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("imagekit")
    before = logger.level
    try:
        logger.setLevel(logging.DEBUG)
        error = raised(lambda: imagekit.run(inner))
    finally:
        logger.setLevel(before)

    assert any("imagekit/running" in file for file in files(error))


def test_the_machinery_between_the_user_s_lines_is_left_out() -> None:
    async def deep() -> None:
        raise OwnError("deep")

    def blocking() -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, deep()).result()

    text = traceback_text(raised(blocking))

    assert "in blocking" in text
    assert text.rstrip().endswith('raise OwnError("deep")\n' + _name(OwnError, "deep"))
    assert not {"runners.py", "thread.py", "_base.py"} & set(text.replace("/", " "))
    assert "asyncio/" not in text
    assert "concurrent/futures" not in text


def test_faults_of_imagekit_are_shown_and_its_errors_are_not() -> None:
    async def works() -> None: ...

    work: Coroutine[Any, Any, None] = works()
    work.close()
    fault = raised(lambda: finish(work))  # it can't be awaited again
    error = raised(lambda: imagekit.with_runcontext(name="a b").run(inner))

    assert "blocking.py" in traceback_text(fault)
    assert set(files(error)) == {__file__}


def test_a_remote_traceback_is_quoted_once() -> None:
    first = encode_failure(raised(lambda: imagekit.run(inner)))
    there = decode_failure(first)
    assert failure_text(encode_failure(there)) == failure_text(first)

    # A second process adds its own lines below.
    def passes_on() -> None:
        raise there

    passed = failure_text(encode_failure(raised(passes_on)))
    assert passed.startswith(failure_text(first))
    assert "in passes_on" in passed
    assert "RemoteTraceback" not in passed
    again = decode_failure(encode_failure(there))
    assert isinstance(again.__cause__, RemoteTraceback)
    assert "RemoteTraceback" not in again.__cause__.text


def test_a_note_that_is_added_here_is_shown() -> None:
    there = decode_failure(encode_failure(RuntimeUserError("it failed")))
    there.add_note("try again")

    text = failure_text(encode_failure(there))
    assert text.rstrip().endswith("it failed\ntry again")


def _name(of: type, message: str) -> str:
    return f"{of.__module__}.{of.__qualname__}: {message}"
