"""What a client does for a run whose own pod can't go on, against an API in memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from api_in_memory import ApiInMemory
from task_runs import wait_until

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.api_errors import ForbiddenError
from imagekit.cluster.documents import DOCUMENT, ResultDocument, RunDocument
from imagekit.cluster.manifests import config_map, object_labels
from imagekit.failures import decode_failure
from imagekit.remote.follower import Follower
from imagekit.remote.known_run import CANCELLED, KnownRun
from imagekit.remote.local_record import begin_record
from imagekit.remote.parts import Reader
from imagekit.run_events import ROOT, AttemptStarted, Event, Started
from imagekit.running.cluster.callees import JOB_NAME
from imagekit.running.cluster.journal import Journal
from imagekit.running.cluster.last_words import last_words
from imagekit.running.cluster.parcel_objects import parcel_object
from imagekit.running.cluster.pod_output import Printing
from imagekit.running.cluster.root_history import RootHistory
from imagekit.running.streaming import StreamingRecorder
from imagekit.runtime.messages import event_json
from imagekit.task_errors import (
    OOMError,
    RunAbortedError,
    TaskTimeoutError,
    WorkerLostError,
)
from imagekit.value_blobs import ValueBlobs

CONFIG_MAPS = "/api/v1/namespaces/team/configmaps"
PODS = "/api/v1/namespaces/team/pods"
CALL = names.call_name("first", ROOT, 0)
LABELS = {names.RUN: "first", names.ACTION: ROOT, names.TASK: "env.task"}
POD_LABELS = object_labels(names.CALL_KIND, LABELS)
RUN = RunDocument(
    name="first", task="env.task", version="v", environments={}, started=1234.5
)


class Scene:
    """A run on the API in memory, and who follows it."""

    def __init__(self, folder: Path) -> None:
        self.api = ApiInMemory()
        self.cluster = Cluster(self.api)
        self.said: list[str] = []
        self.reader = Reader(blobs=ValueBlobs(folder / "blobs"), store=None)
        self.folder = folder
        made = config_map(
            names.run_name("first"),
            kind=names.RUN_KIND,
            labels=LABELS,
            data={DOCUMENT: json.dumps(RUN.to_json())},
        )
        self.run = KnownRun(document=RUN, object=self.api.put(made))

    def attempts(self, data: dict[str, str]) -> None:
        """Have the call object hold what pods have noted."""
        call = config_map(CALL, kind=names.CALL_KIND, labels=LABELS, data=data)
        self.api.put(call)

    def job(self, made: str = "2026-01-01T00:00:00Z") -> None:
        metadata = {"name": CALL, "labels": POD_LABELS, "creationTimestamp": made}
        self.api.put({"kind": "Job", "metadata": metadata})

    def pod(self, name: str, phase: str = "Running", **status: Any) -> Any:
        metadata = {"name": name, "labels": {**POD_LABELS, JOB_NAME: CALL}}
        containers = [{"name": "primary", "image": "i"}, {"name": "proxy"}]
        made = {
            "kind": "Pod",
            "metadata": metadata,
            "spec": {"containers": containers},
            "status": {"phase": phase, **status},
        }
        return self.api.put(made)

    def journal(self, *events: Event) -> None:
        """Have a part of what happened be told."""
        self.parcel(
            names.journal_name(CALL, 0), [*map(event_json, events)], names.JOURNAL_KIND
        )

    def result(self) -> None:
        """Have the run be over."""
        document = ResultDocument(output=1, error=None, events=(), journals=0, pod="")
        self.parcel(names.result_name(CALL), document.to_json(), names.RESULT_KIND)

    def parcel(self, name: str, document: Any, kind: str) -> None:
        made = parcel_object(
            name,
            document,
            kind=kind,
            labels=LABELS,
            owner=self.run.object,
            blobs=self.reader.blobs,
            store=None,
        )
        self.api.put(made)

    @contextmanager
    def followed(self, queued: float | None = None) -> Iterator[Following]:
        """Have somebody follow the run while the block runs."""
        record = begin_record(self.folder, RUN, is_new=True)
        follower = Follower(
            self.cluster,
            self.run,
            reader=self.reader,
            recorder=StreamingRecorder(record, stream=StringIO()),
            queued=queued,
            note=self.said.append,
        )
        following = Following(follower)
        with record:
            try:
                yield following
            finally:
                follower.stop()
                following.join()


class Following(threading.Thread):
    """Follows a run."""

    def __init__(self, follower: Follower) -> None:
        super().__init__()
        self.follower = follower
        self._result: ResultDocument | None = None
        self._error: Exception | None = None
        self.start()

    def result(self) -> ResultDocument:
        """Return the result, once the run is over."""
        self.join(20)
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    def run(self) -> None:
        try:
            self._result = self.follower.follow()
        except Exception as error:  # noqa: BLE001  (the test looks at it)
            self._error = error


def over(code: int, reason: str = "Error") -> dict[str, Any]:
    ended = {"terminated": {"exitCode": code, "reason": reason}}
    return {
        "containerStatuses": [
            {"name": "primary", "state": ended},
            {"name": "proxy", "state": {"running": {}}},
        ]
    }


def _unwritten(_number: int, _events: list[Any]) -> None:
    """Write nothing."""


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def history(scene: Scene) -> RootHistory:
    """Return the history as the next pod reads it."""
    call = scene.api.get("ConfigMap", CALL)
    return RootHistory(
        scene.cluster, call, pod="p2", blobs=scene.reader.blobs, store=None
    )


def test_a_pod_whose_sidecar_goes_on_is_replaced_and_the_next_one_knows_why(
    scene: Scene,
) -> None:
    tally = {"number": 1, "failures": 0, "interruptions": 0}
    state = {"lost": [], "tally": tally, "pod": "p1"}
    scene.attempts({"attempts.json": json.dumps(state)})
    scene.job()
    scene.pod("p1")

    with scene.followed() as following:
        scene.pod("p1", **over(137, "OOMKilled"))
        wait_until(lambda: scene.api.get("Pod", "p1") is None, 20)
        found = history(scene)
        found.resume(Journal(_unwritten, print_to=Printing()))
        before, error = found.before(ROOT)
        assert before.number == 1
        assert isinstance(error, OOMError)
        scene.pod("p2", "Succeeded", **over(0))
        scene.result()
        assert following.result().output == 1


def test_a_sidecar_that_goes_on_after_a_result_is_nobodys_trouble(
    scene: Scene,
) -> None:
    scene.job()
    scene.pod("p1", **over(0, "Completed"))
    scene.result()

    with scene.followed() as following:
        assert following.result().output == 1
    assert scene.api.get("Pod", "p1") is not None


def test_who_attaches_late_knows_for_how_long_a_task_has_waited(scene: Scene) -> None:
    scene.job(made="2026-01-01T00:00:00Z")
    # Long after that, whatever the clock of this machine says.
    scene.api.now = "2026-01-01T00:02:00Z"
    refused = {"type": "PodScheduled", "status": "False", "message": "too much cpu"}
    scene.pod("p1", "Pending", conditions=[refused])

    with scene.followed(queued=100) as following:
        error = decode_failure(following.result().error)
    assert isinstance(error, TaskTimeoutError)
    assert "too much cpu" in str(error)


def test_a_task_that_has_begun_is_not_late_though_its_pod_was_lost(
    scene: Scene,
) -> None:
    scene.job(made="2026-01-01T00:00:00Z")
    scene.api.now = "2026-01-01T00:02:00Z"
    scene.journal(
        Started(id=ROOT, parent=None, kind="task", name="env.task", time=1.0),
        AttemptStarted(id=ROOT, number=1, time=2.0, place="p1"),
    )
    refused = {"type": "PodScheduled", "status": "False", "message": "too much cpu"}
    scene.pod("p2", "Pending", conditions=[refused])

    with scene.followed(queued=100) as following:
        wait_until(lambda: "waiting" in " ".join(scene.said), 20)
        following.join(1.5)
        assert following.is_alive()


def test_a_pod_that_runs_is_seen_before_a_task_is_said_to_be_late(
    scene: Scene,
) -> None:
    scene.job(made="2026-01-01T00:00:00Z")
    scene.api.now = "2026-01-01T00:02:00Z"
    scene.pod("p1")
    # All but the pods is known long before these are.
    seen = threading.Event()

    def late(_method: str, path: str, _body: Any) -> None:
        if path == PODS:
            assert seen.wait(20)

    scene.api.refuse = late
    with scene.followed(queued=100) as following:
        scene.api.wait(lambda: scene.api.watching == 2)
        following.join(1.5)
        seen.set()
        following.join(1.5)
        assert following.is_alive()
        assert scene.api.get("Job", CALL) is not None


def test_a_cancelled_run_is_not_taken_for_one_that_lost_its_job(scene: Scene) -> None:
    scene.job()
    scene.pod("p1")

    with scene.followed() as following:
        scene.api.wait(lambda: scene.api.watching == 3)
        # The watch of runs is slower than that of Jobs.
        there = scene.api.objects[f"{CONFIG_MAPS}/{names.run_name('first')}"]
        there["metadata"]["annotations"] = {CANCELLED: "1.0"}
        scene.api.remove("Pod", "p1")
        scene.api.remove("Job", CALL)
        error = decode_failure(following.result().error)
    assert isinstance(error, RunAbortedError)


def test_the_last_words_are_those_of_the_container_of_the_task(scene: Scene) -> None:
    pod = scene.pod("p1", "Failed", **over(1))
    scene.api.logs = {"p1/primary": b"boom\n", "p1/proxy": b"200 OK\n"}

    assert last_words(scene.cluster, pod) == "boom\n"


def test_words_that_may_not_be_read_are_not_taken_for_silence(scene: Scene) -> None:
    pod = scene.pod("p1", "Failed", **over(1))

    def refuse(_method: str, path: str, _body: Any) -> None:
        if path.endswith("/log"):
            raise ForbiddenError("no")

    scene.api.refuse = refuse
    assert last_words(scene.cluster, pod) is None


def test_the_next_pod_says_what_the_one_before_printed_last(scene: Scene) -> None:
    tally = {"number": 1, "failures": 0, "interruptions": 0}
    state = {"lost": [], "tally": tally, "pod": "p1"}
    scene.attempts({"attempts.json": json.dumps(state)})
    scene.pod("p1", "Failed", **over(1))
    scene.api.logs = {"p1/primary": b"boom\n"}

    found = history(scene)
    found.resume(Journal(_unwritten, print_to=Printing()))

    _, error = found.before(ROOT)
    assert isinstance(error, WorkerLostError)
    assert "it had printed:\n  boom" in str(error)
