"""What the status of a pod says of the task in it."""

from __future__ import annotations

from typing import Any

import pytest

from imagekit.running.cluster.pod_endings import (
    container_to_ask,
    ending_of,
    is_over,
    trouble_of,
)
from imagekit.task_errors import (
    BaseRuntimeError,
    ImagePullBackOffError,
    OOMError,
    RuntimeSystemError,
    TaskInterruptedError,
    WorkerLostError,
)


def pod(phase: str = "Failed", *, going: bool = False, **status: Any) -> Any:
    metadata: dict[str, Any] = {"name": "p", "uid": "1"}
    if going:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    limits = {"limits": {"memory": "64Mi"}}
    return {
        "metadata": metadata,
        "spec": {
            "containers": [{"name": "primary", "image": "i"}],
            "initContainers": [
                {"name": "fetch", "resources": limits},
                {"name": "proxy", "restartPolicy": "Always"},
            ],
        },
        "status": {"phase": phase, **status},
    }


def state(name: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "i", "state": {kind: more}}


def failed_init(code: int, reason: str = "Error", **more: Any) -> dict[str, Any]:
    ended = state("fetch", "terminated", exitCode=code, reason=reason, **more)
    waits = state("primary", "waiting", reason="PodInitializing")
    return {"initContainerStatuses": [ended], "containerStatuses": [waits]}


def lost(code: int) -> dict[str, Any]:
    return {"containerStatuses": [state("primary", "terminated", exitCode=code)]}


def test_an_init_container_that_fails_is_named_and_not_tried_again_as_killed() -> None:
    found = pod(**failed_init(3))

    error = ending_of(found, "no such bucket\n")

    # What was killed from outside is begun again beside the retries.
    assert type(error) is RuntimeSystemError
    assert "'fetch'" in error.message
    assert "exit code 3" in error.message
    assert "no such bucket" in error.message
    assert container_to_ask(found) == "fetch"


def test_an_init_container_that_took_too_much_memory_says_how_much_it_may() -> None:
    error = ending_of(pod(**failed_init(137, "OOMKilled")), "")

    assert not isinstance(error, OOMError)  # it was not the task
    assert "'fetch'" in error.message
    assert "64Mi" in error.message


@pytest.mark.parametrize(
    "found",
    [
        pod(**failed_init(143)),
        pod(**failed_init(1), going=True),
        pod(**failed_init(1), reason="Evicted", message="low on memory"),
    ],
    ids=["killed", "deleted", "evicted"],
)
def test_an_init_container_that_is_killed_is_an_interruption(found: Any) -> None:
    assert isinstance(ending_of(found), TaskInterruptedError)


def test_a_sidecar_that_ends_after_the_task_is_not_why() -> None:
    sidecar = state("proxy", "terminated", exitCode=1)
    found = pod(initContainerStatuses=[sidecar], **lost(2))

    error = ending_of(found, "")

    assert isinstance(error, WorkerLostError)
    assert "exit code 2" in error.message
    assert container_to_ask(found) == "primary"


def test_a_sidecar_that_restarts_is_no_failed_init_container() -> None:
    sidecar = state("proxy", "terminated", exitCode=1)
    found = pod("Pending", initContainerStatuses=[sidecar])

    assert isinstance(ending_of(found), TaskInterruptedError)
    assert not is_over(found)


def test_a_sidecar_that_crashes_again_and_again_is_trouble() -> None:
    sidecar = state("proxy", "waiting", reason="CrashLoopBackOff", message="back-off")
    sidecar["lastState"] = {"terminated": {"exitCode": 7}}

    found = trouble_of(pod("Pending", initContainerStatuses=[sidecar]))

    assert found is not None
    assert found.patience == 60
    assert "'proxy'" in found.error.message
    assert "exit code 7" in found.error.message


@pytest.mark.parametrize(
    "reason",
    ["ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"],
)
def test_all_reasons_why_there_is_no_image_are_known(reason: str) -> None:
    waits = state("primary", "waiting", reason=reason, message="so it is")

    found = trouble_of(pod("Pending", containerStatuses=[waits]))

    assert found is not None
    assert isinstance(found.error, ImagePullBackOffError)
    assert "so it is" in found.error.message
    assert found.patience == 60


@pytest.mark.parametrize(
    ("tail", "wanted"),
    [
        (None, "its log can't be read here"),
        ("", "and printed nothing"),
        ("one\ntwo\n", "it had printed:\n  one\n  two"),
    ],
    ids=["unknown", "nothing", "lines"],
)
def test_what_was_printed_last_is_only_said_if_it_is_known(
    tail: str | None, wanted: str
) -> None:
    error: BaseRuntimeError = ending_of(pod(**lost(1)), tail)

    assert isinstance(error, WorkerLostError)
    assert error.message.endswith(wanted)
