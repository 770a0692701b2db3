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
from contextlib import suppress
from typing import TypeAlias, assert_never

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.documents import Json, ResultDocument
from imagekit.cluster.stopping import Stop
from imagekit.cluster.watching import Deleted, Listed, WatchEvent, watch
from imagekit.errors import ImageKitError
from imagekit.remote.closing import close_run
from imagekit.remote.known_run import KnownRun, is_cancelled
from imagekit.remote.parts import Reader, kind_of
from imagekit.remote.pod_logs import PodLogs, is_task_over
from imagekit.remote.pooled_logs import PooledLogs
from imagekit.remote.root_fate import (
    Going,
    NoPod,
    Over,
    RootFate,
    Silent,
    Stuck,
    Waiting,
)
from imagekit.remote.story import TELLING, Story
from imagekit.run_events import AttemptStarted, Event, Started
from imagekit.running.cluster.callees import JOB_NAME
from imagekit.running.cluster.pod_endings import ending_of
from imagekit.running.cluster.pod_events import no_pod, start_trouble
from imagekit.running.cluster.pool_pods import may_be_pooled
from imagekit.running.streaming import StreamingRecorder
from imagekit.task_errors import (
    BaseRuntimeError,
    RunAbortedError,
    RuntimeSystemError,
    RuntimeUserError,
    TaskInterruptedError,
)

#: Seconds between two looks at what becomes of a task that does not run.
_LOOK = 1.0
#: Seconds between two questions why nothing happens.
_ASK = 10.0
#: Seconds to go on when the API server does not answer: the run does, too.
_PATIENCE = 300.0
#: Seconds that pods get for their last words once the result is there.
_LAST_WORDS = 60.0
_TAIL_LINES = "12"

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
        self._fate = RootFate(run.document.task, queued=queued)
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
        self._cancelled = run.is_cancelled
        self._actions: dict[str, str] = {}
        self._known = threading.Condition()
        #: Pods in which a task runs, or may run.
        self._active: set[str] = set()
        self._said: set[str] = set()
        self._asked = 0.0

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
                if self._story.result is None:
                    self._check()
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
            case None | (_, Listed()):
                pass
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
                self._cancelled |= is_cancelled(event.object)
                self._story.take(event.object)
            case ("Pod", event):
                self._take_pod(event.object, gone=isinstance(event, Deleted))
            case (_, Deleted()):
                self._fate.lose_job()
            case (_, event):
                self._fate.see_job(event.object)

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
            self._fate.lose_pod(pod)
            return
        before = len(self._fate.ends)
        self._fate.see_pod(pod)
        for error in self._fate.ends[before:]:
            self._say(f"{error.message}; it is begun again")

    def _check_there(self, gone: Json) -> None:
        if kind_of(gone) == names.RUN_KIND:
            raise RuntimeUserError(
                f"the run {self._run.document.name!r} was removed from the cluster",
                hint="'imagekit prune' removes old ones, and so may other people",
            )

    def _check(self) -> None:
        """See whether a result can still come; see that there is one if not."""
        match self._fate.now():
            case Going():
                pass
            case Waiting(error=error):
                self._say(f"waiting: {error.message}")
            case Silent(pod=pod):
                if self._is_time_to_ask():
                    self._fate.hear(start_trouble(self._cluster, pod))
            case NoPod():
                if self._is_time_to_ask():
                    self._fate.hear(no_pod(self._cluster, self._story.root))
            case Stuck(error=error):
                self._close(error)
            case Over(pod=pod, why=why):
                self._story.catch_up(self._cluster)
                if self._story.result is None:
                    self._close(self._lost(pod, why))
            case other:
                assert_never(other)

    def _is_time_to_ask(self) -> bool:
        now = time.monotonic()
        is_time = now - self._asked >= _ASK
        if is_time:
            self._asked = now
        return is_time

    def _lost(self, pod: Json | None, why: str) -> BaseRuntimeError:
        """Return what to say of a run whose Job is over without a result."""
        name = self._run.document.name
        if self._cancelled:
            return RunAbortedError(f"the run {name!r} was cancelled")
        if pod is not None and why:
            return ending_of(pod, self._tail(pod))
        if why:
            return RuntimeSystemError(
                f"the Job of the run {name!r} ended without a pod: {why}"
            )
        return TaskInterruptedError(
            f"the run {name!r} was interrupted: its Job is not on the cluster",
            hint="somebody has deleted it, or the client that began the run was "
            "interrupted: run it again",
        )

    def _tail(self, pod: Json) -> str:
        """Return what a pod has printed last, as far as that can be had."""
        name = pod["metadata"]["name"]
        path = f"/api/v1/namespaces/{self._cluster.namespace}/pods/{name}/log"
        query = {"tailLines": _TAIL_LINES}
        with (
            suppress(ImageKitError),  # the error that it is for says the rest
            self._cluster.api.stream(path, query=query, timeout=10) as chunks,
        ):
            return b"".join(chunks).decode(errors="replace")
        return ""

    def _close(self, error: BaseRuntimeError) -> None:
        self._story.catch_up(self._cluster)
        if self._story.result is None:
            self._story.take(
                close_run(self._cluster, self._run, self._story, self._reader, error)
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
