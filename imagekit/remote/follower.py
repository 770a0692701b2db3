"""Follows a run on a cluster to its end: what happens, what is printed, how it ends.

All of it is in the cluster, so that it can be followed at any time, by anybody, and
from the beginning. A run that can't come to an end by itself is given one here: whoever
notices that its task can't run writes the result in its place.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import TypeAlias

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.documents import Json, ResultDocument
from imagekit.cluster.stopping import Stop
from imagekit.cluster.watching import Deleted, Listed, WatchEvent, watch
from imagekit.remote.known_run import KnownRun, is_cancelled
from imagekit.remote.parts import Reader, kind_of
from imagekit.remote.pod_logs import PodLogs, is_task_over
from imagekit.remote.pooled_logs import PooledLogs
from imagekit.remote.root_care import RootCare
from imagekit.remote.story import TELLING, Story
from imagekit.run_events import ROOT, AttemptStarted, Event, Started
from imagekit.running.cluster.callees import JOB_NAME
from imagekit.running.cluster.pool_pods import may_be_pooled
from imagekit.running.streaming import StreamingRecorder
from imagekit.task_errors import RuntimeSystemError, RuntimeUserError

#: Seconds between two looks at what becomes of a task that does not run.
_LOOK = 1.0
#: Seconds to go on when the API server does not answer: the run does, too.
_PATIENCE = 300.0
#: Seconds that pods get for their last words once the result is there.
_LAST_WORDS = 60.0

#: Before all of these are listed, what is not seen may be there all the same.
_KINDS = {"ConfigMap", "Job", "Pod"}

_News: TypeAlias = tuple[str, WatchEvent] | Exception


class Follower:
    """Follows one run, in the thread that calls :meth:`follow` and some of its own.

    Args:
        cluster: where it runs.
        run: the run.
        reader: reads its objects.
        recorder: receives what happens and what is printed.
        queued: seconds that the task may wait to run; None if nobody said.
        note: is told, in lines for people, why nothing happens.
    """

    def __init__(
        self,
        cluster: Cluster,
        run: KnownRun,
        *,
        reader: Reader,
        recorder: StreamingRecorder,
        queued: float | None,
        note: Callable[[str], object],
    ) -> None:
        api = cluster.api.patient(_PATIENCE, lambda why: self._say(f"waiting: {why}"))
        self._cluster = cluster = Cluster(api)
        self._run = run
        self._reader = reader
        self._recorder = recorder
        self._note = note
        self._stop = Stop()
        self._news: queue.SimpleQueue[_News | None] = queue.SimpleQueue()
        self._story = Story(
            run.document.name, reader, tell=self._happened, note=self._say
        )
        self._root = RootCare(
            cluster,
            run,
            story=self._story,
            reader=reader,
            queued=queued,
            say=self._say,
        )
        self._logs = PodLogs(
            cluster.api,
            log=recorder.log,
            begun=self._begun,
            stop=self._stop,
            failed=lambda error: self._say(f"a log can't be read: {error.message}"),
        )
        self._pooled = PooledLogs(
            cluster,
            run.document.name,
            since=run.document.started,
            log=recorder.log,
            stop=self._stop,
            failed=lambda error: self._say(f"a log can't be read: {error.message}"),
        )
        self._actions: dict[str, str] = {}
        self._known = threading.Condition()
        #: Pods in which a task runs, or may run.
        self._active: set[str] = set()
        self._said: set[str] = set()
        #: Kinds of objects of which all is told that is there.
        self._listed: set[str] = set()

    def stop(self) -> None:
        """End, from another thread: the run goes on."""
        self._stop.set()
        self._news.put(None)

    def follow(self) -> ResultDocument | None:
        """Return the result when the run is over; None if it was stopped before.

        Raises:
            ImageKitError: the run can't be followed any more; it goes on.
        """
        self._watch_all()
        try:
            while self._story.result is None:
                if self._stop.is_set():
                    return None
                self._take(self._next())
                if self._listed == _KINDS and self._story.result is None:
                    self._root.check()
            return self._finish()
        finally:
            self._stop.set()
            self._recorder.close()

    def _watch_all(self) -> None:
        run = names.selector(run=names.label_value(self._run.document.name))
        kinds = f"{names.KIND} in ({names.RUN_KIND},{','.join(TELLING)})"
        self._watch("ConfigMap", f"{run},{kinds}", "")
        self._watch("Pod", run, "")
        self._watch("Job", "", f"metadata.name={self._story.root}")

    def _watch(self, kind: str, selector: str, fields: str) -> None:
        def work() -> None:
            try:
                for event in watch(
                    self._cluster.api, kind, selector, fields=fields, stop=self._stop
                ):
                    self._news.put((kind, event))
            except Exception as error:  # noqa: BLE001  (who follows is told)
                self._news.put(error)

        name = f"imagekit {kind.lower()}s"
        threading.Thread(target=work, name=name, daemon=True).start()

    def _next(self) -> _News | None:
        try:
            return self._news.get(timeout=_LOOK)
        except queue.Empty:
            return None

    def _take(self, news: _News | None) -> None:
        match news:
            case None:
                pass
            case (kind, Listed()):
                self._listed.add(kind)
            case Exception():
                raise RuntimeSystemError(
                    f"the run {self._run.document.name!r} can't be followed any more: "
                    f"{news}",
                    hint="it goes on: follow it again with 'imagekit runs attach "
                    f"{self._run.document.name}'",
                ) from news
            case ("ConfigMap", Deleted(object=found)):
                self._check_there(found)
            case ("ConfigMap", event):
                self._root.cancelled |= is_cancelled(event.object)
                self._story.take(event.object)
            case ("Pod", event):
                self._take_pod(event.object, gone=isinstance(event, Deleted))
            case (_, Deleted()):
                self._root.lose_job()
            case (_, event):
                self._root.see_job(event.object)

    def _take_pod(self, pod: Json, *, gone: bool) -> None:
        labels = pod["metadata"].get("labels") or {}
        if gone or is_task_over(pod):
            self._active.discard(pod["metadata"]["uid"])
        else:
            self._active.add(pod["metadata"]["uid"])
        if not gone:
            self._logs.see(pod)
        if labels.get(JOB_NAME) != self._story.root:
            return
        if gone:
            self._root.lose_pod(pod)
        else:
            self._root.see_pod(pod)

    def _check_there(self, gone: Json) -> None:
        if kind_of(gone) == names.RUN_KIND:
            raise RuntimeUserError(
                f"the run {self._run.document.name!r} was removed from the cluster",
                hint="'imagekit prune' removes old ones, and so may other people",
            )

    def _finish(self) -> ResultDocument:
        """Tell all that is left, when the result is there."""
        # A list may have brought the result before what comes before it.
        self._story.catch_up(self._cluster)
        result = self._story.finish()
        end = time.monotonic() + _LAST_WORDS
        # Pods are said to have begun a while after they have.
        selector = names.selector(run=names.label_value(self._run.document.name))
        there = set()
        for pod in self._cluster.list("Pod", selector):
            there.add(pod["metadata"]["uid"])
            self._take_pod(pod, gone=False)
        self._active &= there
        # Where a client has given the run its end, what never began needs no wait.
        while (
            result.pod
            and self._active
            and time.monotonic() < end
            and not self._stop.is_set()
        ):
            self._take(self._next())
        is_read = self._logs.wait(end - time.monotonic())
        if not (self._pooled.wait(end - time.monotonic()) and is_read):
            self._say("some pods still print, though the run is over")
        return result

    def _happened(self, event: Event) -> None:
        self._recorder.record(event)
        if isinstance(event, AttemptStarted) and event.id == ROOT:
            self._root.begin()
        if isinstance(event, AttemptStarted) and may_be_pooled(event.place or ""):
            self._pooled.begin(event.place or "", event.id, event.number)
        if isinstance(event, Started):
            with self._known:
                self._actions[names.label_value(event.id)] = event.id
                self._known.notify_all()

    def _begun(self, label: str, seconds: float) -> str:
        """Return the action that a label stands for, once it has begun."""
        with self._known:
            self._known.wait_for(
                lambda: label in self._actions or self._stop.is_set(), seconds
            )
            return self._actions.get(label, label)

    def _say(self, text: str) -> None:
        """Say something once."""
        if text not in self._said:
            self._said.add(text)
            self._note(text)
