"""What a task in a container costs beside the container itself."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import faulty_tasks as tasks
import pytest
from machine.engine import Engine
from task_runs import Runs, container_runs

pytestmark = pytest.mark.engine

#: Seconds; promised by the project.
ONCE, REUSED = 1.0, 0.1
ROUNDS = 7
PROGRAM = "print(1 + 2)"


@pytest.fixture
def runs(engine: Engine, registry: str, tmp_path: Path) -> Iterator[Runs]:
    with container_runs(engine, registry, tmp_path, tmp_path / "cache") as found:
        yield found


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


@pytest.mark.alone
def test_overhead(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    once, reused = tasks.BOTH["add"]
    image = runs.run(once, 1, 2).details().image
    assert image is not None
    assert runs.run(reused, 1, 2).details().image == image
    plain = [runs.engine.client, "run", "--rm", image, "python3", "-c", PROGRAM]

    docker, single, warm = [], [], []
    for _ in range(ROUNDS):
        docker.append(seconds(lambda: subprocess.run(plain, check=True)))
        single.append(seconds(lambda: runs.run(once, 1, 2)))
        warm.append(seconds(lambda: runs.run(reused, 1, 2)))
    inside = runs.run(tasks.times_calls, ROUNDS).outputs()

    base = statistics.median(docker)
    added = statistics.median(single) - base
    called = statistics.median(warm)
    with capsys.disabled():
        print(
            f"\ndocker run {base:.3f} s; a task adds {added:.3f} s; a run of a task in "
            f"a warm container takes {called * 1000:.0f} ms, a call of one by another "
            f"{statistics.median(inside) * 1000:.0f} ms"
        )
    assert added < ONCE
    assert called < REUSED
    assert statistics.median(inside) < REUSED
