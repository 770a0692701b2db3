"""Tasks in containers that go wrong: a clear error, in time, and nothing left behind."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faulty_tasks as tasks
import package_index
import pytest
from machine.engine import Engine
from task_runs import Runs, container_runs, wait_until

from imagekit import Image, TaskEnvironment
from imagekit.failures import RemoteTraceback
from imagekit.task_errors import (
    ImageBuildError,
    OOMError,
    RuntimeDataValidationError,
    RuntimeUserError,
    TaskInterruptedError,
    TaskTimeoutError,
    WorkerLostError,
)

pytestmark = pytest.mark.engine

#: Seconds beside its timeout after which a task has to have ended.
LATE = 5.0
#: Seconds that a task may run: enough for it to begin on a busy machine.
LIMIT = 3


SLOWLY = """
from pathlib import Path
from imagekit import Image, TaskEnvironment

file = Path(__file__).parent / "Dockerfile"
env = TaskEnvironment("slowly", image=Image.from_dockerfile(file, "", "faulty-slowly"))

@env.task
def nothing() -> None: ...
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def runs(engine: Engine, registry: str, tmp_path: Path, cache: Path) -> Iterator[Runs]:
    with container_runs(engine, registry, tmp_path, cache) as found:
        yield found


@pytest.fixture(params=["once", "reused"])
def task(request: pytest.FixtureRequest) -> Any:
    """A maker of tasks by name: in a container of its own, or a reused one."""
    return lambda name: tasks.BOTH[name][request.param == "reused"]


def is_reused(task: Any) -> bool:
    return bool(task.environment.name == "faulty-pooled")


def check_left(runs: Runs, task: Any) -> None:
    """Check that no container is left but one that waits for calls."""
    if is_reused(task):
        return  # it may be on its way out; the fixture waits for it
    assert runs.containers() == []


# Errors of tasks


def test_too_much_memory(runs: Runs, task: Any) -> None:
    with pytest.raises(OOMError, match=r"limit is 96.0 MiB, its peak was 9\d.\d MiB"):
        runs.run(task("takes"), 500)
    check_left(runs, task("takes"))
    root = runs.view().root
    assert root is not None
    assert root.status == "failed"

    assert runs.run(task("takes"), 20).outputs() == 20 << 20


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_killed(runs: Runs, task: Any, number: int) -> None:
    with pytest.raises(TaskInterruptedError, match=signal.Signals(number).name):
        runs.run(task("dies"), number)
    check_left(runs, task("dies"))


def test_a_container_that_is_killed(runs: Runs, task: Any) -> None:
    with runs.running(task("hangs"), False) as result:
        runs.watch.wait_for("hanging")
        runs.engine.docker("kill", str(runs.watch.started[0].place))
    assert isinstance(result.error, TaskInterruptedError)
    assert "killed from outside" in str(result.error)
    wait_until(lambda: runs.containers() == [])


def test_an_interruptible_task_is_begun_again(runs: Runs, task: Any) -> None:
    with runs.running(task("survives"), interruptible=True) as result:
        runs.watch.wait_for("hanging")
        runs.engine.docker("kill", str(runs.watch.started[0].place))
    assert result.error is None
    assert result.value.outputs() == 2
    check_left(runs, task("survives"))
    root = runs.view().root
    assert root is not None
    assert [attempt.status for attempt in root.attempts] == ["failed", "succeeded"]
    first, second = (attempt.place for attempt in root.attempts)
    assert first != second


def test_a_result_of_the_wrong_type(runs: Runs, task: Any) -> None:
    wanted = task("wrong").override(retries=2)
    with pytest.raises(RuntimeDataValidationError, match="wanted int, found 'seven'"):
        runs.run(wanted)
    check_left(runs, wanted)
    assert len(runs.watch.started) == 1, "it was tried again"


def test_a_task_that_leaves_the_interpreter(runs: Runs, task: Any) -> None:
    with pytest.raises(RuntimeUserError, match=r"raised SystemExit\(3\)"):
        runs.run(task("leaves"), 3)
    check_left(runs, task("leaves"))


def test_an_exception_of_the_users_own(runs: Runs, task: Any) -> None:
    with pytest.raises(tasks.Broken, match="broken with 7") as raised:
        runs.run(task("raises"), 7)
    assert type(raised.value) is tasks.Broken
    assert raised.value.code == 7
    cause = raised.value.__cause__
    assert isinstance(cause, RemoteTraceback)
    assert "faulty_tasks.py" in cause.text
    assert "raise Broken(code)" in cause.text
    check_left(runs, task("raises"))


def test_the_command_shows_what_a_task_raised(runs: Runs) -> None:
    words = runs.task_command("faulty.raises", "--code", "7")
    with runs.command(*words) as process:
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert output == ""
    assert "error: the task 'faulty.raises' failed: Broken: broken with 7" in errors
    assert "raise Broken(code)" in errors
    assert runs.containers() == []


# Tasks that hang


@pytest.mark.parametrize("in_c", [False, True])
def test_a_task_that_hangs(runs: Runs, task: Any, in_c: bool) -> None:
    check_timeout(runs, task("hangs"), in_c)
    check_left(runs, task("hangs"))


def test_an_async_task_that_hangs_takes_its_container_along(runs: Runs) -> None:
    with runs.running(tasks.sleeps) as neighbour:
        runs.watch.wait_for("hanging")
        check_timeout(runs, tasks.blocks)
    assert isinstance(neighbour.error, WorkerLostError)
    assert "'faulty-shared.blocks', which ran in it too" in str(neighbour.error)


def test_an_async_task_that_waits_leaves_its_container(runs: Runs) -> None:
    check_timeout(runs, tasks.sleeps)
    check_timeout(runs, tasks.sleeps)
    one, other = (started.place for started in runs.watch.started)
    assert one == other


def check_timeout(runs: Runs, task: Any, *inputs: Any) -> None:
    before = runs.watch.getvalue().count("hanging") + 1
    limited = task.override(timeout=LIMIT)
    with runs.running(limited, *inputs) as result:
        runs.watch.wait_for("hanging", before)
        begun = time.monotonic()
    took = time.monotonic() - begun
    assert isinstance(result.error, TaskTimeoutError)
    assert f"ran for more than {LIMIT} s" in str(result.error)
    assert took < LIMIT + LATE
    root = runs.view().root
    assert root is not None
    assert root.status == "timed-out"


# Tasks that print


@pytest.mark.parametrize("environment", ["faulty", "faulty-pooled"])
def test_a_hundred_megabytes(runs: Runs, environment: str) -> None:
    def peak(megabytes: int) -> int:
        """Return the kilobytes that the client took."""
        task = f"{environment}.prints"
        words = runs.task_command(task, "--megabytes", str(megabytes), "--follow")
        null = subprocess.DEVNULL
        with runs.command(*words, stdout=null, stderr=null) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        assert runs.containers() == []
        return usage.ru_maxrss

    few = peak(1)
    assert peak(100) - few < 32 << 10

    wanted = hashlib.sha256()
    for line in tasks.printed(100):
        wanted.update(line.encode())
    with runs.command("runs", runs.names[-1], "--logs") as process:
        assert process.stdout is not None
        found = hashlib.sha256()
        while data := process.stdout.buffer.read(1 << 20):  # type: ignore[attr-defined]  # a TextIOWrapper
            found.update(data)
    assert found.hexdigest() == wanted.hexdigest()


# Images that can't be built


def test_a_package_that_is_nowhere(runs: Runs) -> None:
    with package_index.serve() as index:
        broken = TaskEnvironment(
            "faulty-package",
            image=tasks.IMAGE.with_pip_packages("no-such-thing", index_url=index.url),
        )
        with pytest.raises(ImageBuildError) as raised:
            runs.run(broken.task(retries=2)(tasks.add), 1, 2)
    check_not_built(runs, raised.value, "'faulty-package'", "no-such-thing")


def test_a_dockerfile_that_fails(runs: Runs, registry: str, tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text(
        f"FROM {registry}/library/python:3.11-slim-bookworm\n"
        "RUN echo this can not work && exit 7\n"
    )
    broken = TaskEnvironment(
        "faulty-dockerfile", image=Image.from_dockerfile(file, "", "faulty-dockerfile")
    )
    with pytest.raises(ImageBuildError) as raised:
        runs.run(broken.task(retries=2)(tasks.add), 1, 2)
    check_not_built(runs, raised.value, "exit code 7", "this can not work")


def check_not_built(runs: Runs, error: ImageBuildError, *words: str) -> None:
    shown = "\n".join([str(error), *getattr(error, "__notes__", [])])
    assert all(word in shown for word in words), shown
    assert error.__cause__ is not None
    assert runs.watch.started == []
    assert runs.containers() == []
    root = runs.view().root
    assert root is not None
    assert (root.status, root.attempts) == ("failed", ())


# The end of the client


def test_ctrl_c(runs: Runs) -> None:
    with runs.command(*runs.task_command("gathers")) as process:
        wait_until(lambda: hanging(runs) == 5 or process.poll() is not None)
        assert process.poll() is None
        assert len(runs.containers()) == 6
        begun = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=60)
        wait_until(lambda: runs.containers() == [])
        assert time.monotonic() - begun < LATE
    assert process.returncode == 130
    assert output == ""
    assert errors.endswith("interrupted\n")
    view = runs.view()
    assert view.status == "aborted"
    assert view.root is not None
    assert {node.status for _, node in view.root.walk()} == {"aborted"}


def test_ctrl_c_while_an_image_is_built(
    runs: Runs, registry: str, tmp_path: Path
) -> None:
    (tmp_path / "imagekit.toml").touch()
    (tmp_path / "Dockerfile").write_text(
        f"FROM {registry}/library/python:3.11-slim-bookworm\nRUN sleep 60\n"
    )
    (tmp_path / "slowly.py").write_text(SLOWLY)
    words = ("run", str(tmp_path / "slowly.py"), "nothing", "--mode", "container")
    with runs.command(*words, "--name", runs.name(), cwd=tmp_path) as process:
        assert process.stderr is not None
        while "sleep 60" not in (line := process.stderr.readline()):
            assert line
        begun = time.monotonic()
        # The builder is not told, as it is by Ctrl-C in a terminal.
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
        assert time.monotonic() - begun < LATE
        os.killpg(process.pid, signal.SIGKILL)
    assert runs.view().status == "aborted"


def test_a_client_that_is_killed(runs: Runs) -> None:
    with runs.command(*runs.task_command("gathers")) as process:
        wait_until(lambda: hanging(runs) == 5 or process.poll() is not None)
        assert process.poll() is None
        process.kill()
        process.wait()
        wait_until(lambda: runs.containers() == [])
    assert runs.view().status == "lost"
    with runs.command("runs", runs.names[-1]) as process:
        output, _ = process.communicate(timeout=60)
    assert f"{runs.names[-1]}  lost" in output


def hanging(runs: Runs) -> int:
    logs = runs.folder / "runs" / runs.names[-1] / "logs"
    return sum(file.read_text() == "hanging\n" for file in logs.glob("*.log"))


# Tasks that wait for their own environment


def test_a_task_that_calls_itself(runs: Runs) -> None:
    assert runs.run(tasks.counts_down, 3).outputs() == [3, 2, 1, 0]
    check_counted(runs)
    assert runs.run(tasks.counts_down_sync, 3).outputs() == [3, 2, 1, 0]


def check_counted(runs: Runs) -> None:
    """Check that each call had a container, and the first the one that is reused."""
    root = runs.view().root
    assert root is not None
    nodes = [node for _, node in root.walk()]
    assert len({node.attempts[0].place for node in nodes}) == 4
    assert [runs.view().log(node.id) for node in nodes] == [
        b"3\n",
        b"2\n",
        b"1\n",
        b"0\n",
    ]
    assert runs.containers() == [nodes[0].attempts[0].place]


def test_a_task_that_calls_many_of_its_own_environment(runs: Runs) -> None:
    assert runs.run(tasks.fans_out, 4).outputs() == 4 + 0 + 1 + 2 + 3


def test_environments_that_wait_for_each_other(runs: Runs) -> None:
    assert runs.run(tasks.both_ways, 2).outputs() == 4
