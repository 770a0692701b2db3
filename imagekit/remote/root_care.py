"""Looks after a run's own task, so that the run comes to an end, whatever happens.

Its pod looks after all that it calls; after that pod, and its Job, only clients can.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import assert_never

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.api_errors import ConflictError
from imagekit.cluster.documents import Json
from imagekit.cluster.server_time import age_of
from imagekit.remote.closing import close_run
from imagekit.remote.known_run import KnownRun, is_cancelled
from imagekit.remote.parts import Reader
from imagekit.remote.root_fate import (
    Going,
    Lingering,
    NoPod,
    Over,
    RootFate,
    Silent,
    Stuck,
    Waiting,
)
from imagekit.remote.story import Story
from imagekit.running.cluster.last_words import last_words
from imagekit.running.cluster.pod_endings import ending_of
from imagekit.running.cluster.pod_events import no_pod, start_trouble
from imagekit.running.cluster.root_history import note_end
from imagekit.task_errors import (
    BaseRuntimeError,
    RunAbortedError,
    RuntimeSystemError,
    TaskInterruptedError,
)

#: Seconds between two questions why nothing happens.
_ASK = 10.0


class RootCare:
    """Learns of the Job of a run and its pods, and does what has to be done.

    Args:
        cluster: where they are.
        run: the run.
        story: what happened in it.
        reader: reads its objects.
        queued: seconds that its task may wait to run; None if nobody said.
        say: is told, in lines for people, why nothing happens.

    Attributes:
        cancelled: whether somebody has cancelled the run.
    """

    def __init__(
        self,
        cluster: Cluster,
        run: KnownRun,
        *,
        story: Story,
        reader: Reader,
        queued: float | None,
        say: Callable[[str], object],
    ) -> None:
        self.cancelled = run.is_cancelled
        self._cluster = cluster
        self._run = run
        self._story = story
        self._reader = reader
        self._say = say
        self._fate = RootFate(run.document.task, queued=queued, ending=self._ending)
        #: Its age matters where the task may only wait for so long.
        self._wants_age = queued is not None
        #: Pods that were deleted as only others than the task's container went on.
        self._replaced: set[str] = set()
        self._asked = 0.0

    def begin(self) -> None:
        """Take note that the task has begun, now or some time ago."""
        self._fate.begin()

    def see_job(self, job: Json) -> None:
        """Take note of how the Job is."""
        age = age_of(self._cluster, job) if self._wants_age else 0.0
        self._wants_age = False
        self._fate.see_job(job, age=age)

    def lose_job(self) -> None:
        """Take note that the Job is gone."""
        self._fate.lose_job()

    def see_pod(self, pod: Json) -> None:
        """Take note of how a pod of the Job is."""
        before = len(self._fate.ends)
        self._fate.see_pod(pod)
        for error in self._fate.ends[before:]:
            self._say(f"{error.message}; it is begun again")

    def lose_pod(self, pod: Json) -> None:
        """Take note that a pod of the Job is gone."""
        self._fate.lose_pod(pod)

    def check(self) -> None:
        """See whether a result can still come; see that there is one if not.

        Raises:
            ClusterError: the cluster refuses, or can't be reached.
        """
        match self._fate.now():
            case Going():
                pass
            case Waiting(error=error):
                self._say(f"waiting: {error.message}")
            case Silent() | NoPod() as fate:
                self._ask(fate)
            case Stuck(error=error):
                self._close(error)
            case Lingering(pod=pod):
                self._replace(pod)
            case Over(pod=pod, why=why):
                self._close(self._lost(pod, why))
            case other:
                assert_never(other)

    def _ask(self, fate: Silent | NoPod) -> None:
        """Ask now and then why nothing happens."""
        now = time.monotonic()
        if now - self._asked < _ASK:
            return
        self._asked = now
        if isinstance(fate, Silent):
            self._fate.hear(start_trouble(self._cluster, fate.pod))
        else:
            self._fate.hear(no_pod(self._cluster, self._story.root))

    def _lost(self, pod: Json | None, why: str) -> BaseRuntimeError:
        """Return what to say of a run whose Job is over without a result."""
        name = self._run.document.name
        if self._was_cancelled():
            return RunAbortedError(f"the run {name!r} was cancelled")
        if pod is not None and why:
            return self._ending(pod)
        if why:
            return RuntimeSystemError(
                f"the Job of the run {name!r} ended without a pod: {why}"
            )
        return TaskInterruptedError(
            f"the run {name!r} was interrupted: its Job is not on the cluster",
            hint="somebody has deleted it, or the client that began the run was "
            "interrupted: run it again",
        )

    def _was_cancelled(self) -> bool:
        """Return whether the Job was deleted because somebody cancelled the run.

        That it is gone may be told sooner than what was noted before.
        """
        if not self.cancelled:
            name = names.run_name(self._run.document.name)
            found = self._cluster.find("ConfigMap", name)
            self.cancelled = found is not None and is_cancelled(found)
        return self.cancelled

    def _ending(self, pod: Json) -> BaseRuntimeError:
        """Return how a pod ended, and what it has printed last."""
        return ending_of(pod, last_words(self._cluster, pod))

    def _replace(self, pod: Json) -> None:
        """Delete a pod whose task is over without a result: the Job makes another one.

        That one goes on as after any pod that was lost.
        """
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        self._story.catch_up(self._cluster)
        if self._story.result is not None or uid in self._replaced:
            return
        self._replaced.add(uid)
        note_end(self._cluster, self._story.root, name, self._ending(pod))
        with suppress(ConflictError):  # another one has its name by now
            self._cluster.delete("Pod", name, uid=uid)

    def _close(self, error: BaseRuntimeError) -> None:
        """Give the run an end, unless it has one by now."""
        self._story.catch_up(self._cluster)
        if self._story.result is None:
            self._story.take(
                close_run(self._cluster, self._run, self._story, self._reader, error)
            )
