"""Runs on a cluster that go wrong: a clear error, in time, and nothing left behind.

All of them are begun at once; each test looks at what became of its own. What takes
long comes late.
"""

from __future__ import annotations

import gc
import json
import re
import signal
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import cluster_tasks as tasks
import pytest
from cluster_user import cluster_user
from machine.cluster import Cluster
from task_runs import imagekit_command, wait_until

import imagekit
from imagekit import Resources, Timeout, initialization
from imagekit.records import replace
from imagekit.remote.remote_run import RemoteRun
from imagekit.run_records import RUNS, RunRecords, RunView
from imagekit.run_tree import ActionNode
from imagekit.task_errors import (
    ImagePullBackOffError,
    OOMError,
    RunAbortedError,
    RuntimeSystemError,
    RuntimeUserError,
    TaskInterruptedError,
    TaskTimeoutError,
    WorkerLostError,
)

pytestmark = pytest.mark.engine

HERE = Path(__file__).parent
FILE = str(HERE / "cluster_tasks.py")
#: One for all, so that it is deployed once.
VERSION = "faults"
_OVER = {"succeeded", "cached", "failed", "aborted", "timed-out"}


@dataclass
class Person:
    """Somebody who runs tasks in a namespace, with the least rights."""

    cluster: Cluster
    environ: dict[str, str]
    folder: Path
    runs: dict[str, RemoteRun] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        return self.environ["NAMESPACE"]

    def begin(self, name: str, task: Any, *args: Any, **context: Any) -> RemoteRun:
        """Begin a run, which is followed from then on."""
        with self.here():
            runner = imagekit.with_runcontext(
                mode="remote", name=name, version=VERSION, **context
            )
            found = replace(runner, stream=StringIO()).run(task, *args)
        assert isinstance(found, RemoteRun)
        self.runs[name] = found
        return found

    @contextmanager
    def here(self) -> Iterator[None]:
        """Have this process be the person's while the block runs."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environ.items():
                patch.setenv(name, value)
            patch.setattr(initialization, "_current", [])
            imagekit.init(root_dir=HERE)
            yield

    def command(
        self, *words: str, **environ: str
    ) -> AbstractContextManager[subprocess.Popen[str]]:
        """Run the command ``imagekit``, in a session of its own."""
        return imagekit_command(*words, cwd=HERE, env=self.environ | environ)

    def view(self, name: str) -> RunView:
        return RunRecords(self.folder / "records" / RUNS).open(name)

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the API for something in the namespace, as the administrator."""
        group = "/apis/batch/v1" if path.startswith("jobs") else "/api/v1"
        place = f"{group}/namespaces/{self.namespace}"
        return self.cluster.request(method, f"{place}/{path}", body)

    def objects(self, kind: str, name: str, action: str = "") -> list[Any]:
        """Return the Jobs or pods of a run, or of one action."""
        selector = f"imagekit/run={name}"
        if action:
            selector += f",imagekit/action={action}"
        return list(self.request("GET", f"{kind}?labelSelector={selector}")["items"])

    def pods(self, name: str, action: str = "") -> list[str]:
        """Return the names of the pods that run, or wait to run."""
        return [
            pod["metadata"]["name"]
            for pod in self.objects("pods", name, action)
            if pod["status"]["phase"] in ("Pending", "Running")
        ]

    def when_printed(self, name: str, action: str, text: str) -> str:
        """Return the pod of an action once it has printed *text*."""
        wait_until(lambda: text.encode() in self.view(name).log(action), 240)
        (pod,) = self.pods(name, action)
        return pod

    def delete_pod(self, pod: str) -> None:
        """Kill a pod as the loss of its node does: nothing tells how it ended."""
        self.request("DELETE", f"pods/{pod}", {"gracePeriodSeconds": 0})

    def kill_container(self, pod: str) -> None:
        """Kill what runs in a pod, behind Kubernetes' back."""
        docker = self.cluster.engine.docker
        labels = (
            f"label=io.kubernetes.pod.name={pod}",
            f"label=io.kubernetes.pod.namespace={self.namespace}",
            "label=io.kubernetes.docker.type=container",
        )
        filters = [word for label in labels for word in ("--filter", label)]
        (container,) = docker("ps", "--quiet", *filters).split()
        docker("kill", container)

    def outputs(self, name: str) -> Any:
        """Return the outputs of a run that leaves nothing behind."""
        found = self.runs[name].outputs()
        assert self.ended(name).status == "succeeded"
        return found

    def error(self, name: str, kind: type[BaseException], match: str) -> Any:
        """Return the error of a run that leaves nothing behind."""
        with pytest.raises(kind, match=match) as raised:
            self.runs[name].outputs()
        assert type(raised.value) is kind
        view = self.ended(name)
        assert view.status == ("aborted" if kind is RunAbortedError else "failed")
        late = kind is TaskTimeoutError
        assert root_of(view).status == ("timed-out" if late else view.status)
        return raised.value

    def ended(self, name: str) -> RunView:
        """Return the record of a run that is over: all has an end, and nothing runs."""
        wait_until(lambda: self.pods(name) == [])
        wait_until(lambda: not any(map(is_active, self.objects("jobs", name))))
        view = self.view(name)
        for _, node in root_of(view).walk():
            assert node.status in _OVER, node
            assert all(item.status in _OVER for item in node.attempts), node
        return view


def is_active(job: Any) -> bool:
    return bool(job["status"].get("active"))


def root_of(view: RunView) -> ActionNode:
    assert view.root is not None
    return view.root


def attempts_of(node: ActionNode) -> list[str]:
    return [attempt.status for attempt in node.attempts]


def call(view: RunView, position: int) -> ActionNode:
    return root_of(view).children[position]


@contextmanager
def person(cluster: Cluster, registry: str, folder: Path) -> Iterator[Person]:
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config")}
    with cluster_user(cluster, registry, folder) as environ:
        yield Person(cluster, environ | home, folder)


@pytest.fixture(scope="module")
def anna(
    cluster: Cluster, registry: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Person]:
    """Return somebody for whom all goes wrong that can."""
    with person(cluster, registry, tmp_path_factory.mktemp("anna")) as found:
        begin_all(found)
        strike(found)
        yield found


@pytest.fixture(scope="module")
def bert(
    cluster: Cluster, registry: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Person]:
    """Return somebody whose namespace has room for two pods and four Jobs."""
    with person(cluster, registry, tmp_path_factory.mktemp("bert")) as found:
        limits = {"hard": {"pods": "2", "count/jobs.batch": "4"}}
        quota = {"metadata": {"name": "narrow"}, "spec": limits}
        found.request("POST", "resourcequotas", quota)
        found.begin("narrow", tasks.fans_out, 2, 0.0)
        yield found


@pytest.fixture(scope="module", autouse=True)
def both(bert: Person, anna: Person) -> None:
    """Have their runs go on at the same time."""


QUEUED = Timeout(max_queued_time=20)
#: Runs of a task that goes wrong by itself.
BY_ITSELF: dict[str, tuple[Any, ...]] = {
    "memory": (tasks.takes, 500),
    "cpu": (tasks.adds.override(resources=tasks.TOO_MUCH, timeout=QUEUED), 1, 2),
    "image": (tasks.missing,),
    "secret": (tasks.adds.override(secrets=[tasks.NOWHERE]), 1, 2),
    "secret-file": (tasks.adds.override(secrets=[tasks.NO_FILE]), 1, 2),
    "quota": (
        tasks.adds.override(resources=Resources(gpu=1), timeout=QUEUED),
        *(1, 2),
    ),
    "exit": (tasks.leaves, 3),
    "os-exit": (tasks.ends, 3),
    "late": (tasks.waits.override(timeout=1), 3600),
    "called": (tasks.calls, "memory"),
    "less": (tasks.asks_for_less, 500),
}
#: Runs of a task whose pod is killed.
KILLED: dict[str, tuple[Any, ...]] = {
    "interruptible": (tasks.survives.override(interruptible=True),),
    "retried": (tasks.survives.override(retries=1),),
    "killed": (tasks.survives,),
    "again": (tasks.begins_again.override(interruptible=True),),
    "calls": (tasks.loses_calls,),
    "deleted": (tasks.survives,),
    "cancelled": (tasks.goes_deep, 1),
    "queued": (tasks.adds.override(resources=tasks.TOO_MUCH), 1, 2),
}
#: Runs that lose their client, and the signal that does it.
LOST = {"interrupted": signal.SIGINT, "lost": signal.SIGKILL}


def begin_all(anna: Person) -> None:
    quota = {"hard": {"requests.nvidia.com/gpu": "0"}}
    named = {"metadata": {"name": "no-gpus"}, "spec": quota}
    anna.request("POST", "resourcequotas", named)
    anna.begin("calls", *KILLED["calls"])
    break_image(anna)
    anna.begin("meets", tasks.meets, list(tasks.CALLS))
    for name, (task, *arguments) in {**KILLED, **BY_ITSELF}.items():
        if name not in anna.runs:
            anna.begin(name, task, *arguments)


def break_image(anna: Person) -> None:
    """Have the deployed task want an image that is not in the registry any more."""
    for item in anna.request("GET", "podtemplates")["items"]:
        if item["metadata"]["labels"]["imagekit/task"] == tasks.missing.name:
            for container in item["template"]["spec"]["containers"]:
                name = container["image"].partition("@")[0]
                container["image"] = f"{name}@sha256:{'0' * 64}"
            anna.request("PUT", f"podtemplates/{item['metadata']['name']}", item)


def strike(anna: Person) -> None:
    """Kill the pods of those that wait for it."""
    for action, kill in (
        ("a0.1", anna.delete_pod),
        ("a0.2", anna.kill_container),
        ("a0.3", anna.kill_container),
    ):
        kill(anna.when_printed("calls", action, "attempt 1"))
    anna.when_printed("calls", "a0.4", "attempt 1")
    (job,) = anna.objects("jobs", "calls", "a0.4")
    delete_job(anna, job)
    anna.delete_pod(anna.when_printed("interruptible", "a0", "attempt 1"))
    anna.kill_container(anna.when_printed("retried", "a0", "attempt 1"))
    anna.kill_container(anna.when_printed("killed", "a0", "attempt 1"))
    anna.when_printed("again", "a0.2", "waiting")
    (root,) = anna.pods("again", "a0")
    anna.delete_pod(root)
    anna.when_printed("deleted", "a0", "attempt 1")
    (job,) = anna.objects("jobs", "deleted")
    delete_job(anna, job)


def delete_job(anna: Person, job: Any) -> None:
    anna.request(
        "DELETE", f"jobs/{job['metadata']['name']}", {"propagationPolicy": "Background"}
    )


# The end of the client


@pytest.mark.parametrize("name", LOST)
def test_a_run_goes_on_without_its_client(
    anna: Person, name: str, tmp_path: Path
) -> None:
    words = ("run", FILE, "fans_out", "--count", "2", "--seconds", "8", "--name", name)
    with anna.command(*words, "--mode", "remote", "--follow") as process:
        assert process.stderr is not None
        while "waiting" not in (line := process.stderr.readline()):
            assert line
        process.send_signal(LOST[name])
        output, errors = process.communicate(timeout=60)
    assert output == ""
    if LOST[name] == signal.SIGINT:
        assert process.returncode == 130
        assert f"imagekit runs attach {name}" in errors
    assert anna.pods(name) != []

    elsewhere = tmp_path / "records"
    with anna.command(
        *("runs", "attach", name, "--json"), IMAGEKIT_RECORD_DIR=str(elsewhere)
    ) as process:
        output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    with anna.here():
        anna.runs[name] = imagekit.remote_run(name)
        assert anna.outputs(name) == [8.0, 8.0]

    here, there = anna.view(name), RunRecords(elsewhere / RUNS).open(name)
    assert json.loads(output)["tree"]["outputs"] == here.outputs == [8.0, 8.0]
    assert here.comparable() == there.comparable()
    assert attempts_of(root_of(here)) == ["succeeded"]
    assert here.logs == there.logs == ("a0", "a0.1", "a0.2")
    for action in here.logs:
        assert here.log(action) == there.log(action)
    assert here.log("a0.1") == b"waiting\nwaited\n"


@pytest.mark.parametrize("name", ["cancelled", "queued"])
def test_a_run_that_is_cancelled(anna: Person, name: str) -> None:
    if name == "cancelled":
        anna.when_printed(name, "a0.1.1", "waiting")
    with anna.command("cancel", name) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert anna.objects("jobs", name) == []
    assert anna.pods(name) == []
    anna.error(name, RunAbortedError, f"the run '{name}' was cancelled")
    root = root_of(anna.view(name))
    assert {node.status for _, node in root.walk()} == {"aborted"}


def test_a_name_that_another_run_has(anna: Person, tmp_path: Path) -> None:
    found = anna.runs["less"]
    with pytest.raises(RuntimeUserError, match="there is a run named 'less' already"):
        anna.begin("less", tasks.adds, 1, 2, run_base_dir=str(tmp_path))
    assert anna.runs["less"] is found
    assert anna.outputs("less") == 10 << 20


# Quotas


def test_calls_wait_for_room_in_a_quota(bert: Person) -> None:
    assert bert.outputs("narrow") == [0.0, 0.0]
    children = root_of(bert.view("narrow")).children
    assert [attempts_of(child) for child in children] == [["succeeded"]] * 2


def test_jobs_that_a_quota_does_not_allow(bert: Person) -> None:
    bert.outputs("narrow")
    bert.begin("full", tasks.tries_all, 2, 0.0)
    met = bert.outputs("full")
    assert {item.kind for item in met} == {TaskTimeoutError.__name__}
    for item in met:
        assert "waited to run for more than 5 s, its timeout" in item.message
        assert "the quota 'narrow' is exceeded" in item.message
        assert "count/jobs.batch=1 (of 4, 4 in use)" in item.message


# Pods that are killed

INTERRUPTED = r"the pod 'ik-.*' was interrupted: it was deleted or killed"


@pytest.mark.parametrize("name", ["interruptible", "retried"])
def test_a_task_whose_pod_is_lost_is_begun_again(anna: Person, name: str) -> None:
    assert anna.outputs(name) == 2
    root = root_of(anna.view(name))
    assert attempts_of(root) == ["failed", "succeeded"]
    first, second = root.attempts
    assert first.place != second.place
    assert "TaskInterruptedError" in str(first.error)
    assert anna.view(name).log() == b"attempt 1\nattempt 2\n"


def test_a_task_whose_pod_is_lost_and_that_has_no_retries(anna: Person) -> None:
    error = anna.error("killed", TaskInterruptedError, INTERRUPTED)
    assert "interruptible=True" in error.hint
    assert attempts_of(root_of(anna.view("killed"))) == ["failed"]


def test_what_a_lost_pod_had_called_is_called_again(anna: Person) -> None:
    assert anna.outputs("again") == [3, 0.0]
    view = anna.view("again")
    assert attempts_of(root_of(view)) == ["failed", "succeeded"]
    children = root_of(view).children
    assert [child.id for child in children] == ["a0.1", "a0.2", "a0.r2.1", "a0.r2.2"]
    assert [child.status for child in children] == [
        *("succeeded", "aborted"),
        *("succeeded", "succeeded"),
    ]


def test_calls_whose_pods_are_lost(anna: Person) -> None:
    first, second, third, fourth = anna.outputs("calls")
    assert (first, second) == (2, 2)
    for met in (third, fourth):
        assert met.kind == "TaskInterruptedError"
        assert re.search(INTERRUPTED, met.message), met
        assert "interruptible=True" in met.hint
    view = anna.view("calls")
    assert [attempts_of(child) for child in root_of(view).children] == [
        ["failed", "succeeded"],
        ["failed", "succeeded"],
        ["failed"],
        ["failed"],
    ]
    assert view.log("a0.1") == view.log("a0.2") == b"attempt 1\nattempt 2\n"
    assert view.log("a0.3") == view.log("a0.4") == b"attempt 1\n"


def test_a_job_that_somebody_deletes(anna: Person) -> None:
    error = anna.error("deleted", TaskInterruptedError, "its Job is not on the cluster")
    assert "run it again" in error.hint


# What is the same for a run's own task and for one that is called

WRONG: dict[str, tuple[type[BaseException], str, str]] = {
    "memory": (
        OOMError,
        r"more memory than it may: the limit is 96\.0 MiB, its peak was 9\d\.\d MiB",
        r"Resources\(memory=\.\.\.\)",
    ),
    "cpu": (
        TaskTimeoutError,
        "waited to run for more than 20 s, its timeout: no node takes the pod: .*cpu",
        "give it more time",
    ),
    "image": (
        ImagePullBackOffError,
        r"can't pull the image '.*@sha256:0+': .*(not found|unknown)",
        "deploy again",
    ),
    "secret": (
        RuntimeSystemError,
        r"the pod can't start: .*secret \"nowhere\" not found",
        "create the Secret",
    ),
    "secret-file": (
        RuntimeSystemError,
        r"the pod can't start: .*secret \"nowhere\" not found",
        "create the Secret",
    ),
    "quota": (
        TaskTimeoutError,
        "more than 20 s, its timeout: .* gets no pod: the quota 'no-gpus' is exceeded",
        "give it more time",
    ),
    "exit": (RuntimeUserError, r"raised SystemExit\(3\)", ""),
    "os-exit": (WorkerLostError, r"exit code 3 before .*\n  ending", r"os\._exit"),
    "late": (TaskTimeoutError, "ran for more than 1 s, its timeout", "more time"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_task_that_goes_wrong(anna: Person, name: str) -> None:
    kind, message, hint = WRONG[name]
    error = anna.error(name, kind, message)
    assert re.search(hint, str(error.hint))


def test_calls_that_go_wrong(anna: Person) -> None:
    met = anna.outputs("meets")
    for name, (kind, message, hint) in WRONG.items():
        found = met[name]
        assert found.kind == kind.__name__, found
        assert re.search(message, found.message), found
        assert re.search(hint, found.hint), found
    assert met["unknown"].kind == "ModuleLoadError"
    assert "was not deployed with the run" in met["unknown"].message
    assert "depends_on" in met["unknown"].hint
    children = root_of(anna.view("meets")).children
    statuses = {kind: child.status for kind, child in zip(WRONG, children, strict=True)}
    assert statuses == {
        name: "timed-out" if kind is TaskTimeoutError else "failed"
        for name, (kind, _, _) in WRONG.items()
    }


def test_what_a_call_raises_ends_the_run(anna: Person) -> None:
    anna.error("called", OOMError, "the limit is 96.0 MiB")
    view = anna.view("called")
    assert call(view, 0).status == "failed"
    assert view.log("a0.1") == b"taking\n"


def test_a_task_goes_on_after_a_call_that_took_too_much(anna: Person) -> None:
    assert anna.outputs("less") == 10 << 20
    children = root_of(anna.view("less")).children
    assert [child.status for child in children] == ["failed", "succeeded"]


# The API server


@contextmanager
def unclosed_sockets() -> Iterator[None]:
    """Do away with the sockets that Python's ssl forgets if it is cut off early."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def test_an_api_server_that_is_away(anna: Person, cluster: Cluster) -> None:
    """Twenty seconds, in which a call ends, a task, and a pod by force."""
    anna.environ["IMAGEKIT_MAX_PODS"] = "3"
    anna.begin("struck", tasks.survives.override(interruptible=True))
    anna.begin("fan", tasks.fans_out, 5, 3.0)
    pod = anna.when_printed("struck", "a0", "attempt 1")
    anna.when_printed("fan", "a0.1", "waiting")
    anna.begin("call", tasks.fans_out, 1, 15.0)
    anna.begin("task", tasks.waits, 15.0)
    anna.when_printed("call", "a0.1", "waiting")
    anna.when_printed("task", "a0", "waiting")
    with unclosed_sockets(), cluster.api_server_down():
        anna.kill_container(pod)
        time.sleep(20)  # that is what it is about
        assert not any(anna.runs[name].done() for name in ("call", "task", "struck"))
    assert anna.outputs("fan") == [3.0] * 5
    assert anna.outputs("call") == [15.0]
    assert anna.outputs("task") == 15.0
    assert anna.outputs("struck") == 2
    for name in ("fan", "call", "task"):
        for _, node in root_of(anna.view(name)).walk():
            assert attempts_of(node) == ["succeeded"]
            wanted = (
                b"waiting\nwaited\n" if node.name.endswith("waits") else b"fanned out\n"
            )
            assert anna.view(name).log(node.id) == wanted
    assert attempts_of(root_of(anna.view("struck"))) == ["failed", "succeeded"]
    assert anna.view("struck").log() == b"attempt 1\nattempt 2\n"
