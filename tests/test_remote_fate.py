"""What becomes of a run's own task, as its Job and its pods tell."""

from __future__ import annotations

from typing import Any

import pytest

from imagekit.remote.root_fate import (
    Going,
    Lingering,
    NoPod,
    Over,
    RootFate,
    Stuck,
    Waiting,
)
from imagekit.running.cluster.pod_endings import PENDING
from imagekit.task_errors import (
    ImagePullBackOffError,
    InvalidImageNameError,
    OOMError,
    RuntimeSystemError,
    TaskTimeoutError,
    WorkerLostError,
)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def job(**status: Any) -> Any:
    return {"metadata": {"name": "j"}, "status": status}


def pod(uid: str = "1", phase: str = "Pending", **status: Any) -> Any:
    return {
        "metadata": {"name": f"pod-{uid}", "uid": uid},
        "spec": {"containers": [{"name": "primary", "image": "i"}]},
        "status": {"phase": phase, **status},
    }


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"containerStatuses": [{"name": "primary", "image": "i", "state": state}]}


def ended(code: int, reason: str = "Error") -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "reason": reason}}
    return {"containerStatuses": [{"name": "primary", "image": "i", "state": state}]}


UNSCHEDULABLE: dict[str, Any] = {
    "conditions": [
        {"type": "PodScheduled", "status": "False", "message": "too much cpu"}
    ]
}


@pytest.fixture
def clock() -> Clock:
    return Clock()


def fate(clock: Clock, queued: float | None = None) -> RootFate:
    found = RootFate("env.task", queued=queued, clock=clock)
    found.see_job(job(active=1))
    return found


def test_a_pod_that_runs_may_take_as_long_as_it_wants(clock: Clock) -> None:
    found = fate(clock)
    found.see_pod(pod(phase="Running"))
    clock.now += 1e6

    assert found.now() == Going()


def test_a_job_that_never_comes_is_over(clock: Clock) -> None:
    found = RootFate("env.task", queued=None, clock=clock)

    assert found.now() == Going()
    clock.now += 60
    assert found.now() == Over(pod=None, why="")


def test_a_job_that_goes_is_over_with_its_last_pod(clock: Clock) -> None:
    found = fate(clock)
    last = pod(phase="Running")
    found.see_pod(last)
    found.lose_job()

    assert found.now() == Over(pod=last, why="")


@pytest.mark.parametrize("kind", ["Failed", "Complete"])
def test_a_job_that_ends_is_over(clock: Clock, kind: str) -> None:
    found = fate(clock)
    condition = {"type": kind, "status": "True", "reason": "Why", "message": "so"}
    found.see_job(job(conditions=[condition]))

    assert found.now() == Over(pod=None, why="Why: so")


def test_an_image_that_is_not_there_is_given_up_soon(clock: Clock) -> None:
    found = fate(clock)
    found.see_pod(pod(**waiting("ImagePullBackOff", "manifest unknown")))

    assert isinstance(found.now(), Waiting)
    found.see_pod(pod(**waiting("ImagePullBackOff", "back-off pulling image")))
    clock.now += 10
    match found.now():
        case Stuck(error=error):
            assert isinstance(error, ImagePullBackOffError)
            assert "manifest unknown" in error.message
        case other:
            pytest.fail(f"{other}")


def test_a_name_that_no_image_has_is_given_up_at_once(clock: Clock) -> None:
    found = fate(clock)
    found.see_pod(pod(**waiting("InvalidImageName")))
    found.now()
    clock.now += 0.1

    match found.now():
        case Stuck(error=error):
            assert isinstance(error, InvalidImageNameError)
        case other:
            pytest.fail(f"{other}")


@pytest.mark.parametrize("queued", [None, 20.0])
def test_a_pod_waits_for_a_node_as_long_as_its_task_may(
    clock: Clock, queued: float | None
) -> None:
    found = fate(clock, queued)
    found.see_pod(pod(**UNSCHEDULABLE))

    assert isinstance(found.now(), Waiting)
    clock.now += (queued or PENDING) - 1
    assert isinstance(found.now(), Waiting)
    clock.now += 2
    match found.now():
        case Stuck(error=error):
            wanted = TaskTimeoutError if queued else RuntimeSystemError
            assert type(error) is wanted
            assert "too much cpu" in error.message
        case other:
            pytest.fail(f"{other}")


def test_what_heals_begins_to_count_anew(clock: Clock) -> None:
    found = fate(clock)
    found.see_pod(pod(**waiting("ErrImagePull", "connection refused")))
    found.now()
    clock.now += 50
    found.see_pod(pod(**waiting("ContainerCreating")))
    assert found.now() == Going()
    found.see_pod(pod(**waiting("ErrImagePull", "connection refused")))
    found.now()
    clock.now += 50

    assert isinstance(found.now(), Waiting)


def test_a_pod_that_is_lost_is_replaced(clock: Clock) -> None:
    found = fate(clock)
    found.see_pod(pod(phase="Running"))
    found.see_pod(pod(phase="Failed", **ended(137)))
    found.lose_pod(pod())

    assert found.now() == Going()
    assert len(found.ends) == 1
    clock.now += 6
    assert found.now() == NoPod()
    found.see_pod(pod("2"))
    assert found.now() == Going()


def test_pods_that_end_without_a_word_are_given_up(clock: Clock) -> None:
    found = fate(clock)
    for uid in "123":
        assert found.now() == Going()
        found.see_pod(pod(uid, "Running"))
        found.see_pod(pod(uid, "Failed", **ended(1)))

    match found.now():
        case Stuck(error=error):
            assert isinstance(error, WorkerLostError)
        case other:
            pytest.fail(f"{other}")


def test_a_program_that_is_not_there_is_given_up_at_once(clock: Clock) -> None:
    found = fate(clock)
    found.see_pod(pod(phase="Failed", **ended(127, "ContainerCannotRun")))

    assert isinstance(found.now(), Stuck)


def test_init_containers_that_fail_again_and_again_are_given_up(clock: Clock) -> None:
    found = fate(clock)
    for uid in "123":
        assert found.now() == Going()
        init = {"terminated": {"exitCode": 3, "reason": "Error"}}
        status = {"initContainerStatuses": [{"name": "fetch", "state": init}]}
        found.see_pod(pod(uid, "Failed", **status))

    match found.now():
        case Stuck(error=error):
            assert "'fetch'" in error.message
        case other:
            pytest.fail(f"{other}")


def test_a_pod_whose_sidecar_goes_on_is_told_of_until_it_is_deleted(
    clock: Clock,
) -> None:
    found = fate(clock)
    found.see_pod(pod(phase="Running"))
    half = pod(phase="Running", **ended(137, "OOMKilled"))
    found.see_pod(half)

    clock.now += 100
    assert found.now() == Lingering(pod=half)
    (error,) = found.ends
    assert isinstance(error, OOMError)
    half["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    found.see_pod(half)
    assert found.now() == Going()
    found.see_pod(pod("2", "Running"))
    assert found.now() == Going()
    assert len(found.ends) == 1


def test_the_time_in_a_queue_begins_with_the_job(clock: Clock) -> None:
    found = RootFate("env.task", queued=60.0, clock=clock)
    found.see_job(job(active=1), age=50.0)
    found.see_pod(pod(**UNSCHEDULABLE))

    assert isinstance(found.now(), Waiting)
    clock.now += 11
    match found.now():
        case Stuck(error=error):
            assert isinstance(error, TaskTimeoutError)
        case other:
            pytest.fail(f"{other}")


def test_a_task_that_has_begun_waits_in_no_queue(clock: Clock) -> None:
    found = RootFate("env.task", queued=60.0, clock=clock)
    found.see_job(job(active=1), age=500.0)
    found.begin()
    found.see_pod(pod(**UNSCHEDULABLE))

    assert isinstance(found.now(), Waiting)
