"""Pools of warm pods on a cluster: calls share them, and none is lost or run twice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cluster_user import cluster_user
from machine.cluster import Cluster

from imagekit.cluster import names
from imagekit.cluster.api import Cluster as Client
from imagekit.cluster.kubeconfig import client_api
from imagekit.run_records import RUNS, RunRecords, RunView
from imagekit.running.cluster.pool_claims import (
    PooledCall,
    claim,
    details,
    finish,
    open_labels,
    selector,
)

TASKS = Path(__file__).with_name("pool_tasks.py")
SECRET = "hush-hush-42"
_SECONDS = 110

pytestmark = pytest.mark.engine


@dataclass(frozen=True)
class User:
    """Somebody who runs tasks of pools in a namespace.

    Attributes:
        environ: as :func:`cluster_user` has it.
    """

    machine: Cluster
    environ: dict[str, str]

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.environ['NAMESPACE']}"

    def command(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "imagekit", *words],
            capture_output=True,
            text=True,
            env=self.environ,
            timeout=_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, task: str, *words: str) -> Any:
        """Run a task there, and return what is told of it."""
        text = self.command(
            *("run", str(TASKS), task, *words, "--mode", "remote", "--json")
        )
        return json.loads(text)

    @contextmanager
    def running(self, name: str, task: str, *words: str) -> Iterator[str]:
        """Have a task run until the block ends; yield the pod that has its call."""
        with ThreadPoolExecutor() as threads:
            run = threads.submit(self.run, task, *words, "--name", name)
            yield self.claimant(name)
            run.result()

    def claimant(self, run: str) -> str:
        """Return the pod that has a call of *run*, once there is one."""
        claims = f"{selector(run=run)},{names.CLAIM}!=open"
        found = self.machine.wait_for(
            f"{self.path}/configmaps?labelSelector={claims}",
            lambda found: bool(found["items"]),
        )
        return str(found["items"][0]["metadata"]["labels"][names.CLAIM])

    def view(self, run: str) -> RunView:
        return RunRecords(Path(self.environ["IMAGEKIT_RECORD_DIR"], RUNS)).open(run)


@pytest.fixture(scope="module")
def user(
    cluster: Cluster, registry: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[User]:
    with cluster_user(cluster, registry, tmp_path_factory.mktemp("user")) as environ:
        user = User(cluster, environ)
        secret = {"metadata": {"name": "pools"}, "stringData": {"word": SECRET}}
        cluster.request("POST", f"{user.path}/secrets", secret)
        yield user


def most_at_once(places: list[Any]) -> int:
    """Return how many calls ran at the same time, at most."""
    changes = [(place["began"], 1) for place in places]
    changes += [(place["ended"], -1) for place in places]
    going = most = 0
    for _, change in sorted(changes):
        going += change
        most = max(most, going)
    return most


def by_pod(places: list[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for place in places:
        found.setdefault(place["pod"], []).append(place)
    return found


def mean(tree: Any) -> float:
    """Return the seconds from call to result of those that were first in no pod."""
    calls = [node["ended"] - node["started"] for node in tree["children"]]
    return float(sum(calls) / len(calls))


def test_calls_of_two_runs_share_two_pods(user: User) -> None:
    with ThreadPoolExecutor() as threads:
        runs = list(threads.map(lambda _: user.run("steps", "--count", "10"), range(2)))
    again = user.run("steps", "--count", "20")
    jobs = user.run("singles", "--count", "2")

    first = [place for run in runs for place in run["tree"]["outputs"]]
    places = first + again["tree"]["outputs"]
    assert [place["number"] for place in places] == [*range(10)] * 2 + [*range(20)]
    pods = by_pod(places)
    assert len(pods) == 2
    for used in pods.values():
        # One process all the time, one call at a time, each call once.
        assert len({place["worker"] for place in used}) == 1
        assert sorted(place["calls"] for place in used) == list(range(len(used)))
        assert most_at_once(used) == 1
    # They were warm: all twenty, one after the other, take less than a Job and its pod.
    last = again["tree"]["children"]
    seconds = max(item["ended"] for item in last) - min(
        item["started"] for item in last
    )
    print(f"{seconds / 20:.3f} s each, in a Job {mean(jobs['tree']):.3f} s")
    assert seconds / 20 < mean(jobs["tree"]) / 5
    for run in (*runs, again):
        view = user.view(run["name"])
        for node in run["tree"]["children"]:
            [attempt] = node["attempts"]
            assert attempt["place"] == node["outputs"]["pod"]
            number = node["inputs"]["number"]
            lines = f"step {number}\nprocess {number}\n"
            assert view.log(node["id"]) == lines.encode()


def test_async_calls_share_a_pod_at_the_same_time(user: User) -> None:
    run = user.run("talks", "--count", "8")

    places = run["tree"]["outputs"]
    assert len(by_pod(places)) == 1
    assert 1 < most_at_once(places) <= 4
    view = user.view(run["name"])
    for node in run["tree"]["children"]:
        number = node["inputs"]["number"]
        lines = [f"talk {number} {line} ***\n" for line in range(5)]
        assert view.log(node["id"]) == "".join(lines).encode()
    log = user.machine.log(user.environ["NAMESPACE"], places[0]["pod"])
    assert "talk 7 4 ***" in log
    assert SECRET not in log


def test_calls_that_wait_for_each_other_end(user: User) -> None:
    """Each of two places is held by a task that waits for one more."""
    run = user.run("nested", "--levels", "1", "--chains", "2")

    chains = run["tree"]["outputs"]
    assert [[place["number"] for place in chain] for chain in chains] == [[1, 0]] * 2
    pools = {node["attempts"][0]["place"] for node in run["tree"]["children"]}
    assert all(pod.startswith("ik-pool-") for pod in pools)


def test_a_call_that_loses_its_pod_is_tried_again(user: User) -> None:
    with user.running("lost", "waits", "--seconds", "4") as pod:
        path = f"{user.path}/pods/{pod}"
        user.machine.request("DELETE", path, {"gracePeriodSeconds": 0})

    tree = user.view("lost").tree()
    assert tree is not None
    [node] = tree.children
    first, second = node.attempts
    assert node.outputs["number"] == 7
    assert (first.place, first.status) == (pod, "failed")
    assert first.error["class"] == "imagekit.task_errors:TaskInterruptedError"
    assert second.status == "succeeded"


def test_calls_that_fail_leave_the_pool_as_it_was(user: User) -> None:
    run = user.run("fails")

    late, dead = run["tree"]["outputs"]
    assert late["kind"] == "TaskTimeoutError"
    assert "ran for more than 3 s" in late["message"]
    assert dead["kind"] == "WorkerLostError"
    assert "exit code 3" in dead["message"]
    # What others have printed there is not told.
    assert dead["message"].endswith("it had printed:\n  last words")
    before, after = dead["places"]
    assert before["worker"] != after["worker"]
    assert after["calls"] == 0


def test_nothing_is_lost_while_the_api_server_is_away(user: User) -> None:
    with (
        user.running("away", "steps", "--count", "6", "--seconds", "1.5"),
        user.machine.api_server_down(),
    ):
        pass

    tree = user.view("away").tree()
    assert tree is not None
    assert [place["number"] for place in tree.outputs] == list(range(6))
    assert [len(node.attempts) for node in tree.children] == [1] * 6
    ran = Counter((place["worker"], place["calls"]) for place in tree.outputs)
    assert set(ran.values()) == {1}


def test_a_cancelled_run_leaves_its_places(user: User) -> None:
    words = ("waits", "--seconds", "1000", "--mode", "remote", "--name", "gone")
    user.command("run", str(TASKS), *words, "--detach")
    user.claimant("gone")

    user.command("cancel", "gone")

    user.machine.wait_for(
        f"{user.path}/configmaps?labelSelector={selector(run='gone')}",
        lambda found: not found["items"],
    )
    places = user.run("steps", "--count", "4", "--seconds", "0.2")["tree"]["outputs"]
    assert len(by_pod(places)) == 2


def test_one_of_many_has_a_call(user: User) -> None:
    api = client_api(
        kubeconfig=str(user.machine.kubeconfig), namespace=user.environ["NAMESPACE"]
    )
    client = Client(api)
    made = client.create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "contested",
                "labels": {
                    names.MANAGED_BY: names.MANAGER,
                    names.KIND: names.CALL_KIND,
                    names.RUN: "none",
                    **open_labels("contest"),
                },
                "annotations": details("a0.1", 1, run="1-2-3"),
            },
        }
    )
    call = PooledCall.of(made["metadata"])
    assert call.is_open
    pods = [f"pod-{number}" for number in range(8)]

    with ThreadPoolExecutor(len(pods)) as threads:
        claims = list(
            threads.map(lambda pod: claim(client, call, pod, f"uid of {pod}"), pods)
        )

    [found] = [item for item in claims if item is not None]
    now = PooledCall.of(found["metadata"])
    assert now.claim in pods
    assert now.pod == f"uid of {now.claim}"
    listed = client.list("ConfigMap", selector(pool="contest"), metadata=True)
    assert [PooledCall.of(item["metadata"]).claim for item in listed] == [now.claim]
    finish(client, "contested")
    assert list(client.list("ConfigMap", selector(pool="contest"))) == []
    api.close()


def test_pods_are_made_as_they_are_wanted(user: User) -> None:
    """Not more than the policy has, whoever asks."""
    pods = user.machine.request(
        "GET", f"{user.path}/pods?labelSelector={names.KIND}={names.POOL_KIND}"
    )["items"]
    pools = Counter(pod["metadata"]["labels"][names.POOL] for pod in pods)
    assert set(pools.values()) == {1, 2}
    for pod in pods:
        assert pod["metadata"]["labels"].get(names.RUN) is None
        assert SECRET not in json.dumps(pod)
