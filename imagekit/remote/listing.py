"""The runs of a namespace, and how they are."""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.documents import Json
from imagekit.errors import ImageKitError
from imagekit.records import dataclass
from imagekit.remote.known_run import KnownRun, is_cancelled
from imagekit.remote.outcome import outcome
from imagekit.remote.parts import Reader
from imagekit.run_events import ROOT, Status
from imagekit.running.cluster.raw_data import raw_data
from imagekit.value_blobs import ValueBlobs

#: ``over``: it has a result, which can't be read from here. ``lost``: it has neither a
#: result nor a Job that goes on.
RunState: TypeAlias = Status | Literal["waiting", "running", "over", "lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRun:
    """A run of a namespace.

    Attributes:
        started: seconds since the epoch; None if it can't be read.
    """

    name: str
    task: str
    version: str
    status: RunState
    started: float | None

    def as_json(self) -> dict[str, Json]:
        """Return all as a JSON document."""
        return {name: getattr(self, name) for name in self.__slots__}


def list_runs(cluster: Cluster, *, limit: int) -> tuple[list[ListedRun], int]:
    """Return the latest runs of the namespace, and how many more there are.

    Args:
        cluster: where they are.
        limit: the most that are wanted.

    Raises:
        ClusterError: the cluster refuses, or can't be reached.
    """
    roots = names.selector(kind=names.RESULT_KIND, action=ROOT)
    over = {
        item["metadata"]["name"]
        for item in cluster.list("ConfigMap", roots, metadata=True)
    }
    jobs = {
        item["metadata"]["name"]: item
        for item in cluster.list("Job", names.selector(action=ROOT))
    }
    every = list(cluster.list("ConfigMap", names.selector(kind=names.RUN_KIND)))
    # Times of creation are in whole seconds.
    every.sort(key=lambda item: (_created(item), _name(item)), reverse=True)
    found = []
    for item in every[:limit]:
        call = names.call_name(_name(item), ROOT, 0)
        is_over = names.result_name(call) in over
        state = (
            _outcome(cluster, item, call) if is_over else _state(item, jobs.get(call))
        )
        found.append(_listed(item, state))
    return found, max(0, len(every) - limit)


def _listed(item: Json, state: RunState) -> ListedRun:
    try:
        run = KnownRun.of(item).document
    except ImageKitError:  # one that can't be read hides no others
        return ListedRun(
            name=_name(item), task="", version="", status=state, started=None
        )
    return ListedRun(
        name=run.name,
        task=run.task,
        version=run.version,
        status=state,
        started=run.started,
    )


def _outcome(cluster: Cluster, item: Json, call: str) -> RunState:
    """Return how a run ended."""
    found = cluster.find("ConfigMap", names.result_name(call))
    if found is None:
        return "lost"  # it was removed just now
    try:
        path = KnownRun.of(item).document.raw_data_path
        with TemporaryDirectory(prefix="imagekit-") as folder:
            reader = Reader(blobs=ValueBlobs(folder), store=raw_data(path))
            return outcome(reader.result(found, whole=False))
    except ImageKitError:
        return "over"


def _state(item: Json, job: Json | None) -> RunState:
    """Return how a run is that has no result."""
    if is_cancelled(item):
        return "aborted"
    if job is None:
        return "lost"
    status = job.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Failed" and condition.get("status") == "True":
            return "lost"
    return "running" if status.get("active") else "waiting"


def _name(item: Json) -> str:
    return str((item["metadata"].get("labels") or {}).get(names.RUN))


def _created(item: Json) -> str:
    return str(item["metadata"].get("creationTimestamp", ""))
