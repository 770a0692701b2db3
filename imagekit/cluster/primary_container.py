"""The container of a pod that runs the task; others of the user's are beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from imagekit import pod_template
from imagekit.cluster.documents import Json
from imagekit.task_errors import PrimaryContainerNotFoundError

#: Annotation of pods with the name of this container.
CONTAINER = pod_template.CONTAINER
#: What it is called if nobody says so.
DEFAULT = pod_template.PRIMARY


def primary_name(pod: Json) -> str:
    """Return the name of the container that runs the task in *pod*."""
    annotations = pod["metadata"].get("annotations") or {}
    return str(annotations.get(CONTAINER, DEFAULT))


def primary_container(pod: Json) -> Json:
    """Return the container of *pod* that runs the task.

    Raises:
        PrimaryContainerNotFoundError: there is none of that name any more.
    """
    name = primary_name(pod)
    found = _position(pod, name)
    if found is None:
        names = [item["name"] for item in pod["spec"]["containers"]]
        raise PrimaryContainerNotFoundError(
            f"wanted a container {name!r} in the pod, found {', '.join(names)}",
            hint="deploy the environment again",
        )
    return pod["spec"]["containers"][found]


def with_primary(pod: Json, container: Json) -> Json:
    """Return *pod* with *container* in place of the one that runs the task."""
    containers = list(pod["spec"]["containers"])
    containers[containers.index(primary_container(pod))] = container
    return {**pod, "spec": {**pod["spec"], "containers": containers}}


def renamed(pod: Json, name: str) -> Json:
    """Return *pod* with *name* for the container that runs the task.

    Where another container has the name, *pod* stays as it is.
    """
    if primary_name(pod) == name or _position(pod, name) is not None:
        return pod
    found = with_primary(pod, {**primary_container(pod), "name": name})
    annotations = {**pod["metadata"].get("annotations", {}), CONTAINER: name}
    return {**found, "metadata": {**pod["metadata"], "annotations": annotations}}


def _position(pod: Json, name: str) -> int | None:
    containers: Sequence[Any] = pod["spec"]["containers"]
    found = (index for index, item in enumerate(containers) if item["name"] == name)
    return next(found, None)
