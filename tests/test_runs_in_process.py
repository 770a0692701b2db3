"""Runs in this process: results, failures, retries, timeouts, cache, record."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import imagekit
from imagekit import Cache, Resources, RetryStrategy, Secret, TaskEnvironment, Timeout
from imagekit.errors import PlanError
from imagekit.run import DryRun, Run
from imagekit.task_errors import (
    InitializationError,
    InlineIOMaxBytesBreached,
    NonRecoverableError,
    NotInTaskContextError,
    RuntimeDataValidationError,
    RuntimeUserError,
    TaskTimeoutError,
)

env = TaskEnvironment("here", resources=Resources(cpu=1))
other = TaskEnvironment("there", env_vars={"IMAGEKIT_TEST_PLACE": "there"})


class OwnError(Exception):
    """As users define them: with more than a message."""

    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"{reason} ({code})")
        self.code = code


@dataclass
class Point:
    x: int
    y: float


started: list[str] = []


@env.task
async def double(number: int) -> int:
    started.append("double")
    return 2 * number


@env.task
def shifted(point: Point, by: float = 1.0) -> Point:
    point.x += 10
    return Point(point.x, point.y + by)


@env.task
async def both(number: int) -> tuple[int, Point]:
    point = Point(number, 0.5)
    moved = await shifted.aio(point)
    assert point.x == number, "tasks share no objects"
    blocking = shifted(point, by=2)
    assert blocking.y == 2.5
    return await double(number), moved


@env.task
def calls_both(number: int) -> int:
    return double_of(number) + shifted(Point(number, 0)).x


@env.task
def double_of(number: int) -> int:
    return asyncio.run(double(number))


@other.task
def place() -> str | None:
    return os.environ.get("IMAGEKIT_TEST_PLACE")


def outputs(run: object) -> Any:
    assert isinstance(run, Run)
    return run.outputs()


def tree(run: object) -> Any:
    assert isinstance(run, Run)
    found = run.details().tree()
    assert found is not None
    return found


def last_run() -> Any:
    from imagekit.run_records import RUNS, RunRecords
    from imagekit.settings import load_settings

    records = RunRecords(load_settings().record_dir / RUNS)
    return records.open(records.names()[0])


def test_a_task_runs_and_is_recorded() -> None:
    run = imagekit.run(double, 21)

    assert outputs(run) == 42
    assert isinstance(run, Run)
    assert run.status == run.phase == "succeeded"
    assert run.done()
    root = tree(run)
    assert (root.id, root.name, root.status) == ("a0", "here.double", "succeeded")
    assert Path(run.url, "events.jsonl").is_file()


def test_tasks_call_tasks() -> None:
    run = imagekit.run(both, number=4)

    assert outputs(run) == (8, Point(14, 1.5))
    children = [(item.id, item.name) for item in tree(run).children]
    assert children == [
        ("a0.1", "here.shifted"),
        ("a0.2", "here.shifted"),
        ("a0.3", "here.double"),
    ]


def test_sync_tasks_call_async_ones_with_a_loop_of_their_own() -> None:
    assert outputs(imagekit.run(calls_both, 4)) == 8 + 14


def test_it_runs_inside_of_a_running_loop() -> None:
    async def main() -> tuple[Any, Any]:
        blocking = imagekit.run(double, 1)
        waiting = await imagekit.run.aio(double, 2)
        return outputs(blocking), outputs(waiting)

    assert asyncio.run(main()) == (2, 4)


def test_a_fan_out_runs_at_the_same_time() -> None:
    barrier: asyncio.Barrier

    @env.task
    async def meets(number: int) -> int:
        await barrier.wait()
        return number

    @env.task
    async def fan_out(count: int) -> list[int]:
        nonlocal barrier
        barrier = asyncio.Barrier(count)
        return await asyncio.gather(*(meets(number) for number in range(count)))

    run = imagekit.run(fan_out, 50)

    assert outputs(run) == list(range(50))
    assert [item.id for item in tree(run).children] == [f"a0.{n}" for n in range(1, 51)]


def test_outside_of_runs_a_call_is_a_call() -> None:
    assert asyncio.run(double(2)) == 4
    assert shifted(Point(1, 1.0)) == Point(11, 2.0)
    assert imagekit.ctx() is None


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("a",), "'number'.*wanted int, found 'a'"),
        ((), "number"),
        ((1, 2), "positional"),
        ((True,), "wanted int"),
    ],
)
def test_wrong_inputs_start_nothing(arguments: tuple[Any, ...], match: str) -> None:
    started.clear()

    with pytest.raises(RuntimeDataValidationError, match=match):
        imagekit.run(double, *arguments)

    assert not started


def test_a_wrong_output_is_an_error_and_not_tried_again() -> None:
    @env.task(retries=3)
    def wrong() -> int:
        return "text"  # type: ignore[return-value]  # that is the point

    with pytest.raises(RuntimeDataValidationError, match="wanted int, found 'text'"):
        imagekit.run(wrong)

    assert len(last_run().tree().attempts) == 1


def test_the_users_own_errors_come_out() -> None:
    @env.task
    async def fails() -> None:
        raise OwnError(7, reason="no luck")

    @env.task
    async def calls() -> str:
        try:
            await fails()
        except OwnError as error:
            return f"caught {error.code}"
        return "nothing"

    with pytest.raises(OwnError, match="no luck") as caught:
        imagekit.run(fails)

    assert caught.value.code == 7
    assert outputs(imagekit.run(calls)) == "caught 7"
    child = last_run().tree().children[0]
    assert child.status == "failed"
    assert "OwnError" in str(child.error)


@pytest.mark.parametrize("is_sync", [True, False])
def test_a_task_that_exits_ends_nothing_else(is_sync: bool) -> None:
    @env.task
    def sync_exit() -> None:
        raise SystemExit(3)

    @env.task
    async def async_exit() -> None:
        raise SystemExit(3)

    @env.task
    async def calls() -> str:
        try:
            await (sync_exit.aio() if is_sync else async_exit())
        except RuntimeUserError as error:
            return str(error)
        return "nothing"

    assert r"SystemExit(3)" in outputs(imagekit.run(calls))


def test_an_error_that_asyncio_has_too_keeps_its_cause() -> None:
    @env.task
    def fails() -> None:
        try:
            os.environ["IMAGEKIT_TEST_NOWHERE"]
        except KeyError as error:
            raise TimeoutError("too late") from error

    with pytest.raises(TimeoutError, match="too late") as caught:
        imagekit.run(fails)

    assert isinstance(caught.value.__cause__, KeyError)


def test_retries_go_on_until_one_succeeds() -> None:
    seen = []

    @env.task(retries=RetryStrategy(count=3, backoff=0.001))
    def third() -> int:
        context = imagekit.ctx()
        assert context is not None
        seen.append(context.attempt)
        if context.attempt < 3:
            raise ConnectionError("not yet")
        return context.attempt

    run = imagekit.run(third)

    assert outputs(run) == 3
    assert seen == [1, 2, 3]
    assert [item.status for item in tree(run).attempts] == [
        "failed",
        "failed",
        "succeeded",
    ]


def test_the_last_error_is_raised() -> None:
    @env.task(retries=RetryStrategy(count=2, backoff=0.001))
    def never() -> None:
        context = imagekit.ctx()
        assert context is not None
        raise ConnectionError(f"attempt {context.attempt}")

    with pytest.raises(ConnectionError, match="attempt 3") as caught:
        imagekit.run(never)

    assert "the last one" in caught.value.__notes__[-1]


def test_what_no_retry_can_help_is_tried_once() -> None:
    tries = []

    @env.task(retries=5)
    def gives_up() -> None:
        tries.append(1)
        raise NonRecoverableError("the file is gone for good")

    with pytest.raises(NonRecoverableError):
        imagekit.run(gives_up)

    assert len(tries) == 1


def test_retries_wait() -> None:
    times = []

    @env.task(retries=RetryStrategy(count=1, backoff=0.2, backoff_factor=1))
    def again() -> None:
        times.append(time.monotonic())
        raise ValueError("again")

    with pytest.raises(ValueError, match="again"):
        imagekit.run(again)

    # Jitter takes off up to half.
    assert times[1] - times[0] >= 0.1


def _sleeps() -> None:
    threading.Event().wait(60)


def _spins() -> None:
    while True:
        pass


@pytest.mark.parametrize("work", [_sleeps, _spins], ids=["waiting", "spinning"])
def test_a_sync_task_that_takes_too_long_is_given_up(work: Any) -> None:
    @env.task(timeout=1)
    def slow() -> None:
        work()

    began = time.monotonic()
    with pytest.raises(TaskTimeoutError, match=r"here\.slow.* ran for more than 1 s"):
        imagekit.run(slow)

    assert time.monotonic() - began < 5
    assert last_run().tree().status == "timed-out"


def test_an_async_task_that_takes_too_long_is_cancelled() -> None:
    cleaned = []

    @env.task(timeout=Timeout(max_runtime=1))
    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append(True)

    with pytest.raises(TaskTimeoutError):
        imagekit.run(slow)

    assert cleaned == [True]


def test_a_task_that_waits_too_long_for_its_turn() -> None:
    """Both want a variable, with different values, and so run one after the other."""
    began = asyncio.Event()

    @env.task
    async def holds() -> None:
        began.set()
        await asyncio.sleep(60)

    @env.task
    async def waits() -> None:
        raise AssertionError("it never runs")

    held = holds.override(env_vars={"IMAGEKIT_TEST_TURN": "1"})
    late = waits.override(
        env_vars={"IMAGEKIT_TEST_TURN": "2"},
        timeout=Timeout(max_runtime=60, max_queued_time=1),
    )

    @env.task
    async def pair() -> None:
        holding = asyncio.ensure_future(held())
        await began.wait()
        try:
            await late()
        finally:
            holding.cancel()

    with pytest.raises(TaskTimeoutError, match="waited to run for more than 1 s"):
        imagekit.run(pair)


def test_variables_are_set_while_the_task_runs() -> None:
    assert outputs(imagekit.run(place)) == "there"
    assert "IMAGEKIT_TEST_PLACE" not in os.environ

    runner = imagekit.with_runcontext(
        env_vars={"IMAGEKIT_TEST_PLACE": "run", "IMAGEKIT_TEST_MORE": "more"}
    )

    @env.task
    def more() -> tuple[str, str | None]:
        return os.environ["IMAGEKIT_TEST_MORE"], os.environ.get("IMAGEKIT_TEST_PLACE")

    assert outputs(runner.run(more)) == ("more", "run")
    assert outputs(runner.run(place)) == "there", "the environment's own come last"


def test_secrets_are_given_and_kept_out_of_the_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    value = "s3cr3t-of-the-test"
    monkeypatch.setenv("TEAM_TOKEN", value)

    @env.task
    def uses() -> str:
        return f"it is {os.environ['OWN_TOKEN']}"

    secret = uses.override(
        secrets=Secret("token", group="team", as_env_var="OWN_TOKEN")
    )

    run = imagekit.run(secret)

    assert outputs(run) == f"it is {value}"
    assert isinstance(run, Run)
    for path in Path(run.url).rglob("*"):
        if path.is_file():
            assert value.encode() not in path.read_bytes(), path


def test_secrets_are_in_the_folder_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "filed").write_text("the value\n")
    (tmp_path / "imagekit.toml").write_text('secrets-dir = "secrets"\n')
    monkeypatch.chdir(tmp_path)

    @env.task
    def uses() -> bool:
        return os.environ["FILED"] == "the value"

    assert outputs(imagekit.run(uses.override(secrets="filed")))


def test_a_missing_secret_is_known_before_anything_runs() -> None:
    ran = []

    @env.task(retries=3)
    def uses() -> None:
        ran.append(True)

    with pytest.raises(PlanError, match="NOWHERE"):
        imagekit.run(uses.override(secrets="nowhere"))

    assert not ran


def test_secrets_as_files_need_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "x")

    with pytest.raises(RuntimeUserError, match="/run/keys/key") as caught:
        imagekit.run(double.override(secrets=Secret("key", mount="/run/keys/key")), 1)

    assert "container" in str(caught.value.hint)


class TestCache:
    def test_the_second_run_starts_nothing(self) -> None:
        ran = []

        @env.task(cache="auto")
        def costly(number: int) -> int:
            ran.append(number)
            return number + 1

        first, second = imagekit.run(costly, 1), imagekit.run(costly, 1)
        third = imagekit.run(costly, 2)

        assert [outputs(run) for run in (first, second, third)] == [2, 2, 3]
        assert ran == [1, 2]
        assert tree(second).status == "cached"
        assert tree(second).attempts == ()

    def test_it_can_be_overwritten_and_left_alone(self) -> None:
        ran = []

        @env.task(cache=Cache("override", version_override="1"))
        def counted() -> int:
            ran.append(1)
            return len(ran)

        overwriting = imagekit.with_runcontext(overwrite_cache=True)
        without = imagekit.with_runcontext(disable_run_cache=True)

        found = [
            outputs(imagekit.run(counted)),
            outputs(overwriting.run(counted)),
            outputs(imagekit.run(counted)),
            outputs(without.run(counted)),
            outputs(imagekit.run(counted)),
        ]

        assert found == [1, 2, 2, 3, 2]

    def test_ignored_inputs_salt_and_version(self) -> None:
        ran = []

        def make(cache: Cache) -> Any:
            @env.task(cache=cache)
            def keyed(number: int, note: str = "") -> int:
                ran.append(note)
                return number

            return keyed

        cache = Cache("auto", ignored_inputs="note")
        imagekit.run(make(cache), 1, note="a")
        imagekit.run(make(cache), 1, note="b")
        assert ran == ["a"]
        imagekit.run(make(Cache("auto", ignored_inputs="note", salt="x")), 1, note="c")
        assert ran == ["a", "c"]

    def test_failures_are_not_kept(self) -> None:
        ran = []

        @env.task(cache="auto")
        def second_time() -> int:
            ran.append(1)
            if len(ran) == 1:
                raise ValueError("the first time")
            return 5

        with pytest.raises(ValueError, match="first"):
            imagekit.run(second_time)

        assert outputs(imagekit.run(second_time)) == 5

    def test_one_of_several_equal_calls_runs(self) -> None:
        ran = []

        @env.task(cache=Cache("auto", serialize=True))
        async def once(number: int) -> int:
            ran.append(number)
            await asyncio.sleep(0)
            return number

        @env.task
        async def many() -> list[int]:
            return await asyncio.gather(*(once(1) for _ in range(10)))

        assert outputs(imagekit.run(many)) == [1] * 10
        assert ran == [1]


def test_a_report_is_a_page(tmp_path: Path) -> None:
    @env.task(report=True)
    async def shows() -> None:
        from imagekit import report

        report.log("<p>first &amp; last</p>")
        report.get_tab("data").log("<table></table>")

    run = imagekit.run(shows)

    assert isinstance(run, Run)
    page = run.details().report_path("a0").read_text()
    assert "<p>first &amp; last</p>" in page
    assert page.startswith("<!doctype html>")
    assert ">data</a>" in page


def test_a_failing_task_has_its_report_too() -> None:
    @env.task(report=True)
    def shows() -> None:
        from imagekit import report

        report.log("as far as it came")
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        imagekit.run(shows)

    assert "as far as it came" in last_run().report_path("a0").read_text()


def test_a_task_without_a_report_is_told_so() -> None:
    from imagekit import report

    @env.task
    def shows() -> None:
        report.log("nobody sees it")

    with pytest.raises(NotInTaskContextError, match="has no report"):
        imagekit.run(shows)
    with pytest.raises(NotInTaskContextError):
        report.log("outside")


def test_the_context_tells_what_runs() -> None:
    @env.task
    def tells() -> tuple[str, str, str, str | None, int]:
        context = imagekit.ctx()
        assert context is not None
        action = context.action
        return (
            action.run_name,
            action.name,
            context.mode,
            action.project,
            context.attempt,
        )

    runner = imagekit.with_runcontext(name="named", project="p", labels={"a": "b"})

    assert outputs(runner.run(tells)) == ("named", "a0", "local", "p", 1)
    assert last_run().labels == (("a", "b"),)
    with pytest.raises(RuntimeUserError, match="named"):
        runner.run(tells)


def test_large_values_are_bounded() -> None:
    @env.task(max_inline_io_bytes=100)
    def long(text: str) -> str:
        return text * 2

    assert outputs(imagekit.run(long, "a" * 10)) == "a" * 20
    with pytest.raises(InlineIOMaxBytesBreached, match="inputs"):
        imagekit.run(long, "a" * 200)
    with pytest.raises(InlineIOMaxBytesBreached, match="outputs"):
        imagekit.run(long, "a" * 80)


def test_a_dry_run_touches_nothing(tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    started.clear()

    found = imagekit.with_runcontext(dry_run=True).run(double, 3)

    assert isinstance(found, DryRun)
    assert (found.task, found.inputs) == ("here.double", {"number": 3})
    assert set(found.images) == {"here"}
    assert not started
    assert sorted(tmp_path.rglob("*")) == before
    state = Path(os.environ["XDG_STATE_HOME"])
    assert not state.exists() or not list(state.iterdir())


def test_files_go_from_task_to_task(tmp_path: Path) -> None:
    given = tmp_path / "given.txt"
    given.write_text("one")

    @env.task
    def changed(file: Path) -> Path:
        file.write_text(file.read_text() + " two")
        return file

    @env.task
    def twice(file: Path) -> Path:
        return changed(changed(file))

    run = imagekit.run(twice, given)

    found = outputs(run)
    assert isinstance(run, Run)
    assert found.read_text() == "one two two"
    assert given.read_text() == "one", "a task gets a copy"
    assert found.is_relative_to(run.url)


def test_interrupted_runs_are_recorded_as_aborted() -> None:
    @env.task
    async def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        imagekit.run(interrupted)

    assert last_run().status == "aborted"


@pytest.mark.parametrize("mode", ["hybrid", "elsewhere"])
def test_modes_that_are_not_there_are_refused(mode: Any) -> None:
    with pytest.raises(InitializationError, match=mode):
        imagekit.with_runcontext(mode=mode).run(double, 1)


def test_what_a_task_prints_is_in_its_log(capsys: pytest.CaptureFixture[str]) -> None:
    @env.task
    def inner() -> None:
        print("from inside")

    @env.task
    async def prints() -> None:
        print("from outside")
        await inner.aio()

    run = imagekit.run(prints)

    assert isinstance(run, Run)
    view = run.details()
    assert view.log("a0") == b"from outside\n"
    assert view.log("a0.1") == b"from inside\n"
    shown = capsys.readouterr().out
    assert "from outside" in shown
    assert "from inside" in shown
