"""What the pods of a run print, as they print it.

All pods of an action are read one after the other, in a thread of its own: as many
threads as actions run, and a few for pods that ended before anybody looked.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from imagekit.cluster import names
from imagekit.cluster.api import Api
from imagekit.cluster.documents import Json
from imagekit.cluster.pod_logs import follow_log
from imagekit.cluster.primary_container import primary_name
from imagekit.cluster.stopping import Stop
from imagekit.errors import ImageKitError
from imagekit.running.cluster.pod_endings import is_over, phase_of

#: Logs of pods that have ended which are read at a time.
_LATE = 4
#: Seconds that what is printed waits for the news that its action has begun.
_BEGUN = 3.0


def is_task_over(pod: Json) -> bool:
    """Return whether the task in *pod* has ended, whatever becomes of its sidecars."""
    if is_over(pod):
        return True
    container = primary_name(pod)
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        if status.get("name") == container:
            return bool((status.get("state") or {}).get("terminated"))
    return False


class PodLogs:
    """Reads the logs of pods, each once.

    Args:
        api: reaches the cluster.
        log: takes what an action has printed, from any thread.
        begun: returns the action that a label stands for; waits until that is known,
            for so many seconds at most.
        stop: ends all.
        failed: is told, once, why logs can't be read.
    """

    def __init__(
        self,
        api: Api,
        *,
        log: Callable[[str, bytes], None],
        begun: Callable[[str, float], str],
        stop: Stop,
        failed: Callable[[ImageKitError], None],
    ) -> None:
        self._api = api
        self._log = log
        self._begun = begun
        self._stop = stop
        self._failed = failed
        self._changed = threading.Condition()
        #: Of each pod, by its uid, whether it has ended.
        self._ended: dict[str, threading.Event] = {}
        #: Pods whose turn has not come, by action. One that is being read is in it.
        self._pods: dict[str, deque[Json]] = {}
        #: Actions whose pods ended before anybody looked.
        self._late: deque[str] = deque()
        self._reading_late = 0
        self._has_failed = False

    def see(self, pod: Json) -> None:
        """Read what *pod* prints from its beginning on, if it has begun."""
        metadata = pod["metadata"]
        action = (metadata.get("labels") or {}).get(names.ACTION)
        phase = phase_of(pod)
        if not action or phase == "Pending":
            return
        with self._changed:
            ended = self._ended.get(metadata["uid"])
            if ended is not None:
                if is_task_over(pod):
                    ended.set()
                return
            ended = self._ended[metadata["uid"]] = threading.Event()
            if is_task_over(pod):
                ended.set()
            waiting = self._pods.get(action)
            if waiting is not None:
                waiting.append(pod)
                return
            self._pods[action] = deque([pod])
            if phase == "Running":
                self._start(self._read_action, action)
                return
            self._late.append(action)
            if self._reading_late < _LATE:
                self._reading_late += 1
                self._start(self._read_late)

    def wait(self, seconds: float) -> bool:
        """Wait until all that was seen is read; return whether it is."""
        end = time.monotonic() + seconds
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._pods or self._stop.is_set(), end - time.monotonic()
            )

    def _start(self, work: Callable[..., None], *arguments: str) -> None:
        threading.Thread(
            target=work, args=arguments, name="imagekit pod log", daemon=True
        ).start()

    def _read_late(self) -> None:
        while True:
            with self._changed:
                if not self._late:
                    self._reading_late -= 1
                    return
                action = self._late.popleft()
            self._read_action(action)

    def _read_action(self, action: str) -> None:
        while True:
            with self._changed:
                if not self._pods[action] or self._stop.is_set():
                    del self._pods[action]
                    self._changed.notify_all()
                    return
                pod = self._pods[action].popleft()
            try:
                self._read(action, pod)
            except ImageKitError as error:
                with self._changed:
                    first, self._has_failed = not self._has_failed, True
                if first:
                    self._failed(error)

    def _read(self, action: str, pod: Json) -> None:
        name, container = pod["metadata"]["name"], primary_name(pod)
        known = ""
        ended = self._ended[pod["metadata"]["uid"]]
        for data in follow_log(
            self._api, name, container, stop=self._stop, ended=ended
        ):
            known = known or self._begun(action, _BEGUN)
            self._log(known, data)
