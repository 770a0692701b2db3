"""The example pipeline on a cluster: the same as in process, with the least rights."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cluster_user import cluster_user
from machine.cluster import Cluster

from imagekit.run_records import RUNS, RunRecords, RunView

PIPELINE = Path(__file__).parent.parent / "examples" / "pipeline" / "pipeline.py"

pytestmark = pytest.mark.engine


@pytest.fixture
def environ(
    cluster: Cluster, registry: str, tmp_path: Path
) -> Iterator[dict[str, str]]:
    with cluster_user(cluster, registry, tmp_path) as found:
        yield found


def run(environ: dict[str, str], mode: str, *words: str) -> Any:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "imagekit", "run", str(PIPELINE)),
            *(*words, "--mode", mode, "--json"),
        ],
        capture_output=True,
        text=True,
        env=environ,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def view(environ: dict[str, str], name: str) -> RunView:
    return RunRecords(Path(environ["IMAGEKIT_RECORD_DIR"], RUNS)).open(name)


def test_it_is_the_same_in_process_and_on_a_cluster(
    environ: dict[str, str], cluster: Cluster
) -> None:
    words = ("report", "--count", "50", "--no-result-cache")

    here = run(environ, "local", *words)
    there = run(environ, "remote", *words)

    assert here["tree"]["outputs"] == there["tree"]["outputs"]
    local, remote = (view(environ, item["name"]) for item in (here, there))
    assert local.comparable() == remote.comparable()
    assert remote.mode == "remote"
    tree = remote.tree()
    assert tree is not None
    names = [node.name for _, node in tree.walk() if node.kind == "task"]
    assert len(names) == 54
    # By digest: what was tried is what runs.
    assert len(set(remote.images)) == 3
    assert all("@sha256:" in image for image in remote.images)
    assert remote.log("a0.4") == local.log("a0.4") == b"drew 50 squares\n"
    jobs = cluster.request(
        "GET", f"/apis/batch/v1/namespaces/{environ['NAMESPACE']}/jobs"
    )["items"]
    # One for the report, 50 squares, the table, one that is late, three attempts;
    # what was given up is deleted.
    assert len(jobs) == 1 + 50 + 1 + 3
    assert [job for job in jobs if job["status"].get("active")] == []


def test_a_cached_task_starts_nothing_the_second_time(environ: dict[str, str]) -> None:
    words = ("report", "--count", "3")

    first = run(environ, "remote", *words)
    second = run(environ, "remote", *words)

    tables = [node_of(item["tree"], "tables.table") for item in (first, second)]
    assert [item["status"] for item in tables] == ["succeeded", "cached"]
    assert tables[0]["outputs"] == tables[1]["outputs"]
    assert tables[1]["attempts"] == []


def node_of(tree: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the first call of a task in a tree."""
    if tree["name"] == name:
        return tree
    for child in tree["children"]:
        with suppress(LookupError):
            return node_of(child, name)
    raise LookupError(name)
