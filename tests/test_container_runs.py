"""Tasks in containers: what comes back, what is printed, and how they end."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import container_tasks as tasks
import pytest
from container_harness import CODE, Runs, build_task_image
from machine.engine import Engine
from processes import processes

from imagekit.errors import DefinitionError, PlanError
from imagekit.io import File
from imagekit.oci.docker import Docker
from imagekit.records import replace
from imagekit.resources import GPU, Resources
from imagekit.run_events import ROOT, Ended, Reported, Started
from imagekit.running.container.executor import ContainerExecutor
from imagekit.running.container.limits import limit_arguments
from imagekit.running.container.pool import PoolLimits
from imagekit.running.container.task_image import TaskImage
from imagekit.secret import Secret
from imagekit.task_errors import (
    ImagePullBackOffError,
    ModuleLoadError,
    OOMError,
    RunAbortedError,
    RuntimeDataValidationError,
    RuntimeSystemError,
    RuntimeUserError,
    TaskInterruptedError,
    WorkerLostError,
)
from imagekit.value_blobs import ValueBlobs

pytestmark = pytest.mark.engine

SMALL = Resources(memory="96Mi")


@pytest.fixture(scope="module")
def engine(engine_on_disk: Engine) -> Engine:
    """Return an engine whose containers take the memory that they use, and no more."""
    return engine_on_disk


@pytest.fixture(scope="module")
def image(
    engine: Engine, registry: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PATH", "DOCKER_HOST", "DOCKER_CONFIG"):
            if name in engine.environment:
                patch.setenv(name, engine.environment[name])
        reference = build_task_image(tmp_path_factory.mktemp("image"), registry)
    yield reference
    engine.docker("image", "rm", "--force", reference)


@pytest.fixture
def runs(engine: Engine, image: str, tmp_path: Path) -> Iterator[Runs]:
    found = Runs(
        engine=engine,
        blobs=ValueBlobs(tmp_path / "blobs"),
        image=TaskImage(reference=image, code=CODE, module="container_tasks.py"),
    )
    yield found
    found.executor.close()
    assert found.containers() == []


def run(runs: Runs, task: Any, *args: Any, **changes: Any) -> Any:
    return asyncio.run(runs.run(task, *args, **changes))


async def wait_for_text(runs: Runs, text: str, action: str = ROOT) -> None:
    await asyncio.to_thread(runs.records.wait_for, text, action)


# What goes in and comes out


def test_values_go_in_and_come_out(runs: Runs) -> None:
    assert run(runs, tasks.add, 2, 3) == 5
    moved = run(runs, tasks.moved, tasks.Point(1, "a"), 2)
    assert moved == tasks.Point(3, "A")
    assert [image for image, _ in runs.placed] == [runs.image.reference] * 2


def test_a_task_knows_where_it_is(runs: Runs) -> None:
    runs.image = replace(runs.image, workdir="/tmp")
    settings = {"env_vars": (("GREETING", "a 'b' \"c\" $d\n\u00e9"),)}
    found = run(runs, tasks.where, **settings)

    assert found == {
        "action": ROOT,
        "run": "test run",
        "attempt": "1",
        "task": "boxes.where",
        "main": f"{CODE}/container_tasks.py",
        "path": CODE,
        "cwd": "/tmp",
        "greeting": "a 'b' \"c\" $d\n\u00e9",
        "pid": found["pid"],
    }
    assert found["pid"] != "1"


def test_a_module_is_found_by_its_name(runs: Runs) -> None:
    runs.image = replace(runs.image, module="container_tasks")
    assert run(runs, tasks.add, 2, 3) == 5


def test_imagekit_may_be_anywhere_in_the_image(runs: Runs) -> None:
    runs.image = replace(
        runs.image,
        python="/usr/local/bin/python3.11",
        runtime="/opt/venv/lib/python3.11/site-packages",
    )
    assert run(runs, tasks.add, 2, 3) == 5


def test_large_files_pass_with_flat_memory(runs: Runs, tmp_path: Path) -> None:
    size = 96 << 20
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        for number in range(96):
            file.write(number.to_bytes(8, "big") * (1 << 17))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    file = run(
        runs,
        tasks.reads,
        File.from_local(str(path)),
        size,
        resources=Resources(memory="192Mi"),
    )

    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 48 << 10  # kilobytes
    with file.open("rb") as result:
        assert result.read(16) == (0).to_bytes(8, "little") * 2
    assert Path(file.path).stat().st_size == size


def test_a_report_is_recorded(runs: Runs) -> None:
    assert run(runs, tasks.shows, "bold") == 1
    reports = [item for item in runs.records.events if isinstance(item, Reported)]
    assert [item.id for item in reports] == [ROOT]
    assert "<b>bold</b>" in reports[0].html


def test_tasks_call_tasks_in_other_containers(runs: Runs) -> None:
    assert run(runs, tasks.outer, 2) == [1, 2]
    events = runs.records.events
    started = [item for item in events if isinstance(item, Started)]
    ended = [item for item in events if isinstance(item, Ended)]
    assert [(item.id, item.kind, item.name) for item in started] == [
        ("a0.1", "group", "all")
    ]
    assert [(item.id, item.status) for item in ended] == [("a0.1", "succeeded")]
    assert len({place for _, place in runs.placed}) == 3

    assert run(runs, tasks.outer_sync, 1) == 5


def test_callers_do_not_count_among_busy_containers(runs: Runs) -> None:
    runs.most = 1
    runs.__post_init__()

    async def both() -> Any:
        return await asyncio.gather(
            runs.run(tasks.outer_sync, 1, action="a0.1"),
            runs.run(tasks.outer_sync, 2, action="a0.2"),
        )

    assert asyncio.run(both()) == [5, 7]
    assert len(runs.placed) == 6


def test_errors_cross_containers_as_they_are(runs: Runs) -> None:
    assert run(runs, tasks.catches, 7) == "caught 7"


# What is printed


def test_what_is_printed_is_logged(runs: Runs) -> None:
    run(runs, tasks.says, "hello")
    assert sorted(runs.records.text().splitlines()) == [
        "HELLO",
        "child hello",
        "hello",
    ]


def test_a_hundred_megabytes_are_logged_with_flat_memory(runs: Runs) -> None:
    runs.records.keep = False
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert run(runs, tasks.prints, 100, resources=SMALL) == 100
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert runs.records.size == 100_000_000
    assert grown < 32 << 10  # kilobytes


def test_a_log_that_fails_ends_the_task(runs: Runs) -> None:
    def fail(action: str, data: bytes) -> None:
        raise OSError("disk full")

    runs.records.log = fail  # type: ignore[method-assign]  # a recorder that fails
    with pytest.raises(RuntimeSystemError, match="disk full"):
        run(runs, tasks.prints, 1)


# How they end


def test_what_a_task_raises_is_raised(runs: Runs) -> None:
    with pytest.raises(tasks.Broken) as raised:
        run(runs, tasks.raises, 7)
    assert raised.value.code == 7
    assert "raise Broken(code)" in str(raised.value.__cause__)


def test_leaving_the_interpreter_is_an_error(runs: Runs) -> None:
    with pytest.raises(RuntimeUserError, match=r"raised SystemExit\(3\)"):
        run(runs, tasks.leaves, 3)


def test_a_result_of_the_wrong_type_is_an_error(runs: Runs) -> None:
    with pytest.raises(RuntimeDataValidationError, match="wanted"):
        run(runs, tasks.wrong)


def test_too_much_memory_is_an_error(runs: Runs) -> None:
    with pytest.raises(OOMError, match=r"limit is 96.0 MiB, its peak was 9\d.\d MiB"):
        run(runs, tasks.takes, 500, resources=SMALL)
    assert run(runs, tasks.takes, 20, resources=SMALL) == 20 << 20


def test_a_child_that_takes_too_much_is_noted(runs: Runs) -> None:
    with pytest.raises(subprocess.CalledProcessError) as raised:
        run(runs, tasks.child_takes, 500, resources=SMALL)
    assert "took more memory than it may" in " ".join(raised.value.__notes__)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_worker_is_an_interruption(runs: Runs, number: int) -> None:
    with pytest.raises(TaskInterruptedError, match=signal.Signals(number).name):
        run(runs, tasks.dies, number)


def test_a_killed_container_is_an_interruption(runs: Runs) -> None:
    async def kill() -> None:
        task = asyncio.create_task(runs.run(tasks.hangs, False))
        await wait_for_text(runs, "hanging")
        (name,) = runs.containers()
        await asyncio.to_thread(runs.engine.docker, "kill", name)
        await task

    with pytest.raises(TaskInterruptedError, match="killed from outside"):
        asyncio.run(kill())


def test_a_crash_says_what_was_printed_last(runs: Runs) -> None:
    with pytest.raises(WorkerLostError, match=r"SIGSEGV(.|\n)*before the crash"):
        run(runs, tasks.crashes)


@pytest.mark.parametrize("code", [0, 5])
def test_a_worker_that_vanishes_is_lost(runs: Runs, code: int) -> None:
    with pytest.raises(WorkerLostError, match=f"exit code {code} before"):
        run(runs, tasks.vanishes, code)


@pytest.mark.parametrize("in_c", [False, True])
def test_a_cancelled_task_leaves_nothing(runs: Runs, in_c: bool) -> None:
    async def cancel() -> float:
        task = asyncio.create_task(runs.run(tasks.hangs, in_c))
        await wait_for_text(runs, "hanging")
        begun = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - begun

    assert asyncio.run(cancel()) < 5
    assert runs.containers() == []


def test_a_task_that_is_cancelled_at_once_leaves_nothing(runs: Runs) -> None:
    async def cancel() -> None:
        task = asyncio.create_task(runs.run(tasks.hangs, False))
        while not runs.placed:  # noqa: ASYNC110  (it is told in this loop)
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert runs.containers() == []


def test_nested_calls_are_cancelled_from_inside(runs: Runs) -> None:
    assert run(runs, tasks.gives_up, 1.5) == "gave up"
    assert runs.containers() == []


def test_nested_calls_end_with_their_caller(runs: Runs) -> None:
    async def cancel() -> None:
        task = asyncio.create_task(runs.run(tasks.gives_up, 600))
        await wait_for_text(runs, "hanging", "a0.1")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert runs.containers() == []


# What can't start


def test_an_image_that_is_not_there_is_an_error(runs: Runs) -> None:
    runs.image = TaskImage(reference="no-such-image:1", module="x")
    with pytest.raises(ImagePullBackOffError, match="no image 'no-such-image:1'"):
        run(runs, tasks.add, 1, 2)


def test_an_image_without_python_is_an_error(runs: Runs) -> None:
    reference = runs.image.reference
    runs.image = TaskImage(reference=reference, python="python2", module="x")
    with pytest.raises(RuntimeSystemError, match="no Python can be started"):
        run(runs, tasks.add, 1, 2)
    # The base's own Python knows no imagekit.
    runs.image = TaskImage(
        reference=reference, python="/usr/local/bin/python3.11", module="x"
    )
    with pytest.raises(RuntimeSystemError, match="has no imagekit"):
        run(runs, tasks.add, 1, 2)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("absent.py", "wanted the script '/code/absent.py'"),
        ("absent", "No module named 'absent'"),
        ("json", "has no task 'boxes.add'"),
    ],
)
def test_code_that_is_not_there_is_an_error(
    runs: Runs, module: str, message: str
) -> None:
    reference = runs.image.reference
    runs.image = TaskImage(reference=reference, code=CODE, module=module)
    with pytest.raises(ModuleLoadError, match=message):
        run(runs, tasks.add, 1, 2)


def test_an_engine_that_is_not_there_is_an_error(runs: Runs) -> None:
    gone = {**runs.engine.environment, "DOCKER_HOST": "unix:///nonexistent/docker.sock"}
    runs.executor = ContainerExecutor(
        images=lambda _: runs.image,
        blobs=runs.blobs,
        docker=Docker(program=runs.engine.client, environment=gone),
    )
    with pytest.raises(RuntimeSystemError, match="no Docker engine answers"):
        run(runs, tasks.add, 1, 2)
    with pytest.raises(RuntimeSystemError, match="no Docker engine answers"):
        run(runs, tasks.add, 1, 2, resources=Resources(gpu=1))
    runs.executor = ContainerExecutor(
        images=lambda _: runs.image,
        blobs=runs.blobs,
        docker=Docker(program="/nonexistent/docker"),
    )
    with pytest.raises(RuntimeSystemError, match="can't run '/nonexistent/docker'"):
        run(runs, tasks.add, 1, 2)


def test_a_device_that_is_not_there_is_an_error(runs: Runs) -> None:
    with pytest.raises(RuntimeSystemError, match="no runtime 'nvidia'"):
        run(runs, tasks.add, 1, 2, resources=Resources(gpu=GPU("T4", 2)))
    with pytest.raises(
        RuntimeSystemError, match=r"can't give containers 'A100 1g.5gb'"
    ):
        run(runs, tasks.add, 1, 2, resources=Resources(gpu=GPU("A100", 1, "1g.5gb")))


# Limits and secrets


def test_resources_become_limits() -> None:
    assert limit_arguments(None) == []
    limits = Resources(cpu=("500m", 2), memory=("1Gi", "2Gi"), gpu=2, shm="auto")
    assert limit_arguments(limits) == [
        *("--cpus", "2"),
        *("--memory", str(2 << 30), "--memory-swap", str(2 << 30)),
        *("--memory-reservation", str(1 << 30)),
        *("--shm-size", str(1 << 30)),
        *("--gpus", "2"),
    ]


def test_secrets_are_given_and_not_shown(runs: Runs) -> None:
    runs.environ |= {"TOKEN": "open sesame", "CERT": "very secret"}
    shown: list[str] = []

    def look() -> None:
        wait_until(lambda: runs.placed != [])
        name = str(runs.placed[0][1])
        wait_until(lambda: name in runs.containers())
        shown.append(runs.engine.docker("inspect", name))
        shown.extend(process.argv.decode(errors="replace") for process in processes())

    async def both() -> Any:
        looking = asyncio.create_task(asyncio.to_thread(look))
        found = await runs.run(tasks.secrets)
        await looking
        return found

    assert asyncio.run(both()) == ["open sesame", "very secret", "0o100600"]
    assert any("imagekit.runtime" in text for text in shown)
    assert not any("sesame" in text or "very secret" in text for text in shown)


def test_secrets_that_are_nowhere_or_in_the_way_are_refused(runs: Runs) -> None:
    with pytest.raises(PlanError, match="no value for the secret 'token'"):
        run(runs, tasks.secrets)
    runs.environ |= {"TOKEN": "x"}
    for mount in ("/etc/token", "/token", "/usr/bin/token", "/proc/1/token"):
        secrets = (Secret("token", mount=mount),)
        with pytest.raises(DefinitionError, match="need a folder of their own"):
            run(runs, tasks.add, 1, 2, secrets=secrets)


# Containers that are reused


def test_warm_containers_are_used_again(runs: Runs) -> None:
    first = run(runs, tasks.worker_pid, "one")
    begun = time.monotonic()
    second = run(runs, tasks.worker_pid, "two", action="a0.2")
    took = time.monotonic() - begun

    assert first == second
    assert took < 0.5
    assert runs.records.text() == "says one\nchild one\n"
    assert runs.records.text("a0.2") == "says two\nchild two\n"
    assert len(runs.containers()) == 1


def test_a_pool_grows_up_to_its_most(runs: Runs) -> None:
    async def many() -> list[Any]:
        calls = (
            runs.run(tasks.worker_pid, str(number), action=f"a0.{number}")
            for number in range(6)
        )
        return await asyncio.gather(*calls)

    found = asyncio.run(many())
    assert len({host for _, host in found}) == 2
    assert len(runs.containers()) == 2
    for number in range(6):
        text = runs.records.text(f"a0.{number}")
        assert text == f"says {number}\nchild {number}\n"


def test_calls_share_a_container_and_logs_do_not_mix(runs: Runs) -> None:
    async def many() -> list[Any]:
        calls = (
            runs.run(tasks.talks, f"n{number}", 50, action=f"a0.{number}")
            for number in range(8)
        )
        return await asyncio.gather(*calls)

    assert len(set(asyncio.run(many()))) == 1
    for number in range(8):
        lines = runs.records.text(f"a0.{number}").splitlines()
        assert lines == [f"n{number} {line}" for line in range(50)]


def test_a_dead_replica_is_replaced(runs: Runs) -> None:
    (_, before) = run(runs, tasks.worker_pid, "one")
    with pytest.raises(TaskInterruptedError):
        run(runs, tasks.pooled_dies)
    (_, after) = run(runs, tasks.worker_pid, "two")
    assert before != after


def test_a_cancelled_call_leaves_its_replica_alone(runs: Runs) -> None:
    async def cancel() -> Any:
        host = await runs.run(tasks.talks, "x", 1, action="a0.1")
        task = asyncio.create_task(runs.run(tasks.sleeps, 600.0, action="a0.2"))
        await wait_for_text(runs, "sleeping", "a0.2")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return host == await runs.run(tasks.talks, "x", 1, action="a0.3")

    assert asyncio.run(cancel())


def test_a_call_that_does_not_stop_takes_its_replica_along(runs: Runs) -> None:
    async def cancel() -> None:
        other = asyncio.create_task(runs.run(tasks.sleeps, 600.0, action="a0.1"))
        await wait_for_text(runs, "sleeping", "a0.1")
        stuck = asyncio.create_task(runs.run(tasks.blocks, action="a0.2"))
        await wait_for_text(runs, "blocking", "a0.2")
        begun = time.monotonic()
        stuck.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stuck
        with pytest.raises(WorkerLostError, match=r"'shared.blocks', which ran in it"):
            await other
        assert time.monotonic() - begun < 6

    asyncio.run(cancel())


def test_a_sync_call_that_is_cancelled_ends_its_replica(runs: Runs) -> None:
    async def cancel() -> None:
        task = asyncio.create_task(runs.run(tasks.pooled_hangs))
        await wait_for_text(runs, "hanging")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await runs.run(tasks.worker_pid, "after", action="a0.2")

    asyncio.run(cancel())


def test_one_event_loop_after_the_other_uses_a_pool(runs: Runs) -> None:
    hosts = {run(runs, tasks.talks, "x", 1, action=f"a0.{n}") for n in range(3)}
    assert len(hosts) == 1


def test_idle_containers_go(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = PoolLimits(fewest=1, most=2, concurrency=1, idle=2.5, surplus_idle=0.5)
    monkeypatch.setattr(PoolLimits, "of", lambda _: limits)

    async def two() -> None:
        await asyncio.gather(
            runs.run(tasks.worker_pid, "1", action="a0.1"),
            runs.run(tasks.worker_pid, "2", action="a0.2"),
        )

    asyncio.run(two())
    assert len(runs.containers()) == 2
    wait_until(lambda: len(runs.containers()) == 1)
    wait_until(lambda: runs.containers() == [])


def test_waiting_calls_end_with_the_pool(runs: Runs) -> None:
    async def close() -> None:
        works = [
            asyncio.create_task(runs.run(tasks.pooled_hangs, action=f"a0.{number}"))
            for number in range(3)
        ]
        await wait_for_text(runs, "hanging", "a0.0")
        await wait_for_text(runs, "hanging", "a0.1")
        await asyncio.to_thread(runs.executor.close)
        found = await asyncio.gather(*works, return_exceptions=True)
        assert [type(item) for item in found] == [RunAbortedError] * 3

    asyncio.run(close())


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# When this process ends

CLIENT = """
import asyncio, os, sys
sys.path[:0] = {path!r}
from pathlib import Path
import container_tasks as tasks
from container_harness import Runs
from imagekit.running.container.task_image import TaskImage
from imagekit.value_blobs import ValueBlobs
from machine.engine import Engine
from processes import processes

class Engine:
    client = {client!r}
    environment = dict(os.environ)

runs = Runs(
    engine=Engine(),
    blobs=ValueBlobs({blobs!r}),
    image=TaskImage(reference={reference!r}, code="/code", module="container_tasks.py"),
)
class Log:
    def record(self, event): pass
    def log(self, action, data): print(data.decode(), end="", flush=True)
runs.records = Log()
print(asyncio.run(runs.run({call})), flush=True)
"""


def client(runs: Runs, call: str, blobs: Path) -> subprocess.Popen[str]:
    code = CLIENT.format(
        path=[item for item in sys.path if item],
        client=runs.engine.client,
        blobs=str(blobs),
        reference=runs.image.reference,
        call=call,
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, **runs.engine.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("in_c", [False, True])
def test_a_killed_client_leaves_nothing(runs: Runs, tmp_path: Path, in_c: bool) -> None:
    with client(runs, f"tasks.hangs, {in_c}", tmp_path / "blobs") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "hanging\n"
        assert len(runs.containers()) == 1
        process.kill()
        wait_until(lambda: runs.containers() == [], seconds=10)


def test_a_killed_client_leaves_no_warm_containers(runs: Runs, tmp_path: Path) -> None:
    with client(runs, "tasks.pooled_hangs", tmp_path / "blobs") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "hanging\n"
        process.kill()
        wait_until(lambda: runs.containers() == [], seconds=10)


def test_ctrl_c_leaves_nothing(runs: Runs, tmp_path: Path) -> None:
    with client(runs, "tasks.hangs, False", tmp_path / "blobs") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "hanging\n"
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert errors.rstrip().endswith("KeyboardInterrupt")
    assert runs.containers() == []


def test_warm_containers_end_with_the_client(runs: Runs, tmp_path: Path) -> None:
    with client(runs, "tasks.worker_pid, 'x'", tmp_path / "blobs") as process:
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert errors == ""
    assert output.startswith("says x\nchild x\n")
    assert runs.containers() == []
