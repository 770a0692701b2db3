"""Many tasks called at once: few at a time on the cluster, and little memory for all."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cluster_user import cluster_user
from machine.cluster import Cluster

from imagekit.cluster import names
from imagekit.cluster.kubeconfig import client_api
from imagekit.cluster.stopping import Stop
from imagekit.cluster.watching import Deleted, Listed, watch
from imagekit.run_records import RUNS, RunRecords

TASKS = Path(__file__).with_name("fan_out_tasks.py")
CALLS = 200
MOST = 20
#: Bytes that a process of imagekit may have, and by how much it may grow from a quarter
#: of the calls to the last. The client loads the official client, and reads the logs of
#: all pods that run.
MEMORY = {"driver": (64 << 20, 4 << 20), "client": (128 << 20, 12 << 20)}
_POLL_SECONDS = 0.2
_SECONDS = 400

pytestmark = pytest.mark.engine


@pytest.fixture
def environ(
    cluster: Cluster, registry: str, tmp_path: Path
) -> Iterator[dict[str, str]]:
    with cluster_user(cluster, registry, tmp_path) as found:
        yield {**found, "IMAGEKIT_MAX_PODS": str(MOST)}


@dataclass
class Seen:
    """What the API server told of Jobs and their pods.

    All changes of a cluster are numbered, so those of several watches can be put in the
    order in which they happened.
    """

    changes: list[tuple[int, str, bool]] = field(default_factory=list)
    over: set[str] = field(default_factory=set)
    jobs: set[str] = field(default_factory=set)
    errors: list[Exception] = field(default_factory=list)

    def job(self, job: Any, gone: bool) -> None:
        name = job["metadata"]["name"]
        if not gone and name not in self.jobs:
            self.jobs.add(name)
            self.changes.append((_version(job), name, True))

    def pod(self, pod: Any, gone: bool) -> None:
        # A Job has one pod here: another one would be a retry, and counts with it.
        name = pod["metadata"]["labels"]["job-name"]
        ended = pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}
        if (gone or ended) and name not in self.over:
            self.over.add(name)
            self.changes.append((_version(pod), name, False))

    def most(self) -> int:
        """Return how many Jobs there were at once whose pods had not ended."""
        going = most = 0
        for _, _, begins in sorted(self.changes):
            going += 1 if begins else -1
            most = max(most, going)
        return most


def _version(found: Any) -> int:
    return int(found["metadata"]["resourceVersion"])


@pytest.fixture
def seen(cluster: Cluster, environ: dict[str, str]) -> Iterator[Seen]:
    """Watch the nested calls of all runs, from before the first of them."""
    seen, stop = Seen(), Stop()
    listed = threading.Semaphore(0)
    api = client_api(kubeconfig=str(cluster.kubeconfig), namespace=environ["NAMESPACE"])
    selector = f"{names.selector()},{names.CALLER}"

    def work(kind: str, take: Callable[[Any, bool], None]) -> None:
        try:
            for event in watch(api, kind, selector, stop=stop):
                if isinstance(event, Listed):
                    listed.release()
                else:
                    take(event.object, isinstance(event, Deleted))
        except Exception as error:  # noqa: BLE001  (the test raises it)
            seen.errors.append(error)
            listed.release()

    kinds = (("Job", seen.job), ("Pod", seen.pod))
    threads = [threading.Thread(target=work, args=kind, daemon=True) for kind in kinds]
    for thread in threads:
        thread.start()
    for _ in threads:
        listed.acquire()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        api.close()
    assert seen.errors == []


@dataclass
class Memory:
    """What processes had in memory, each with how many calls were over then."""

    samples: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    def take(self, what: str, over: int, process: int) -> None:
        try:
            status = Path(f"/proc/{process}/status").read_text()
        except OSError:
            return
        for line in status.splitlines():
            if line.startswith("VmRSS:"):
                size = int(line.split()[1]) << 10
                self.samples.setdefault(what, []).append((over, size))

    def grown(self, what: str, since: int) -> int:
        """Return by how much it grew from *since* calls on."""
        before = max(size for over, size in self.samples[what] if over <= since)
        return max(size for _, size in self.samples[what]) - before

    def most(self, what: str) -> int:
        return max(size for _, size in self.samples[what])


def first_process(cluster: Cluster, namespace: str, run: str) -> int | None:
    """Return the first process in the pod of a run's own task."""
    label = f"label=io.kubernetes.pod.namespace={namespace}"
    pod = names.call_name(run, "a0", 0)
    lines = cluster.engine.docker(
        *("ps", "--filter", label, "--filter", f"name=k8s_primary_{pod}-"),
        *("--format", "{{.ID}}"),
    ).split()
    if not lines:
        return None
    found = cluster.engine.docker("inspect", "--format", "{{.State.Pid}}", lines[0])
    return int(found) or None


def test_many_calls(
    environ: dict[str, str], cluster: Cluster, seen: Seen, tmp_path: Path
) -> None:
    name, memory = "fan-out", Memory()
    driver: int | None = None
    began = time.monotonic()
    output, errors = tmp_path / "stdout", tmp_path / "stderr"
    with output.open("wb") as stdout, errors.open("wb") as stderr:
        client = subprocess.Popen(
            [
                *(sys.executable, "-m", "imagekit", "run", str(TASKS), "squares"),
                *("--count", str(CALLS), "--mode", "remote", "--json"),
                *("--name", name),
            ],
            stdout=stdout,
            stderr=stderr,
            env=environ,
        )
        try:
            while client.poll() is None:
                assert time.monotonic() < began + _SECONDS
                over = len(seen.over)
                if driver is None and seen.jobs:  # the deploy is over
                    driver = first_process(cluster, environ["NAMESPACE"], name)
                if driver is not None:
                    memory.take("driver", over, driver)
                    memory.take("client", over, client.pid)
                time.sleep(_POLL_SECONDS)
        finally:
            client.kill()
            client.wait()

    assert client.returncode == 0, errors.read_text()
    tree = json.loads(output.read_text())["tree"]
    assert tree["outputs"] == [number * number for number in range(CALLS)]
    record = RunRecords(Path(environ["IMAGEKIT_RECORD_DIR"], RUNS)).open(name)
    found = record.tree()
    assert found is not None
    assert [node.status for _, node in found.walk()] == ["succeeded"] * (CALLS + 1)
    assert len(seen.jobs) == len(seen.over) == CALLS
    # It is used, and kept to.
    assert seen.most() == MOST
    for what, (most, growth) in MEMORY.items():
        assert memory.most(what) < most, what
        assert memory.grown(what, CALLS // 4) < growth, what
