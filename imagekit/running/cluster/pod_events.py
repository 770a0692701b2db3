"""What events tell and no status does: why there is no pod, or one does not start."""

from __future__ import annotations

from imagekit.cluster.api import Cluster
from imagekit.running.cluster.pod_endings import Trouble
from imagekit.task_errors import RuntimeSystemError

#: Volumes come before containers: as long as they don't, a pod is just pending.
_NO_VOLUME = frozenset({"FailedMount", "FailedAttachVolume"})
_NOT_THERE = "not found"
#: Seconds that somebody has to make what is not there.
_PATIENCE = 30.0


def no_pod(cluster: Cluster, job: str) -> Trouble | None:
    """Return why the Job of that name gets no pod; None if nobody says so.

    Raises:
        ClusterError: the cluster refuses, or can't be reached.
    """
    fields = f"involvedObject.kind=Job,involvedObject.name={job}"
    found = [
        str(item.get("message"))
        for item in cluster.list("Event", fields=fields)
        if item.get("reason") == "FailedCreate"
    ]
    if not found:
        return None
    error = RuntimeSystemError(
        f"the Job {job!r} gets no pod: {found[-1]}",
        hint="the namespace has a quota or a policy that is against it: ask for less "
        "with Resources(...), or have it raised",
    )
    return Trouble(error=error, patience=None)


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
            return Trouble(error=error, patience=_PATIENCE)
    return None
