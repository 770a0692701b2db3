"""Runs on a cluster, as users begin, follow, lose and cancel them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from machine.cluster import Cluster as Machine

from imagekit.cluster.role import client_rules, pod_rules
from imagekit.run_records import RUNS, RunRecords, RunView

pytestmark = pytest.mark.engine

_ACCOUNT = "imagekit-pod"
_MODULE = '''\
import time
from dataclasses import dataclass

import imagekit
from imagekit import Image, ReusePolicy, TaskEnvironment

leaf = TaskEnvironment("leaf", image=Image.from_base("{base}").clone(name="leaf"))
warm = TaskEnvironment("warm", image=leaf.image, reusable=ReusePolicy(replicas=2))
top = TaskEnvironment(
    "top", image=Image.from_base("{base}").clone(name="top"), depends_on=[leaf, warm]
)


@dataclass
class Sum:
    total: int
    parts: list[int]


class Unlucky(Exception):
    pass


@imagekit.trace
async def traced(number: int) -> int:
    return number + 1


@leaf.task
async def double(number: int) -> int:
    print("doubling", number)
    return await traced(2 * number) - 1


@warm.task
def twice(number: int) -> int:
    print("twice", number)
    return 2 * number


@top.task
async def warmed(numbers: list[int]) -> list[int]:
    return [twice(number) for number in numbers]


@top.task
async def total(numbers: list[int], scale: float = 1.0) -> Sum:
    """Add numbers up."""
    print("adding", len(numbers))
    parts = [await double(number) for number in numbers]
    return Sum(total=int(sum(parts) * scale), parts=parts)


@top.task(retries=1)
async def unlucky(code: int) -> None:
    print("trying")
    raise Unlucky("no luck", code)


@top.task
def slow(seconds: float) -> str:
    print("waiting", flush=True)
    time.sleep(seconds)
    return "waited"
'''


@dataclass
class Project:
    """A project of a user with a cluster."""

    folder: Path
    namespace: str
    machine: Machine
    environ: dict[str, str]

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *words],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def command(self, *words: str, code: int = 0) -> tuple[str, str]:
        with self.start("-m", "imagekit", *words) as process:
            out, err = process.communicate(timeout=110)
        print(words, err)
        assert process.returncode == code, err
        return out, err

    def run(self, *words: str, code: int = 0) -> Any:
        out, _ = self.command("run", "tasks.py", *words, "--json", code=code)
        return json.loads(out)

    def view(self, name: str) -> RunView:
        return RunRecords(Path(self.environ["IMAGEKIT_RECORD_DIR"], RUNS)).open(name)

    def objects(self, kind: str, run: str) -> list[Any]:
        group = "/apis/batch/v1" if kind == "jobs" else "/api/v1"
        found = self.machine.request(
            "GET",
            f"{group}/namespaces/{self.namespace}/{kind}"
            f"?labelSelector=imagekit/run={run}",
        )
        return list(found["items"])


@pytest.fixture(scope="module")
def project(
    cluster: Machine, registry: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("project")
    base = f"{registry}/library/python:3.11-slim-bookworm"
    (folder / "tasks.py").write_text(_MODULE.replace("{base}", base))
    (folder / "pyproject.toml").write_text("")
    with cluster.namespace() as namespace:
        cluster.service_account(namespace, _ACCOUNT, pod_rules())
        yield Project(
            folder,
            namespace,
            cluster,
            {
                **os.environ,
                "IMAGEKIT_KUBECONFIG": str(cluster.user(namespace, client_rules())),
                "IMAGEKIT_SERVICE_ACCOUNT": _ACCOUNT,
                "IMAGEKIT_REGISTRY": f"{registry}/remote-runs",
                "IMAGEKIT_RECORD_DIR": str(folder / "records"),
                "IMAGEKIT_CACHE_DIR": str(folder / "cache"),
            },
        )


def test_a_run_is_recorded_as_in_process(project: Project) -> None:
    words = ("total", "--numbers", "[1, 2]")

    here = project.run(*words)
    there = project.run(*words, "--mode", "remote")

    assert there["tree"]["outputs"] == {"total": 6, "parts": [2, 4]}
    assert there["mode"] == "remote"
    local, remote = project.view(here["name"]), project.view(there["name"])
    assert remote.comparable() == local.comparable()
    for action in ("a0", "a0.1", "a0.2"):
        assert remote.log(action) == local.log(action)
    assert all("@sha256:" in image for image in remote.images)
    listed = json.loads(project.command("runs", "--remote", "--json")[0])["runs"]
    assert (listed[0]["name"], listed[0]["status"]) == (remote.name, "succeeded")


def test_what_pods_of_pools_print_is_told_apart(project: Project) -> None:
    words = ("warmed", "--numbers", "[1, 2]")

    here = project.run(*words)
    there = project.run(*words, "--mode", "remote")

    local, remote = project.view(here["name"]), project.view(there["name"])
    assert remote.comparable() == local.comparable()
    assert [remote.log(action) for action in ("a0.1", "a0.2")] == [
        b"twice 1\n",
        b"twice 2\n",
    ]


def test_a_deployed_task_runs_without_its_file(project: Project) -> None:
    out, _ = project.command("deploy", "tasks.py", "top")
    version = out.strip().partition("@")[2]

    help_, _ = project.command("run", "--deployed", "top.total", "--help")
    out, err = project.command(
        *("run", "--deployed", f"top.total@{version[:8]}"),
        *("--numbers", "[3]", "--scale", "2", "--name", "deployed.1", "--follow"),
    )

    assert "--numbers" in help_
    assert "Add numbers up." in help_
    assert json.loads(out) == {"total": 12, "parts": [6]}
    assert "[a0 top.total] adding 1\n" in err
    assert "[a0.1 leaf.double] doubling 3\n" in err
    assert "a0.1 leaf.double succeeded" in err
    view = project.view("deployed.1")
    assert view.version == version
    wrong = ("run", "--deployed", "top.totl", "--numbers", "[]")
    assert "did you mean 'top.total'" in project.command(*wrong, code=1)[1]
    missing = ("run", "--deployed", "top.total")
    assert "required: --numbers" in project.command(*missing, code=2)[1]


_SCRIPT = """\
import sys
import imagekit
import tasks

run = imagekit.with_runcontext(mode="remote", name="unlucky").run(tasks.unlucky, 7)
assert not run.done()
try:
    run.outputs()
except tasks.Unlucky as error:
    print(error.args, run.status, run.details().status)
try:
    imagekit.remote_run("unlucky").outputs()
except tasks.Unlucky as error:
    print(error.args)
try:
    imagekit.with_runcontext(mode="remote", name="not/a/label").run(tasks.unlucky, 7)
except imagekit.errors.DefinitionError as error:
    print(error.message)
try:
    imagekit.with_runcontext(mode="remote", name="unlucky").run(tasks.unlucky, 7)
except imagekit.task_errors.RuntimeUserError as error:
    print(error.message)
"""


def test_what_a_task_raises_is_raised_with_its_own_class(project: Project) -> None:
    with project.start("-c", _SCRIPT) as process:
        out, err = process.communicate(timeout=110)

    assert process.returncode == 0, err
    first, second, third, fourth = out.splitlines()
    assert first == "('no luck', 7) failed failed"
    assert second == "('no luck', 7)"
    assert "'not/a/label'" in third
    assert "there is a run named 'unlucky' already" in fourth
    assert "[a0 top.unlucky] trying" in err
    root = project.view("unlucky").tree()
    assert root is not None
    assert [item.status for item in root.attempts] == ["failed", "failed"]
    assert project.view("unlucky").log() == b"trying\ntrying\n"


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    """Wait until a process says *text* on stderr."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"it never said {text!r}")


def test_a_run_goes_on_without_its_client(project: Project) -> None:
    words = ("slow", "--seconds", "6", "--mode", "remote", "--name", "lost-client")
    with project.start("-m", "imagekit", "run", "tasks.py", *words, "--follow") as run:
        wait_for(run, "[a0 top.slow] waiting")
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=30)

    assert (run.returncode, out) == (130, "")
    assert "imagekit runs attach lost-client" in err
    assert "imagekit cancel lost-client" in err
    out, err = project.command("runs", "attach", "lost-client")
    assert json.loads(out) == "waited"
    assert "[a0 top.slow] waiting" in err
    view = project.view("lost-client")
    assert (view.status, view.log()) == ("succeeded", b"waiting\n")
    assert view.seconds is not None
    assert view.seconds > 6


def test_a_cancelled_run_leaves_nothing_running(project: Project) -> None:
    words = ("slow", "--seconds", "3600", "--mode", "remote", "--name", "cancelled")
    out, _ = project.command("run", "tasks.py", *words, "--detach")
    assert out == "cancelled\n"
    with project.start("-m", "imagekit", "runs", "attach", "cancelled") as attached:
        wait_for(attached, "[a0 top.slow] waiting")

        project.command("cancel", "cancelled")

        _, err = attached.communicate(timeout=60)
    assert attached.returncode == 1
    assert "the run 'cancelled' was cancelled" in err
    assert project.objects("jobs", "cancelled") == []
    phases = {pod["status"]["phase"] for pod in project.objects("pods", "cancelled")}
    assert phases <= {"Succeeded", "Failed"}
    view = project.view("cancelled")
    assert view.status == "aborted"
    assert view.root is not None
    assert [item.status for item in view.root.attempts] == ["aborted"]
    assert "over already" in project.command("cancel", "cancelled")[1]
    assert (
        "did you mean 'cancelled'" in project.command("cancel", "canceled", code=1)[1]
    )


def test_what_can_not_run_ends_with_what_to_do(project: Project) -> None:
    """A pod whose image is gone, and a Job that somebody deleted."""
    project.command("deploy", "tasks.py", "top", "--version", "broken")
    path = f"/api/v1/namespaces/{project.namespace}/podtemplates"
    for item in project.machine.request("GET", path)["items"]:
        if item["metadata"]["labels"]["imagekit/version"] != "broken":
            continue
        for container in item["template"]["spec"]["containers"]:
            container["image"] = f"{container['image'].partition('@')[0]}:gone"
        project.machine.request("PUT", f"{path}/{item['metadata']['name']}", item)
    words = ("--deployed", "top.slow@broken", "--seconds", "0", "--name", "no-image")

    out, _ = project.command("run", *words, "--json", code=1)

    document = json.loads(out)
    assert document["error"]["kind"] == "ImagePullBackOffError"
    assert document["error"]["hint"]
    assert document["status"] == "failed"
    assert project.objects("jobs", "no-image") == []
    again = json.loads(
        project.command("runs", "attach", "no-image", "--json", code=1)[0]
    )
    assert again["error"]["kind"] == "ImagePullBackOffError"
