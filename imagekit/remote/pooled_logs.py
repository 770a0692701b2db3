"""What the tasks of a run print in the pods of pools, among what others print there.

Marks in the logs tell whose output follows, and where it ends.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.documents import Json
from imagekit.cluster.pod_logs import follow_log
from imagekit.cluster.primary_container import primary_name
from imagekit.cluster.stopping import Stop
from imagekit.errors import ImageKitError
from imagekit.running.cluster.pool_claims import PooledCall
from imagekit.running.cluster.pool_pods import LOG_TOKEN
from imagekit.runtime.log_marks import MarkedOutput

#: Seconds that clocks of nodes and clients may differ.
_SKEW = 60.0
#: Seconds after which it is looked whether an end can still come.
_LATE = 3.0


class _Log:
    """The log of a pod, or of several of that name, one after the other.

    Attributes:
        pod: uid of the one that is read.
        begun: the attempts that ran there, by action.
        ends: how often an action's output has ended.
    """

    def __init__(self) -> None:
        self.pod = ""
        self.begun: dict[str, set[int]] = {}
        self.ends: Counter[str] = Counter()

    def late(self) -> list[str]:
        """Return the actions whose output has not ended."""
        return [
            action
            for action, numbers in self.begun.items()
            if len(numbers) > self.ends[action]
        ]


class PooledLogs:
    """Reads the logs of those pods of pools that run calls of one run.

    Args:
        cluster: where they are.
        run: name of the run.
        since: when it began, in seconds since the epoch.
        log: takes what an action has printed, from any thread.
        stop: ends all.
        failed: is told why a log can't be read.
    """

    def __init__(
        self,
        cluster: Cluster,
        run: str,
        *,
        since: float,
        log: Callable[[str, bytes], None],
        stop: Stop,
        failed: Callable[[ImageKitError], None],
    ) -> None:
        self._cluster = cluster
        self._run = run
        self._prefix = f"{run}/"
        began = time.gmtime(max(0.0, since - _SKEW))
        self._since = time.strftime("%Y-%m-%dT%H:%M:%SZ", began)
        self._log = log
        self._stop = stop
        self._failed = failed
        self._changed = threading.Condition()
        self._logs: dict[str, _Log] = {}

    def begin(self, pod: str, action: str, number: int) -> None:
        """Read what *action* prints, an attempt at which runs in *pod*."""
        with self._changed:
            is_new = pod not in self._logs
            log = self._logs.setdefault(pod, _Log())
            log.begun.setdefault(action, set()).add(number)
        if is_new:
            threading.Thread(
                target=self._work, args=(pod,), name="imagekit pool log", daemon=True
            ).start()

    def wait(self, seconds: float) -> bool:
        """Wait until all that was begun has been read; return whether it is."""
        end = time.monotonic() + seconds
        if self._wait(min(seconds, _LATE)):
            return True
        try:
            self._forget_lost()
        except ImageKitError as error:
            self._failed(error)
        return self._wait(end - time.monotonic())

    def _wait(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(
                lambda: (
                    self._stop.is_set()
                    or not any(log.late() for log in self._logs.values())
                ),
                seconds,
            )

    def _forget_lost(self) -> None:
        """Wait for no attempts whose pod has ended: another one has its name."""
        with self._changed:
            late = [
                (log, action, number)
                for log in self._logs.values()
                for action in log.late()
                for number in log.begun[action]
            ]
        for log, action, number in late:
            name = names.call_name(self._run, action, number)
            found = self._cluster.find("ConfigMap", name)
            # Calls that were given up are deleted.
            pod = PooledCall.of(found["metadata"]).pod if found else ""
            with self._changed:
                if pod != log.pod:
                    log.begun[action].discard(number)

    def _work(self, name: str) -> None:
        try:
            # Another pod gets the name of one that has ended.
            while (pod := self._cluster.find("Pod", name)) is not None:
                uid = pod["metadata"]["uid"]
                with self._changed:
                    log = self._logs[name]
                    if log.pod == uid:
                        return
                    log.pod = uid
                self._read(name, pod)
                with self._changed:
                    # No more can be read of what began there.
                    log.begun.clear()
                    log.ends.clear()
                    self._changed.notify_all()
        except ImageKitError as error:
            self._failed(error)
        finally:
            with self._changed:
                del self._logs[name]
                self._changed.notify_all()

    def _read(self, name: str, pod: Json) -> None:
        token = (pod["metadata"].get("annotations") or {}).get(LOG_TOKEN, "")
        marked = MarkedOutput(token, "")
        for data in follow_log(
            self._cluster.api,
            name,
            primary_name(pod),
            since=self._since,
            stop=self._stop,
            uid=pod["metadata"]["uid"],
        ):
            for owner, part in marked.feed(data):
                self._take(name, owner, part)
        self._take(name, marked.action, marked.close())

    def _take(self, pod: str, owner: str, part: bytes | None) -> None:
        action = owner.removeprefix(self._prefix)
        if action == owner:
            return  # of another run, or nobody's
        if part is None:
            with self._changed:
                self._logs[pod].ends[action] += 1
                self._changed.notify_all()
        elif part:
            self._log(action, part)
