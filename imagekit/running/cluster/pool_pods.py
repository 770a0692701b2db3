"""The pods of pools: which calls can share them, what they are like, how many.

Calls share pods that would be just alike otherwise: of the same version of an
environment, made of the same template, with the same settings. Pods have numbers as
names, so that callers who make them at the same time don't make too many.
"""

from __future__ import annotations

import json
import secrets as random_texts
from collections.abc import Mapping

from imagekit.cluster import names
from imagekit.cluster.documents import FORMAT, RunDocument
from imagekit.cluster.jobs import pool_pod_of
from imagekit.cluster.labelling import check_annotations
from imagekit.cluster.manifests import compact
from imagekit.digest import Digest
from imagekit.records import compared, dataclass
from imagekit.run_events import Json
from imagekit.running.cluster.deployed import Deployed
from imagekit.running.cluster.pod_endings import is_going, is_over, phase_of
from imagekit.running.container.pool import PoolLimits
from imagekit.task_errors import RuntimeSystemError
from imagekit.task_settings import TaskSettings

#: Annotations of the pods: what they have to know, and the token of marks in the log.
_PLACE = "imagekit/pool-place"
LOG_TOKEN = "imagekit/log-token"  # noqa: S105  (the name of an annotation)
_TOKEN_BYTES = 8
_PREFIX = "ik-pool"
#: Hex digits of what pods are like in names; and what is left for the number.
_SHORT, _NUMBER = 12, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPlace:
    """What a pod knows of its pool.

    Attributes:
        index: number of the pod, from 0.
        token: of the marks in its log.
        is_alone: whether it has no other containers, which might go on for ever.
    """

    index: int
    limits: PoolLimits
    token: str
    is_alone: bool

    @classmethod
    def of(cls, pod: Json) -> PoolPlace:
        """Return the place of *pod*.

        Raises:
            RuntimeSystemError: another version of imagekit has made it.
        """
        annotations = pod["metadata"].get("annotations") or {}
        place = json.loads(annotations.get(_PLACE, "{}"))
        if place.get("format") != FORMAT:
            raise RuntimeSystemError(
                f"wanted a pod of a pool of format {FORMAT}, found "
                f"{place.get('format')!r}",
                hint="deploy the environment again, with this imagekit",
            )
        return cls(
            index=place["index"],
            limits=PoolLimits(**place["limits"]),
            token=annotations[LOG_TOKEN],
            is_alone=len(pod["spec"]["containers"]) == 1,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A pool of pods.

    Attributes:
        name: names it among all pools of the namespace.
        pod: what its pods are like.
        owner: names the object that they are deleted with.
    """

    name: str
    limits: PoolLimits
    pod: Json
    owner: Json

    @property
    def places(self) -> int:
        """How many calls it can run at a time."""
        return self.limits.most * self.limits.concurrency

    def pod_name(self, index: int) -> str:
        """Return the name of the pod with a number."""
        return f"{self.name}-{index}"

    def manifest(self, index: int) -> Json:
        """Return the pod with a number, to be made."""
        metadata = self.pod["metadata"]
        place = {"format": FORMAT, "index": index, "limits": _fields(self.limits)}
        annotations = {
            **metadata["annotations"],
            _PLACE: compact(place),
            LOG_TOKEN: random_texts.token_hex(_TOKEN_BYTES),
        }
        return {
            **self.pod,
            "metadata": {
                **metadata,
                "name": self.pod_name(index),
                "annotations": annotations,
                "ownerReferences": [self.owner],
            },
        }

    def missing(self, calls: int, pods: Mapping[str, Json]) -> list[int]:
        """Return the numbers of the pods to make.

        Args:
            calls: how many there are that wait or run.
            pods: those that are there, by name; some may have ended.
        """
        limits = self.limits
        busy = -(-calls // limits.concurrency)
        wanted = min(max(busy, limits.fewest), limits.most) if calls else 0
        alive = sum(is_alive(pod) for pod in pods.values())
        free = [
            index
            for index in range(limits.most)
            if (pod := pods.get(self.pod_name(index))) is None or is_over(pod)
        ]
        return free[: max(0, wanted - alive)]


def pool_of(
    deployed: Deployed, run: RunDocument, task: str, settings: TaskSettings
) -> Pool:
    """Return the pool that a call is to run in.

    Args:
        deployed: the environments of the run.
        run: the run.
        task: full name of the task, whose environment is reused.
        settings: of the call.

    Raises:
        ImageKitError: no pod can be what they ask for.
    """
    policy = settings.reusable
    assert policy is not None
    limits = PoolLimits.of(policy)
    owner = deployed.reference(task)
    template = deployed.pod(task, settings)
    check_annotations(dict(run.annotations))

    def pod_in(pool: str) -> Json:
        pod = pool_pod_of(
            template,
            name="",
            pool=pool,
            labels=dict(run.labels),
            service_account=run.service_account,
            raw_data_path=run.raw_data_path,
        )
        metadata = pod["metadata"]
        labels, annotations = dict(metadata["labels"]), metadata["annotations"]
        # It is for all tasks of the environment.
        labels.pop(names.TASK, None)
        return {
            **pod,
            "metadata": {
                "labels": labels,
                "annotations": {**dict(run.annotations), **annotations},
            },
        }

    alike = compact([owner, pod_in(""), _fields(limits)])
    name = names.object_name(
        _PREFIX,
        task.rpartition(".")[0],
        Digest.of(alike.encode()).hex[:_SHORT],
        length=names.NAME_LENGTH - _NUMBER,
    )
    return Pool(name=name, limits=limits, pod=pod_in(name), owner=owner)


def pods_selector(pool: str) -> str:
    """Return the selector of the pods of a pool."""
    return names.selector(kind=names.POOL_KIND, pool=pool)


def may_be_pooled(pod: str) -> bool:
    """Return whether a pod with that name may be one of a pool."""
    return pod.startswith(f"{_PREFIX}-")


def is_alive(pod: Json) -> bool:
    """Return whether a pod takes calls, or will."""
    return not (is_over(pod) or is_going(pod))


def runs(pod: Json) -> bool:
    """Return whether a pod takes calls now."""
    return is_alive(pod) and phase_of(pod) == "Running"


def _fields(limits: PoolLimits) -> dict[str, float]:
    return {name: getattr(limits, name) for name in compared(limits)}
