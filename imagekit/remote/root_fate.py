"""What becomes of a run's own task, as far as its Job and its pods tell.

The Job makes another pod where one is lost, so that most of what happens to pods heals.
What does not is given up after a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

from imagekit.cluster.documents import Json
from imagekit.records import dataclass
from imagekit.running.cluster.pod_endings import (
    PENDING,
    Trouble,
    cannot_start,
    ending_of,
    is_failed,
    is_going,
    is_over,
    phase_of,
    trouble_of,
)
from imagekit.task_errors import (
    BaseRuntimeError,
    RuntimeSystemError,
    TaskTimeoutError,
)

#: Seconds in which nothing happens after which somebody has to say why.
_SILENCE = 5.0
#: Seconds in which the Job of a run that was begun has to come.
_NO_JOB = 15.0
#: Pods in a row that end without a result and were not killed: no other will do better.
_LOST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Going:
    """It runs, or may run at any moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Something keeps it from running, for now."""

    error: BaseRuntimeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Silent:
    """It has a pod to which nothing happens; events may say why."""

    pod: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoPod:
    """The Job has no pod; events may say why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """It will not run: nothing is gained by waiting any longer."""

    error: BaseRuntimeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Lingering:
    """The task's container has ended; others of its pod go on, and so the Job waits.

    Without a result, there will be none until the pod is gone.
    """

    pod: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """The Job ended, or is gone; without a result, there will be none.

    Attributes:
        pod: the last pod; None if none was seen.
        why: what is said of it; empty if the Job is gone.
    """

    pod: Json | None
    why: str


Fate: TypeAlias = Going | Waiting | Silent | NoPod | Stuck | Lingering | Over


class RootFate:
    """Learns of a Job and its pods, and tells what that means.

    Args:
        task: full name of the task, for messages.
        queued: seconds that it may wait to run; None if nobody said.
        ending: tells how a pod ended that failed; asked once for each.
        clock: seconds that pass.
    """

    def __init__(
        self,
        task: str,
        *,
        queued: float | None,
        ending: Callable[[Json], BaseRuntimeError] = ending_of,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._task = task
        self._queued = queued
        self._ending = ending
        self._clock = clock
        self._began = clock()
        self._job: Json | None = None
        self._job_gone = False
        self._pods: dict[str, Json] = {}
        #: Pods of which other containers go on.
        self._lingering: dict[str, Json] = {}
        self._last: Json | None = None
        self._ended: dict[str, BaseRuntimeError] = {}
        self._has_run = False
        #: What keeps it from running, and since when.
        self._trouble: Trouble | None = None
        self._since = self._began
        self._podless = self._began
        self._told: Trouble | None = None

    def see_job(self, job: Json, *, age: float = 0.0) -> None:
        """Take note of how the Job is.

        Args:
            job: as it is now.
            age: for how many seconds it has been there, as far as is known.
        """
        self._job, self._job_gone = job, False
        self._began = min(self._began, self._clock() - age)

    def begin(self) -> None:
        """Take note that the task has begun, now or some time ago."""
        self._has_run = True

    def lose_job(self) -> None:
        """Take note that the Job is gone."""
        self._job_gone = True

    def see_pod(self, pod: Json) -> None:
        """Take note of how a pod of the Job is."""
        uid = pod["metadata"]["uid"]
        self._last = pod
        self._told = None
        if phase_of(pod) == "Running":
            self._has_run = True
        self._forget(uid)
        if not is_over(pod):
            self._pods[uid] = pod
        elif phase_of(pod) == "Running" and not is_going(pod):
            self._lingering[uid] = pod
        if is_failed(pod) and uid not in self._ended:
            self._ended[uid] = self._ending(pod)
        self._podless = self._clock()

    def hear(self, told: Trouble | None) -> None:
        """Take note of what events say of why nothing happens."""
        self._told = told

    def lose_pod(self, pod: Json) -> None:
        """Take note that a pod of the Job is gone."""
        self._forget(pod["metadata"]["uid"])
        self._podless = self._clock()
        self._told = None

    def _forget(self, uid: str) -> None:
        self._pods.pop(uid, None)
        self._lingering.pop(uid, None)

    @property
    def ends(self) -> tuple[BaseRuntimeError, ...]:
        """How the pods ended that failed, in order."""
        return tuple(self._ended.values())

    def now(self) -> Fate:
        """Return what all that means now."""
        now = self._clock()
        ended = _ended(self._job)
        if self._job_gone or ended:
            return Over(pod=self._last, why="" if self._job_gone else ended)
        if self._job is None:
            gone = now - self._began > _NO_JOB
            return Over(pod=None, why="") if gone else Going()
        hopeless = self._hopeless()
        if hopeless is not None:
            return Stuck(error=hopeless)
        for pod in self._lingering.values():
            return Lingering(pod=pod)
        if any(phase_of(pod) == "Running" for pod in self._pods.values()):
            return Going()
        return self._pending(now)

    def _hopeless(self) -> BaseRuntimeError | None:
        """Return why no other pod will do better, if that is so."""
        if self._last is not None and cannot_start(self._last):
            return self._ended.get(self._last["metadata"]["uid"])
        lost = self.ends[-_LOST:]
        if len(lost) == _LOST and all(isinstance(e, RuntimeSystemError) for e in lost):
            return lost[-1]
        return None

    def _pending(self, now: float) -> Fate:
        """Return what it means that no pod runs."""
        waiting = [pod for pod in self._pods.values() if not is_going(pod)]
        seen = next(filter(None, map(trouble_of, waiting)), self._told)
        if type(seen and seen.error) is not type(self._trouble and self._trouble.error):
            self._trouble, self._since = seen, now
        elif seen is not None and self._trouble is not None:
            self._trouble = _worse(seen, self._trouble)
        found = self._trouble
        late = self._late(now, found.error if found else None)
        if late is not None:
            return Stuck(error=late)
        if found is None:
            if now - self._podless < _SILENCE:
                return Going()
            if waiting:
                return Silent(pod=waiting[0]["metadata"]["name"])
            return NoPod()
        patience = found.patience
        if patience is None:
            # Its own bound, if it has one, is looked after above.
            patience = self._queued or PENDING
        if now - self._since > patience:
            return Stuck(error=found.error)
        return Waiting(error=found.error)

    def _late(
        self, now: float, why: BaseRuntimeError | None
    ) -> TaskTimeoutError | None:
        if self._queued is None or self._has_run or now - self._began <= self._queued:
            return None
        reason = f": {why.message}" if why else ""
        return TaskTimeoutError(
            f"the task {self._task!r} waited to run for more than {self._queued:g} s, "
            f"its timeout{reason}",
            hint="give it more time: @env.task(timeout=...)",
        )


def _worse(one: Trouble, other: Trouble) -> Trouble:
    """Return the trouble that heals less: the cluster says why only now and then."""
    if other.patience is None:
        return one
    return one if one.patience is not None and one.patience <= other.patience else other


def _ended(job: Json | None) -> str:
    """Return what is said of a Job that ended; empty if it did not."""
    for item in ((job or {}).get("status") or {}).get("conditions") or ():
        if item.get("type") in ("Failed", "Complete") and item.get("status") == "True":
            said = ": ".join(
                str(item[key]) for key in ("reason", "message") if item.get(key)
            )
            return said or str(item["type"])
    return ""
