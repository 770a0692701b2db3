"""Jobs and pods of pools, made from the deployed template of a task."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from imagekit.cluster.documents import Json
from imagekit.cluster.labelling import (
    check_annotations,
    check_labels,
    is_domain,
    is_own,
)
from imagekit.cluster.manifests import object_labels
from imagekit.cluster.merge import merged
from imagekit.cluster.names import (
    ACTION,
    ATTEMPT,
    CALL_KIND,
    CALLER,
    POOL,
    POOL_KIND,
    RUN,
)
from imagekit.cluster.pod_spec import INTERRUPTIBLE
from imagekit.cluster.primary_container import primary_container, with_primary
from imagekit.cluster.variables import CALL, variable
from imagekit.cluster.variables import POOL as POOL_VARIABLE
from imagekit.task_errors import RuntimeUserError

#: Where the claim of ``pvc://CLAIM/PATH`` is in containers.
DATA_FOLDER = "/var/run/imagekit/data"
_CLAIM = "pvc://"
#: How a pod says whose token it has, today and of old.
_ACCOUNT = ("serviceAccountName", "serviceAccount")
_DEFAULT_ACCOUNT = "default"
_VOLUME = "imagekit-data"
#: Keeps autoscalers from emptying the node: the work would be lost.
_KEEP = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}


def job_of(
    template: Json,
    *,
    name: str,
    run: str,
    action: str,
    attempt: int,
    caller: str = "",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    owner: Json | None = None,
    backoff: int = 0,
    deadline: int | None = None,
    service_account: str = "",
    raw_data_path: str = "",
    extra_env: Mapping[str, str] | None = None,
    ttl: int | None = None,
) -> Json:
    """Return a Job that runs a call.

    Args:
        template: ``metadata`` and ``spec`` of the task's pod.
        name: name of the call object, and of the Job.
        run: name of the run.
        action: id of the call in the run.
        attempt: see :class:`imagekit.cluster.documents.CallDocument`.
        caller: likewise.
        labels: of the run; those of the template are kept.
        annotations: likewise.
        owner: what it is deleted with, as :func:`owner_reference` returns it.
        backoff: how many more pods it may make when pods are lost.
        deadline: seconds after which it is ended; None for never.
        service_account: account of its pod; empty for that of the template, else of
            the namespace.
        raw_data_path: where large data is kept; a claim is mounted.
        extra_env: further variables.
        ttl: seconds after its end when it is deleted; None for never.

    Raises:
        RuntimeUserError: *raw_data_path* can't mean anything, or the labels and
            annotations can't be those of a pod.
        PrimaryContainerNotFoundError: the template has lost the task's container.
    """
    texts = {RUN: run, ACTION: action, ATTEMPT: str(attempt)}
    if caller:
        texts[CALLER] = caller
    pod = _pod(
        template,
        labels=object_labels(CALL_KIND, texts),
        variables={**(extra_env or {}), CALL: name},
        service_account=service_account,
        raw_data_path=raw_data_path,
    )
    pod = _given(pod, labels or {}, annotations or {})
    # People look for Jobs by the labels of the run, and imagekit by its own.
    own = {key: text for key, text in pod["metadata"]["labels"].items() if is_own(key)}
    metadata: Json = {
        "name": name,
        "labels": {**(labels or {}), **own},
        "annotations": dict(annotations or {}),
    }
    if owner is not None:
        metadata["ownerReferences"] = [owner]
    spec: Json = {"backoffLimit": backoff, "template": pod}
    if deadline is not None:
        spec["activeDeadlineSeconds"] = deadline
    if ttl is not None:
        spec["ttlSecondsAfterFinished"] = ttl
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": spec,
    }


def pool_pod_of(
    template: Json,
    *,
    name: str,
    pool: str,
    labels: Mapping[str, str] | None = None,
    owner: Json | None = None,
    service_account: str = "",
    raw_data_path: str = "",
    extra_env: Mapping[str, str] | None = None,
) -> Json:
    """Return a pod of the pool *pool*; arguments and errors as for :func:`job_of`."""
    pod = _pod(
        template,
        labels=object_labels(POOL_KIND, {POOL: pool}),
        variables={**(extra_env or {}), POOL_VARIABLE: pool},
        service_account=service_account,
        raw_data_path=raw_data_path,
    )
    found = _given(pod, labels or {}, {})
    metadata = {**found["metadata"], "name": name}
    if owner is not None:
        metadata["ownerReferences"] = [owner]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": found["spec"],
    }


def data_location(raw_data_path: str) -> str:
    """Return where a pod finds *raw_data_path*: of a claim, the folder.

    Raises:
        RuntimeUserError: it is a claim of no possible name, or leaves the claim.
    """
    claim = _claim(raw_data_path)
    return raw_data_path if claim is None else posixpath.join(DATA_FOLDER, claim[1])


def _pod(
    template: Json,
    *,
    labels: Mapping[str, str],
    variables: Mapping[str, str],
    service_account: str,
    raw_data_path: str,
) -> Json:
    """Return the pod for one use of *template*."""
    metadata = {
        "labels": {**template["metadata"].get("labels", {}), **labels},
        "annotations": dict(template["metadata"].get("annotations") or {}),
    }
    if metadata["labels"].get(INTERRUPTIBLE) != "true":
        metadata["annotations"] = {**_KEEP, **metadata["annotations"]}
    container: Json = {"env": [variable(*pair) for pair in variables.items()]}
    spec: Json = {"restartPolicy": "Never"}
    known = template["spec"]
    if service_account:
        spec |= {name: service_account for name in _ACCOUNT if name in known}
        spec[_ACCOUNT[0]] = service_account
    elif not any(known.get(name) for name in _ACCOUNT):
        # Where nobody else says so: a token has to be somebody's.
        spec[_ACCOUNT[0]] = _DEFAULT_ACCOUNT
    claim = _claim(raw_data_path)
    if claim is not None:
        source = {"claimName": claim[0]}
        spec["volumes"] = [{"name": _VOLUME, "persistentVolumeClaim": source}]
        container["volumeMounts"] = [{"name": _VOLUME, "mountPath": DATA_FOLDER}]
    pod = with_primary(template, merged(primary_container(template), container))
    return {"metadata": metadata, "spec": merged(pod["spec"], spec)}


def _given(
    pod: Json, labels: Mapping[str, str], annotations: Mapping[str, str]
) -> Json:
    """Return *pod* with what a run gives all its pods, where it says nothing itself."""
    check_labels(labels)
    check_annotations(annotations)
    metadata = {
        "labels": {**labels, **pod["metadata"]["labels"]},
        "annotations": {**annotations, **pod["metadata"]["annotations"]},
    }
    return {**pod, "metadata": metadata}


def _claim(raw_data_path: str) -> tuple[str, str] | None:
    """Return claim and path in it; None if it is no claim."""
    if not raw_data_path.startswith(_CLAIM):
        return None
    name, _, path = raw_data_path.removeprefix(_CLAIM).partition("/")
    if not is_domain(name) or ".." in path.split("/"):
        raise RuntimeUserError(
            f"wanted raw_data_path as pvc://CLAIM/PATH, found {raw_data_path!r}",
            hint="name a PersistentVolumeClaim, and a folder in it",
        )
    return name, path.strip("/")
