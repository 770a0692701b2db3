"""What the status of a pod says of the task in it: why it waits, why it ended."""

from __future__ import annotations

from typing import Any

from imagekit.cluster.primary_container import primary_name
from imagekit.records import dataclass
from imagekit.run_events import Json
from imagekit.task_errors import (
    BaseRuntimeError,
    ImagePullBackOffError,
    InvalidImageNameError,
    OOMError,
    RuntimeSystemError,
    TaskInterruptedError,
    TaskTimeoutError,
    WorkerLostError,
)

#: Seconds that a pod may wait for a node, where the task has no bound of its own.
PENDING = 300.0
#: Exit codes of containers that were ended by SIGKILL and SIGTERM.
_KILLED = frozenset({137, 143})
_PULLING = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"})
_BAD_NAME = frozenset({"InvalidImageName", "ErrImageNeverPull"})
_NOT_THERE = ("not found", "manifest unknown", "no such image", "name unknown")
_CONFIGURATION = frozenset({"CreateContainerConfigError", "CreateContainerError"})
_NO_START = frozenset({"RunContainerError", "StartError", "ContainerCannotRun"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that keeps a pod from running.

    Attributes:
        patience: seconds after which it is given up; 0 where waiting can't help, None
            where it may go on for as long as pods may wait.
    """

    error: BaseRuntimeError
    patience: float | None


def phase_of(pod: Json) -> str:
    """Return ``Pending``, ``Running``, ``Succeeded`` or ``Failed``."""
    return str(pod.get("status", {}).get("phase") or "Pending")


def is_over(pod: Json) -> bool:
    """Return whether the task's container in *pod* has ended; others may still run."""
    return phase_of(pod) in {"Succeeded", "Failed"} or bool(_terminated(pod))


def is_going(pod: Json) -> bool:
    """Return whether *pod* is being deleted."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def trouble_of(pod: Json) -> Trouble | None:
    """Return what keeps *pod* from running; None if nothing is known to."""
    for status in _statuses(pod):
        waiting = status.get("state", {}).get("waiting") or {}
        reason, message = (
            str(waiting.get("reason", "")),
            str(waiting.get("message", "")),
        )
        image = str(status.get("image") or "")
        if reason in _BAD_NAME:
            error: BaseRuntimeError = InvalidImageNameError(
                f"no pod can have the image {image!r}: {message or reason}"
            )
            return Trouble(error=error, patience=0)
        if reason in _PULLING:
            gone = any(word in message.lower() for word in _NOT_THERE)
            error = ImagePullBackOffError(
                f"the node can't pull the image {image!r}: {message or reason}",
                hint="deploy again if it was deleted; a private registry needs the "
                "setting 'pull-secrets'",
            )
            return Trouble(error=error, patience=5 if gone else 60)
        if reason in _CONFIGURATION:
            error = RuntimeSystemError(
                f"the pod can't start: {message or reason}",
                hint="create the Secret or ConfigMap that it names, in its namespace",
            )
            return Trouble(error=error, patience=15)
        if reason in _NO_START:
            error = RuntimeSystemError(f"the pod can't start: {message or reason}")
            return Trouble(error=error, patience=15)
    refused = _condition(pod, "PodScheduled")
    if refused.get("status") == "False":
        error = RuntimeSystemError(
            f"no node takes the pod: {refused.get('message') or 'nobody says why'}",
            hint="ask for less with Resources(...), or add nodes; a queue is bounded "
            "by Timeout(max_queued_time=...)",
        )
        return Trouble(error=error, patience=None)
    return None


def ending_of(pod: Json, tail: str = "") -> BaseRuntimeError:
    """Return what to raise for a task whose pod ended without a result.

    Args:
        pod: as it was seen last.
        tail: what it printed last.
    """
    name = pod["metadata"]["name"]
    status = pod.get("status", {})
    reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    ended = _terminated(pod)
    code = ended.get("exitCode")
    if ended.get("reason") == "OOMKilled":
        limit = _spec(pod).get("resources", {}).get("limits", {}).get("memory", "none")
        return OOMError(
            f"the task was killed because it took more memory than it may: the limit "
            f"is {limit}",
            hint="ask for more: Resources(memory=...)",
        )
    if reason == "DeadlineExceeded":
        return TaskTimeoutError(
            f"the pod {name!r} ran for longer than its deadline",
            hint="give it more time: @env.task(timeout=...)",
        )
    if reason == "Evicted" and "memory" not in message and "storage" in message:
        return RuntimeSystemError(
            f"the pod {name!r} was evicted: {message}",
            hint="ask for more: Resources(disk=...)",
        )
    if is_going(pod) or reason or code is None or code in _KILLED:
        why = message or reason or "it was deleted or killed"
        return TaskInterruptedError(
            f"the pod {name!r} was interrupted: {why}",
            hint="tasks of environments with interruptible=True are tried again",
        )
    lines = tail.strip().splitlines()[-12:]
    shown = "".join(f"\n  {line}" for line in lines)
    return WorkerLostError(
        f"the pod {name!r} ended with exit code {code} and no result"
        + (f"; it had printed:{shown}" if shown else ", and printed nothing"),
    )


def _statuses(pod: Json) -> list[dict[str, Any]]:
    status = pod.get("status", {})
    return [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]


def _spec(pod: Json) -> dict[str, Any]:
    """Return the task's container of *pod*."""
    wanted = primary_name(pod)
    containers = pod.get("spec", {}).get("containers") or [{}]
    named = [item for item in containers if item.get("name") == wanted]
    found: dict[str, Any] = (named or containers)[0]
    return found


def _terminated(pod: Json) -> dict[str, Any]:
    """Return how the task's container ended."""
    name = _spec(pod).get("name")
    for status in pod.get("status", {}).get("containerStatuses") or ():
        if status.get("name") == name:
            found: dict[str, Any] = status.get("state", {}).get("terminated") or {}
            return found
    return {}


def _condition(pod: Json, kind: str) -> dict[str, Any]:
    for item in pod.get("status", {}).get("conditions") or ():
        if item.get("type") == kind:
            found: dict[str, Any] = item
            return found
    return {}
