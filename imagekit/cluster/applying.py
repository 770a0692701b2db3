"""Has a cluster hold objects as their manifests say, and touches no others.

Objects that the cluster holds already are not sent: an annotation on each tells what is
in it. The rest is applied by the server, so that two who apply at once end with the
whole of one or the other. What points to other objects comes after them: whoever breaks
off in between leaves what was current current.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from imagekit.cluster.manifests import CONTENT
from imagekit.cluster.names import (
    CURRENT_KIND,
    ENVIRONMENT,
    ENVIRONMENT_KIND,
    KIND,
    MANAGED_BY,
    MANAGER,
    TEMPLATE_KIND,
    VERSION,
    selector,
)
from imagekit.progress import Progress, TaskEnded, TaskStarted, silent
from imagekit.records import dataclass
from imagekit.task_errors import DeploymentError, RuntimeSystemError

if TYPE_CHECKING:
    from imagekit.cluster.api import Cluster

Json: TypeAlias = Any
Outcome: TypeAlias = Literal["created", "changed", "unchanged"]
_T = TypeVar("_T")
_R = TypeVar("_R")

#: What is applied first, what next, and what last.
_ORDER = (TEMPLATE_KIND, ENVIRONMENT_KIND, CURRENT_KIND)
#: How many requests run at once.
_THREADS = 8
#: More values than this make a label selector too long for a URL.
_MANY = 20
#: How often what somebody else deleted meanwhile is applied again.
_ROUNDS = 3

_Key: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of an object.

    Attributes:
        kind: its kind, as Kubernetes names it.
    """

    kind: str
    name: str
    outcome: Outcome


def apply_objects(
    cluster: Cluster, objects: Iterable[Json], *, progress: Progress = silent
) -> tuple[Applied, ...]:
    """Have *cluster* hold *objects*, and return what was done, in their order.

    Raises:
        DeploymentError: an object that imagekit does not manage has one of their names.
        ClusterError: the cluster refuses, or can't be reached. What was current is so
            still, unless only this answer was lost.
    """
    wanted = {_key(item): item for item in objects}
    stages = [
        [item for item in wanted.values() if _label(item, KIND) == kind]
        for kind in _ORDER
    ]
    with ThreadPoolExecutor(max_workers=_THREADS) as pool:
        there = _held(cluster, wanted.values(), pool)
        unknown = [item for key, item in wanted.items() if key not in there]
        there |= _found(cluster, unknown, pool)
        outcomes = {key: _outcome(item, there) for key, item in wanted.items()}
        for stage in stages:
            changes = [item for item in stage if outcomes[_key(item)] != "unchanged"]
            _apply(cluster, changes, outcomes, pool, progress)
        if set(outcomes.values()) != {"unchanged"}:
            _complete(cluster, wanted, outcomes, pool, progress)
    return tuple(
        Applied(kind=kind, name=name, outcome=outcomes[kind, name])
        for kind, name in wanted
    )


def _complete(
    cluster: Cluster,
    wanted: Mapping[_Key, Json],
    outcomes: dict[_Key, Outcome],
    pool: ThreadPoolExecutor,
    progress: Progress,
) -> None:
    """Apply again what was there, and has been pruned before it became current."""
    for _ in range(_ROUNDS):
        there = _held(cluster, wanted.values(), pool)
        lost = [item for key, item in wanted.items() if key not in there]
        if not lost:
            return
        outcomes |= {_key(item): "created" for item in lost}
        _apply(cluster, lost, outcomes, pool, progress)
    raise RuntimeSystemError(
        f"somebody deletes {lost[0]['metadata']['name']!r} again and again",
        hint="see what watches the namespace; 'imagekit prune' leaves what is current",
    )


def _apply(
    cluster: Cluster,
    objects: Sequence[Json],
    outcomes: Mapping[_Key, Outcome],
    pool: ThreadPoolExecutor,
    progress: Progress,
) -> None:
    def one(item: Json) -> None:
        kind, name = _key(item)
        task = f"apply:{kind}/{name}"
        progress(TaskStarted(task, name, "apply"))
        try:
            cluster.apply(item)
        except BaseException:
            progress(TaskEnded(task, "failed"))
            raise
        progress(TaskEnded(task, detail=outcomes[kind, name]))

    _all(pool, one, objects)


def _held(
    cluster: Cluster, objects: Iterable[Json], pool: ThreadPoolExecutor
) -> dict[_Key, Json]:
    """Return the metadata of what the cluster holds of *objects*, by labels."""
    groups: dict[tuple[str, str], list[Json]] = {}
    for item in objects:
        groups.setdefault((item["kind"], _label(item, KIND)), []).append(item)

    def listed(group: tuple[str, str]) -> dict[_Key, Json]:
        kind, purpose = group
        labels = [ENVIRONMENT]
        if purpose != CURRENT_KIND:
            # Of what is current, another version is to be replaced.
            labels.append(VERSION)
        parts = [selector(kind=purpose)]
        for label in labels:
            values = {_label(item, label) for item in groups[group]}
            if len(values) <= _MANY:
                parts.append(f"{label} in ({','.join(sorted(values))})")
        found = cluster.list(kind, ",".join(parts), metadata=True)
        return {(kind, item["metadata"]["name"]): item["metadata"] for item in found}

    held: dict[_Key, Json] = {}
    for part in _all(pool, listed, list(groups)):
        held |= part
    return held


def _found(
    cluster: Cluster, objects: Sequence[Json], pool: ThreadPoolExecutor
) -> dict[_Key, Json]:
    """Return the metadata of what has the names of *objects*, and other labels.

    Raises:
        DeploymentError: imagekit does not manage one of them.
    """

    def one(item: Json) -> Json | None:
        kind, name = _key(item)
        found = cluster.find(kind, name)
        if found is None:
            return None
        metadata = found["metadata"]
        if (metadata.get("labels") or {}).get(MANAGED_BY) != MANAGER:
            raise DeploymentError(
                f"there is a {kind} {name!r} in the namespace {cluster.namespace!r} "
                "that imagekit does not manage",
                hint="rename or delete it, or give the environment another name",
            )
        return metadata

    metadata = _all(pool, one, objects)
    return {
        _key(item): found
        for item, found in zip(objects, metadata, strict=True)
        if found is not None
    }


def _outcome(item: Json, there: Mapping[_Key, Json]) -> Outcome:
    found = there.get(_key(item))
    if found is None:
        return "created"
    held = (found.get("annotations") or {}).get(CONTENT)
    if held is None or held != item["metadata"]["annotations"][CONTENT]:
        return "changed"
    # Somebody else's labels would hide it from those who look for it.
    labels = found.get("labels") or {}
    own = item["metadata"]["labels"]
    return "unchanged" if own.items() <= labels.items() else "changed"


def _all(
    pool: ThreadPoolExecutor, work: Callable[[_T], _R], items: Sequence[_T]
) -> list[_R]:
    """Do *work* for all items; raise the first failure once nothing runs any more."""
    futures = [pool.submit(work, item) for item in items]
    errors = [error for item in futures if (error := item.exception()) is not None]
    if errors:
        raise errors[0]
    return [item.result() for item in futures]


def _key(item: Json) -> _Key:
    return item["kind"], item["metadata"]["name"]


def _label(item: Json, label: str) -> str:
    found: str = item["metadata"]["labels"][label]
    return found
