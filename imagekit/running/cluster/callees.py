"""Follows the calls that a call makes: one watch for all pods, one for all results.

If one of them ends with an error, all calls that are on are told so. The next call has
new ones: what was wrong may have passed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

from imagekit.cluster import names
from imagekit.cluster.access import Api
from imagekit.cluster.stopping import Stop
from imagekit.cluster.watching import Deleted, Listed, watch
from imagekit.records import dataclass
from imagekit.run_events import Json

#: Every Job controller puts it on pods, with the name of the Job.
JOB_NAME = "job-name"
_RESULT = names.result_name("")


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSeen:
    """A pod of the call is like this now."""

    pod: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class PodGone:
    """A pod of the call is not there any more."""

    pod: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultSeen:
    """The object with the result is there."""

    result: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Blind:
    """Nobody can tell any more what becomes of the call."""

    error: Exception


News: TypeAlias = PodSeen | PodGone | ResultSeen | Blind


class Callees:
    """Tells of the pods and results of calls, by name of the call object.

    Args:
        api: reaches the cluster.
        caller: name of the call object of what calls.
    """

    def __init__(self, api: Api, caller: str) -> None:
        self._api = api
        self._caller = caller
        self._lock = threading.Lock()
        self._handlers: dict[str, Callable[[News], None]] = {}
        #: Ends the watches that are on; None where there are none.
        self._stop: Stop | None = None

    def expect(self, call: str, tell: Callable[[News], None]) -> None:
        """Have *tell* called, in other threads, with what becomes of *call*."""
        with self._lock:
            self._handlers[call] = tell
            if self._stop is not None:
                return
            stop = self._stop = Stop()
        self._watch("Pod", names.selector(caller=self._caller), self._pod, stop)
        results = names.selector(caller=self._caller, kind=names.RESULT_KIND)
        self._watch("ConfigMap", results, self._result, stop)

    def forget(self, call: str) -> None:
        """Tell nothing more of *call*."""
        with self._lock:
            self._handlers.pop(call, None)

    def close(self) -> None:
        """End the watches."""
        with self._lock:
            stop = self._stop
        if stop is not None:
            stop.set()

    def _watch(
        self, kind: str, selector: str, take: Callable[[Json, bool], None], stop: Stop
    ) -> None:
        def work() -> None:
            try:
                for event in watch(self._api, kind, selector, stop=stop):
                    if not isinstance(event, Listed):
                        take(event.object, isinstance(event, Deleted))
            except Exception as error:  # noqa: BLE001  (who waits is told)
                self._blind(error, stop)

        name = f"imagekit {kind.lower()}s"
        threading.Thread(target=work, name=name, daemon=True).start()

    def _pod(self, pod: Json, gone: bool) -> None:
        call = (pod["metadata"].get("labels") or {}).get(JOB_NAME, "")
        self._tell(call, PodGone(pod=pod) if gone else PodSeen(pod=pod))

    def _result(self, result: Json, gone: bool) -> None:
        if not gone:
            call = result["metadata"]["name"].removesuffix(_RESULT)
            self._tell(call, ResultSeen(result=result))

    def _tell(self, call: str, news: News) -> None:
        with self._lock:
            tell = self._handlers.get(call)
        if tell is not None:
            tell(news)

    def _blind(self, error: Exception, stop: Stop) -> None:
        with self._lock:
            if self._stop is not stop or stop.is_set():
                return  # the other watch has told, or nobody wants to know
            self._stop = None
            tells = list(self._handlers.values())
        stop.set()
        for tell in tells:
            tell(Blind(error=error))
