"""The calls that wait for pools, or run in them, and which pod has which.

The call object of such a call says in a label who has it: nobody yet, a pod, or nobody
any more. A pod claims a call by changing that label, of an object that nobody else has
changed since it was seen: so one pod has it at most, whatever becomes of requests.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.api_errors import ConflictError, NotFoundError
from imagekit.context import ActionID
from imagekit.records import dataclass
from imagekit.run_events import ROOT, Json
from imagekit.running.container.standstill import Waits

#: What the label says, beside the name of a pod.
OPEN, DONE, ELSEWHERE = "open", "done", "elsewhere"
#: Annotations: what labels have no room for, and the pod that has the call. Other pods
#: may get its name after it.
_DETAILS = "imagekit/pooled"
_POD = "imagekit/claimed-by"


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledCall:
    """A call of a pool, as the metadata of its object has it.

    Attributes:
        name: of the call object.
        version: that the object is at.
        action: the run and its action.
        places: how many calls the pool can run at a time.
        run: uid of the run's object.
        claim: name of the pod that has it, or one of the words above.
        pod: uid of that pod; empty if no pod has it.
        created: when it was made, as a text that can be compared.
    """

    name: str
    uid: str
    version: str
    pool: str
    action: ActionID
    places: int
    run: str
    claim: str
    pod: str
    created: str

    @classmethod
    def of(cls, metadata: Json) -> PooledCall:
        """Return the call that an object with *metadata* holds."""
        labels, annotations = metadata["labels"], metadata["annotations"]
        known = json.loads(annotations[_DETAILS])
        return cls(
            name=metadata["name"],
            uid=metadata["uid"],
            version=metadata["resourceVersion"],
            pool=labels[names.POOL],
            action=ActionID(name=known["action"], run_name=labels[names.RUN]),
            places=known["places"],
            run=known["run"],
            claim=labels[names.CLAIM],
            pod=annotations.get(_POD, ""),
            created=metadata["creationTimestamp"],
        )

    @property
    def is_open(self) -> bool:
        """Whether nobody has it yet."""
        return self.claim == OPEN


def open_labels(pool: str) -> dict[str, str]:
    """Return the labels of a call that waits for *pool*."""
    return {names.POOL: pool, names.CLAIM: OPEN}


def details(action: str, places: int, *, run: str) -> dict[str, str]:
    """Return the annotations of a call; see :class:`PooledCall`."""
    known = {"action": action, "places": places, "run": run}
    return {_DETAILS: json.dumps(known)}


def selector(**labels: str) -> str:
    """Return the selector of calls of pools that are not done.

    Args:
        labels: as of :func:`imagekit.cluster.names.selector`.
    """
    found = names.selector(kind=names.CALL_KIND, **labels)
    return f"{found},{names.CLAIM},{names.CLAIM}!={DONE}"


def claim(cluster: Cluster, call: PooledCall, who: str, uid: str = "") -> Json | None:
    """Claim an open call, and return its object; None if it can't be had any more.

    Args:
        cluster: where it is.
        call: as it was seen.
        who: the name of a pod, or what becomes of it instead.
        uid: of the pod.

    Raises:
        ClusterError: the cluster refuses, or can't be reached.
    """
    change = {"metadata": {"labels": {names.CLAIM: who}, "annotations": {_POD: uid}}}
    try:
        return cluster.patch(
            "ConfigMap", call.name, change, resource_version=call.version
        )
    except (ConflictError, NotFoundError):
        return None


def finish(cluster: Cluster, name: str) -> None:
    """Let others know that a call is done: its result is there.

    Raises:
        ClusterError: the cluster refuses, or can't be reached.
    """
    try:
        cluster.patch("ConfigMap", name, {"metadata": {"labels": {names.CLAIM: DONE}}})
    except NotFoundError:
        return  # it was given up at the last moment


def is_nested(action: ActionID) -> bool:
    """Return whether what calls *action* may itself have a place in a pool.

    A run's own task has none.
    """
    return action.name.count(".") > ROOT.count(".") + 1


def would_never_run(
    calls: Iterable[PooledCall], pool: str, places: int, action: ActionID
) -> bool:
    """Return whether *action* would wait for a place in *pool* for ever.

    That is so where all places are held by calls that wait, themselves or through
    others, for what waits for such places. What stands still stays so until one of
    those calls runs elsewhere: looking once in a while is enough.

    Args:
        calls: all of all pools that are not done.
        pool: name of the pool.
        places: how many it has.
        action: waits already, or is about to.
    """
    running: list[PooledCall] = []
    waiting: list[PooledCall] = []
    for call in calls:
        (waiting if call.is_open else running).append(call)
    sizes = {pool: places} | {call.pool: call.places for call in running}
    held = Counter(call.pool for call in running)
    waits = Waits()
    for call in running:
        if held[call.pool] >= sizes[call.pool]:
            waits.hold(call.pool, call.action)
    for call in waiting:
        # Only these two say which it is: the rest is what its task may know.
        if (call.action.run_name, call.action.name) != (action.run_name, action.name):
            waits.begin(call.pool, call.action)
    return not waits.begin(pool, action)
