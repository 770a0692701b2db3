"""What events tell and no status does: why there is no pod, or one does not start."""

from __future__ import annotations

from imagekit.cluster.api import Cluster
from imagekit.cluster.api_errors import QuotaError
from imagekit.cluster.refusal import COMING_UP, quota_error
from imagekit.run_events import Json
from imagekit.running.cluster.pod_endings import Trouble
from imagekit.task_errors import RuntimeSystemError

#: Volumes come before containers: as long as they don't, a pod is just pending.
_NO_VOLUME = frozenset({"FailedMount", "FailedAttachVolume"})
_NOT_THERE = "not found"
#: Seconds that somebody has to make what is not there, or to allow what is refused.
PATIENCE = 30.0
#: Why no pod is made, by what the API server says of it, and what to do.
_REFUSALS = {
    "error looking up service account": "create the service account in the namespace, "
    "or name another one",
    "violates PodSecurity": "the namespace's Pod Security level is against it: have "
    "the pod template say what it asks for, or ask who runs the cluster",
    "denied the request": "a policy of the cluster is against it: change the pod "
    "template, or ask who runs the cluster",
    "is forbidden: ": "a limit or policy of the namespace is against it: change what "
    "the task asks for with Resources(...), or ask who runs the cluster",
}


def no_pod(cluster: Cluster, job: str) -> Trouble | None:
    """Return why the Job of that name gets no pod; None if nobody says so.

    Raises:
        ClusterError: the cluster refuses, or can't be reached.
    """
    fields = f"involvedObject.kind=Job,involvedObject.name={job}"
    found = [
        item
        for item in cluster.list("Event", fields=fields)
        if item.get("reason") == "FailedCreate"
    ]
    if not found:
        return None
    message = str(max(found, key=_time).get("message"))
    what = f"the Job {job!r} gets no pod"
    quota = quota_error(message)
    if quota is not None:
        quota.message = f"{what}: {quota.message}"
        quota.args = (quota.message,)
        return quota_trouble(quota)
    hint = _hint(message)
    error = RuntimeSystemError(f"{what}: {message}", hint=hint)
    return Trouble(error=error, patience=None if hint is None else PATIENCE)


def quota_trouble(error: QuotaError) -> Trouble:
    """Return the trouble with a quota: others may make room, if there is any at all."""
    return Trouble(error=error, patience=None if error.requested else PATIENCE)


def start_trouble(cluster: Cluster, pod: str) -> Trouble | None:
    """Return what keeps the pod of that name from starting; None if nobody says so.

    Only what is not there will go on to be missing: a volume may just take long.

    Raises:
        ClusterError: the cluster refuses, or can't be reached.
    """
    fields = f"involvedObject.kind=Pod,involvedObject.name={pod}"
    for item in cluster.list("Event", fields=fields):
        message = str(item.get("message") or "")
        if item.get("reason") in _NO_VOLUME and _NOT_THERE in message:
            error = RuntimeSystemError(
                f"the pod can't start: {message}",
                hint="create the Secret, ConfigMap or claim that it names, in its "
                "namespace",
            )
            return Trouble(error=error, patience=PATIENCE)
    return None


def _hint(message: str) -> str | None:
    """Return what to do about a refusal; None if it may pass by itself."""
    if any(text in message for text in COMING_UP):
        return None
    return next((hint for text, hint in _REFUSALS.items() if text in message), None)


def _time(event: Json) -> str:
    """Return when an event happened last, to the second; texts that can be compared."""
    known = (
        (event.get("series") or {}).get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event["metadata"].get("creationTimestamp"),
    )
    return str(next(filter(None, known), ""))[: len("2026-01-01T00:00:00")]
