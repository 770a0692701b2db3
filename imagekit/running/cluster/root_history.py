"""What earlier pods did of a run's own task, so that a new one goes on from there.

The Job of a run makes another pod when one is lost. The attempts that began are noted
with the call object before they do.
"""

from __future__ import annotations

import asyncio
import json
import time

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.failures import decode_failure, encode_failure
from imagekit.records import compared
from imagekit.run_events import ROOT, AttemptEnded, AttemptStarted, Event, Json, Started
from imagekit.running.attempts import Tally
from imagekit.running.cluster.callees import JOB_NAME
from imagekit.running.cluster.journal import Journal
from imagekit.running.cluster.last_words import last_words
from imagekit.running.cluster.parcel_objects import parcel_of
from imagekit.running.cluster.pod_endings import ending_of
from imagekit.running.cluster.pool_claims import selector
from imagekit.running.cluster.raw_data import RawData
from imagekit.runtime.messages import event_of
from imagekit.task_errors import TaskInterruptedError
from imagekit.value_blobs import ValueBlobs

#: In the data of the call object: the attempts until now, and how a pod ended that
#: somebody else saw end.
_STATE = "attempts.json"
_END = "end.json"


class RootHistory:
    """The history of the root call: :class:`imagekit.running.attempts.History`.

    Args:
        cluster: where it is kept.
        call: the call object, as it was when this pod began.
        pod: name of this pod.
        blobs: for parts of journals.
        store: has what of them is large.
    """

    def __init__(
        self,
        cluster: Cluster,
        call: Json,
        *,
        pod: str,
        blobs: ValueBlobs,
        store: RawData | None,
    ) -> None:
        self._cluster = cluster
        self._name = call["metadata"]["name"]
        self._labels = call["metadata"]["labels"]
        self._pod = pod
        self._blobs = blobs
        self._store = store
        state = _kept(call, _STATE)
        self._end = _kept(call, _END)
        self._last = None if state is None else Tally(**state["tally"])
        self._last_pod = "" if state is None else state["pod"]
        self._journals = self._read_journals() if state is not None else []
        self._journal: Journal | None = None
        self._error: Exception | None = None
        self._lost: tuple[int, ...] = ()
        if state is not None:
            self._lost = (*state["lost"], state["tally"]["number"])

    @property
    def journals(self) -> int:
        """How many journals there are already."""
        return len(self._journals)

    @property
    def lost(self) -> tuple[int, ...]:
        """The attempts whose pods were lost, up to the one before this pod's first."""
        return self._lost

    def is_known(self, event: Event) -> bool:
        """Return whether an earlier pod has told of *event*."""
        begun = self._last is not None
        return begun and isinstance(event, Started) and event.id == ROOT

    def resume(self, journal: Journal) -> None:
        """Clear up after the pod before this one, and write into *journal*."""
        self._journal = journal
        if self._last is None:
            return
        # What it had called, nobody waits for any more.
        for job in self._cluster.list(
            "Job", names.selector(caller=self._name), metadata=True
        ):
            self._cluster.delete("Job", job["metadata"]["name"])
        pooled = selector(caller=self._name)
        self._cluster.delete_all("ConfigMap", pooled)
        self._error = self._ending()
        if self._has_started(self._last.number):
            journal.record(
                AttemptEnded(
                    id=ROOT,
                    number=self._last.number,
                    time=time.time(),
                    status="failed",
                    error=encode_failure(self._error),
                )
            )

    def before(self, action: str) -> tuple[Tally, Exception | None]:
        """Return the attempt that was on last, and how it ended."""
        if action != ROOT or self._last is None:
            return Tally(), None
        return self._last, self._error

    async def begin(self, action: str, tally: Tally) -> None:
        """Take note, for pods to come, that an attempt begins."""
        if action == ROOT:
            await asyncio.to_thread(self._begin, tally)

    def _begin(self, tally: Tally) -> None:
        if self._journal is not None:
            self._journal.flush()
        if self._last is None or tally.number > self._last.number + 1:
            # The attempt before it failed in this pod: a retry begins from nothing.
            self._lost = ()
        state = {
            "lost": self._lost,
            "tally": {name: getattr(tally, name) for name in compared(tally)},
            "pod": self._pod,
        }
        self._cluster.patch(
            "ConfigMap", self._name, {"data": {_STATE: json.dumps(state)}}
        )

    def _read_journals(self) -> list[Json]:
        selector = names.selector(
            kind=names.JOURNAL_KIND,
            run=self._labels[names.RUN],
            action=self._labels[names.ACTION],
        )
        return list(self._cluster.list("ConfigMap", selector))

    def _has_started(self, number: int) -> bool:
        for journal in self._journals:
            events = parcel_of(journal, self._blobs, self._store)
            if any(_begins(event_of(event), number) for event in events):
                return True
        return False

    def _ending(self) -> Exception:
        """Return how the pod before this one ended."""
        if self._end is not None and self._end["pod"] == self._last_pod:
            error = decode_failure(self._end["error"])
            assert isinstance(error, Exception)
            return error
        found = self._cluster.find("Pod", self._last_pod)
        if found is not None and (found["metadata"].get("labels") or {}).get(JOB_NAME):
            return ending_of(found, last_words(self._cluster, found))
        return TaskInterruptedError(
            f"the pod {self._last_pod!r} was interrupted: it is gone",
            hint="tasks of environments with interruptible=True are tried again",
        )


def has_begun(call: Json) -> bool:
    """Return whether an attempt at the run's own task has begun, by its call object."""
    return _kept(call, _STATE) is not None


def note_end(cluster: Cluster, call: str, pod: str, error: Exception) -> None:
    """Have the pod after *pod* know how that one ended: it will be gone by then.

    Args:
        cluster: where it is.
        call: name of the call object of the run's own task.
        pod: name of the pod.
        error: how it ended.

    Raises:
        ClusterError: the cluster refuses, or can't be reached.
    """
    text = json.dumps({"pod": pod, "error": encode_failure(error)})
    cluster.patch("ConfigMap", call, {"data": {_END: text}})


def _kept(call: Json, name: str) -> Json:
    text = (call.get("data") or {}).get(name)
    return json.loads(text) if text else None


def _begins(event: Event, number: int) -> bool:
    """Return whether *event* is the begin of an attempt at the run's own task."""
    return isinstance(event, AttemptStarted) and (event.id, event.number) == (
        ROOT,
        number,
    )
