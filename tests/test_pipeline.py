"""The example pipeline: the same in this process and in containers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from machine.engine import Engine

from imagekit.run_records import RUNS, RunRecords, RunView

PIPELINE = Path(__file__).parent.parent / "examples" / "pipeline" / "pipeline.py"

pytestmark = pytest.mark.engine


@pytest.fixture
def environ(engine: Engine, registry: str, tmp_path: Path) -> dict[str, str]:
    """What a person has in the shell."""
    return {
        **os.environ,
        **(engine.environment or {}),
        "IMAGEKIT_REGISTRY_MIRRORS": f"docker.io={registry}",
        "IMAGEKIT_RECORD_DIR": str(tmp_path / "records"),
        "IMAGEKIT_CACHE_DIR": str(tmp_path / "cache"),
    }


def run(environ: dict[str, str], mode: str, *words: str) -> Any:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "imagekit", "run", str(PIPELINE)),
            *(*words, "--mode", mode, "--json"),
        ],
        capture_output=True,
        text=True,
        env=environ,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def view(environ: dict[str, str], name: str) -> RunView:
    return RunRecords(Path(environ["IMAGEKIT_RECORD_DIR"], RUNS)).open(name)


def containers(engine: Engine) -> set[str]:
    return set(engine.docker("ps", "--all", "--quiet").split())


def test_it_is_the_same_in_process_and_in_containers(
    environ: dict[str, str], engine: Engine
) -> None:
    before = containers(engine)
    words = ("report", "--count", "50", "--no-result-cache")

    here = run(environ, "local", *words)
    there = run(environ, "container", *words)

    assert here["tree"]["outputs"] == there["tree"]["outputs"]
    assert here["tree"]["outputs"]["total"] == sum(n * n for n in range(50))
    assert here["tree"]["outputs"]["attempt"] == 3
    assert here["tree"]["outputs"]["late"] == "it was late"
    local, container = (view(environ, item["name"]) for item in (here, there))
    assert local.comparable() == container.comparable()
    # All tasks: the report, 50 squares, one that is late, the table, the third time.
    tree = container.tree()
    assert tree is not None
    names = [node.name for _, node in tree.walk() if node.kind == "task"]
    assert len(names) == 54
    assert {name.partition(".")[0] for name in names} == {
        "numbers",
        "tables",
        "network",
    }
    # Each environment has an image of its own, with the same code on top.
    assert len(set(container.images)) == 3
    assert all(re.search(":ik1-", image) for image in container.images)
    assert local.images == ()
    assert container.log("a0.4") == local.log("a0.4") == b"drew 50 squares\n"
    assert containers(engine) == before


def test_what_is_built_is_said_and_prints_are_shown(environ: dict[str, str]) -> None:
    words = ("table", "--squares", "[0]", "--mode", "container", "--follow")
    done = subprocess.run(
        [sys.executable, "-m", "imagekit", "run", str(PIPELINE), *words],
        capture_output=True,
        text=True,
        env=environ,
        timeout=300,
    )

    assert done.returncode == 0, done.stderr
    assert "resolve: Python packages" in done.stderr
    assert "[a0 tables.table] drew 1 squares\n" in done.stderr
    assert done.stdout.startswith("      squares")


def test_a_cached_task_starts_nothing_the_second_time(
    environ: dict[str, str], engine: Engine
) -> None:
    words = ("table", "--squares", "[0, 1, 4]")

    first = run(environ, "container", *words)
    second = run(environ, "container", *words)
    local = run(environ, "local", *words)

    assert first["tree"]["status"] == "succeeded"
    assert second["tree"]["status"] == local["tree"]["status"] == "cached"
    assert second["tree"]["outputs"] == first["tree"]["outputs"]
    assert second["tree"]["attempts"] == []
    assert view(environ, second["name"]).images == ()
