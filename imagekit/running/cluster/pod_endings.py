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
#: Lines that are shown of what was printed last.
_LINES = 12
#: Exit codes of containers that were ended by SIGKILL and SIGTERM.
_KILLED = frozenset({137, 143})
_PULLING = frozenset(
    {
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_BAD_NAME = frozenset({"InvalidImageName", "ErrImageNeverPull"})
_NOT_THERE = ("not found", "manifest unknown", "no such image", "name unknown")
_CONFIGURATION = frozenset({"CreateContainerConfigError", "CreateContainerError"})
_NO_START = frozenset({"RunContainerError", "StartError", "ContainerCannotRun"})
_CRASHING = "CrashLoopBackOff"
_OOM = "OOMKilled"
#: Why a container ends that could not even start.
_NEVER_STARTED = frozenset({"ContainerCannotRun", "StartError"})


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


def is_failed(pod: Json) -> bool:
    """Return whether the task's container, or one before it, has ended with an error.

    Other containers of *pod* may still run.
    """
    return phase_of(pod) == "Failed" or bool(_terminated(pod).get("exitCode"))


def cannot_start(pod: Json) -> bool:
    """Return whether *pod* ended as a container could not even start."""
    return any(
        _end(status).get("reason") in _NEVER_STARTED for status in _statuses(pod)
    )


def container_to_ask(pod: Json) -> str:
    """Return the name of the container whose log may say why *pod* ended."""
    failed = _failed_init(pod)
    return str(failed["name"]) if failed else primary_name(pod)


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
        if reason == _CRASHING:
            # Only those restart that are beside the task: init containers that stay.
            last = status.get("lastState", {}).get("terminated") or {}
            error = RuntimeSystemError(
                f"the container {status.get('name')!r} beside the task ends again and "
                f"again, with exit code {last.get('exitCode', 'unknown')}",
                hint="see its log with 'kubectl logs', and mend the pod template",
            )
            return Trouble(error=error, patience=60)
    refused = _condition(pod, "PodScheduled")
    if refused.get("status") == "False":
        error = RuntimeSystemError(
            f"no node takes the pod: {refused.get('message') or 'nobody says why'}",
            hint="ask for less with Resources(...), or add nodes; a queue is bounded "
            "by Timeout(max_queued_time=...)",
        )
        return Trouble(error=error, patience=None)
    return None


def ending_of(pod: Json, tail: str | None = None) -> BaseRuntimeError:
    """Return what to raise for a task whose pod ended without a result.

    Args:
        pod: as it was seen last.
        tail: what its :func:`container_to_ask` printed last; None if nobody knows.
    """
    name = pod["metadata"]["name"]
    status = pod.get("status", {})
    reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    ended = _terminated(pod)
    code = ended.get("exitCode")
    if ended.get("reason") == _OOM:
        return OOMError(
            f"the task was killed because it took more memory than it may: the limit "
            f"is {_memory(_spec(pod))}",
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
    failed = _failed_init(pod)
    if failed and not (is_going(pod) or reason):
        return _init_error(pod, failed, tail)
    if is_going(pod) or reason or code is None or code in _KILLED:
        why = message or reason or "it was deleted or killed"
        return TaskInterruptedError(
            f"the pod {name!r} was interrupted: {why}",
            hint="tasks of environments with interruptible=True are tried again",
        )
    return WorkerLostError(
        f"the pod {name!r} ended with exit code {code} and no result{_printed(tail)}"
    )


def _init_error(
    pod: Json, failed: dict[str, Any], tail: str | None
) -> RuntimeSystemError:
    """Return what to raise where an init container kept the task from starting."""
    name, ended = str(failed["name"]), _end(failed)
    why = str(ended.get("message") or "")
    if ended.get("reason") == _OOM:
        limit = _memory(_named(pod, "initContainers", name))
        why = f"it took more memory than it may, the limit is {limit}"
    return RuntimeSystemError(
        f"the init container {name!r} of the pod {pod['metadata']['name']!r} ended "
        f"with exit code {ended['exitCode']}{why and f' ({why})'}, so that the task "
        f"could not start{_printed(tail)}",
        hint="the pod template of the task's environment has it",
    )


def _printed(tail: str | None) -> str:
    """Return what to add of what was printed last."""
    if tail is None:
        return "; its log can't be read here"
    lines = tail.strip().splitlines()[-_LINES:]
    shown = "".join(f"\n  {line}" for line in lines)
    return f"; it had printed:{shown}" if shown else ", and printed nothing"


def _failed_init(pod: Json) -> dict[str, Any]:
    """Return the status of the init container that has ended *pod*, if one has."""
    if _terminated(pod):
        return {}
    for status in pod.get("status", {}).get("initContainerStatuses") or ():
        ended = _end(status)
        code = ended.get("exitCode")
        killed = code in _KILLED and ended.get("reason") != _OOM
        spec = _named(pod, "initContainers", status["name"])
        # Those that stay may end as they like: they are begun again.
        if code and not killed and spec.get("restartPolicy") != "Always":
            found: dict[str, Any] = status
            return found
    return {}


def _end(status: dict[str, Any]) -> dict[str, Any]:
    """Return how a container ended; nothing if it did not."""
    found: dict[str, Any] = (status.get("state") or {}).get("terminated") or {}
    return found


def _memory(container: dict[str, Any]) -> str:
    limits = container.get("resources", {}).get("limits", {})
    return str(limits.get("memory", "none"))


def _named(pod: Json, kind: str, name: str) -> dict[str, Any]:
    """Return the container of that name; nothing if it is not known."""
    for item in pod.get("spec", {}).get(kind) or ():
        if item.get("name") == name:
            found: dict[str, Any] = item
            return found
    return {}


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
    found: dict[str, Any] = _named(pod, "containers", wanted) or containers[0]
    return found


def _terminated(pod: Json) -> dict[str, Any]:
    """Return how the task's container ended."""
    name = _spec(pod).get("name")
    for status in pod.get("status", {}).get("containerStatuses") or ():
        if status.get("name") == name:
            return _end(status)
    return {}


def _condition(pod: Json, kind: str) -> dict[str, Any]:
    for item in pod.get("status", {}).get("conditions") or ():
        if item.get("type") == kind:
            found: dict[str, Any] = item
            return found
    return {}
