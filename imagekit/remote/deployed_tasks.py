"""Tasks that are deployed, found by name and version."""

from __future__ import annotations

import json

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.documents import (
    DOCUMENT,
    EnvironmentDocument,
    Json,
    TaskDocument,
)
from imagekit.nearest import suggestion
from imagekit.records import dataclass
from imagekit.task_errors import DeploymentError


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedTask:
    """A task of a version that is deployed.

    Attributes:
        task: the task.
        environments: its environment, and all that this depends on.
    """

    task: TaskDocument
    environments: tuple[EnvironmentDocument, ...]


def find_deployed(cluster: Cluster, text: str) -> DeployedTask:
    """Return the task that ``ENVIRONMENT.TASK[@VERSION]`` names.

    Without a version, it is that of the current one. The beginning of a version is
    enough where no other begins like it.

    Raises:
        DeploymentError: it is not deployed, or several versions begin like that.
        RuntimeSystemError: another version of imagekit deployed it.
        ClusterError: the cluster refuses, or can't be reached.
    """
    name, _, version = text.partition("@")
    environment = name.rpartition(".")[0]
    if not environment:
        raise DeploymentError(
            f"wanted the full name of a task, found {name!r}",
            hint="write ENVIRONMENT.TASK; 'imagekit runs --remote' shows some",
        )
    place = (
        _place_of_version(cluster, environment, version)
        if version
        else _current_place(cluster, environment)
    )
    found = _document(cluster, environment, place)
    task = found.task(name)
    if task is None:
        raise DeploymentError(
            f"the environment {environment!r} in version {found.version!r} has no task "
            f"{name!r}",
            hint=suggestion(name, [item.name for item in found.tasks]),
        )
    return DeployedTask(task=task, environments=_with_dependencies(cluster, found))


def _current_place(cluster: Cluster, environment: str) -> str:
    """Return the name of the object of the version that is the current one."""
    found = cluster.find("ConfigMap", names.current_name(environment))
    if found is None:
        known = [
            _label(item, names.ENVIRONMENT)
            for item in cluster.list(
                "ConfigMap", names.selector(kind=names.CURRENT_KIND), metadata=True
            )
        ]
        raise DeploymentError(
            f"no environment {environment!r} is deployed in the namespace "
            f"{cluster.namespace!r}",
            hint=suggestion(environment, known)
            if known
            else "deploy it with 'imagekit deploy'; the setting 'namespace' names "
            "another namespace",
        )
    return str(found["data"]["environment"])


def _place_of_version(cluster: Cluster, environment: str, version: str) -> str:
    selector = names.selector(
        kind=names.ENVIRONMENT_KIND, environment=names.label_value(environment)
    )
    known = {
        _label(item, names.VERSION): str(item["metadata"]["name"])
        for item in cluster.list("ConfigMap", selector, metadata=True)
    }
    exact = known.get(names.label_value(version))
    if exact is not None:
        return exact
    fitting = [item for item in known if item.startswith(version)]
    if len(fitting) == 1:
        return known[fitting[0]]
    raise DeploymentError(
        f"{len(fitting) or 'no'} versions of the environment {environment!r} begin "
        f"like {version!r}",
        hint=f"there are {', '.join(sorted(known))}"
        if known
        else "no version of it is deployed: see 'imagekit deploy'",
    )


def _with_dependencies(
    cluster: Cluster, root: EnvironmentDocument
) -> tuple[EnvironmentDocument, ...]:
    found = {root.name: root}
    left = list(root.depends_on)
    while left:
        name = left.pop(0)
        if name not in found:
            place = names.environment_name(name, root.version)
            found[name] = _document(cluster, name, place)
            left += found[name].depends_on
    return tuple(found.values())


def _document(cluster: Cluster, environment: str, place: str) -> EnvironmentDocument:
    found = cluster.find("ConfigMap", place)
    if found is None:
        raise DeploymentError(
            f"the description {place!r} of the environment {environment!r} is not in "
            f"the namespace {cluster.namespace!r} any more",
            hint="deploy it again",
        )
    return EnvironmentDocument.from_json(json.loads(found["data"][DOCUMENT]))


def _label(item: Json, name: str) -> str:
    return str((item["metadata"].get("labels") or {}).get(name, ""))
