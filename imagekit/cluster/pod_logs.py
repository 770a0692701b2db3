"""What a pod prints, followed to its end over any number of connections.

A connection that is lost is followed by one that begins a little before the last line
that came; lines that came before are known by their times and left out. The API counts
in whole seconds there, and the two streams of a container are not quite in order.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from datetime import UTC, datetime
from threading import Event
from typing import Literal, TypeAlias

from imagekit.cluster.access import Api, Json
from imagekit.cluster.api_errors import (
    BrokenOffError,
    ClusterError,
    InvalidError,
    NotFoundError,
)
from imagekit.cluster.kinds import path_of
from imagekit.cluster.log_pieces import Piece, Pieces
from imagekit.cluster.retrying import Pauses
from imagekit.cluster.stopping import Stop

_State: TypeAlias = Literal["waiting", "running", "ended", "gone"]
_SECOND = 1_000_000_000
#: Pieces that are remembered; two streams are never so far apart.
_REMEMBERED = 10_000
#: Seconds between looks at a pod that is not there yet.
_LONGEST_PAUSE = 1.0
#: Seconds between looks at a pod whose end somebody will tell.
_TOLD = 2.0


def follow_log(
    api: Api,
    pod: str,
    container: str,
    *,
    stop: Stop,
    since: str | None = None,
    namespace: str | None = None,
    ended: Event | None = None,
    uid: str | None = None,
) -> Iterator[bytes]:
    """Yield what a container prints, as it was printed, until it has ended.

    A container that has not started is waited for. What was printed without a newline
    at the end comes without. What the node threw away before it came is lost.

    Args:
        api: access to the cluster.
        pod: name of the pod.
        container: its container.
        stop: ends it, from another thread too.
        since: time from which on, as in ``2024-05-01T10:00:00Z``.
        namespace: where the pod is.
        ended: is set, from another thread, when the container is known to have ended:
            so nobody has to ask for that all the time.
        uid: the pod that is meant, where another may get its name.

    Raises:
        ClusterError: the API refuses, or is not there for too long.
    """
    log = _Log(
        api, pod, container, namespace or api.namespace, since, stop, ended, uid=uid
    )
    try:
        yield from log.followed()
    except ClusterError:
        if not stop.is_set():
            raise


class _Log:
    def __init__(
        self,
        api: Api,
        pod: str,
        container: str,
        namespace: str,
        since: str | None,
        stop: Stop,
        ended: Event | None,
        *,
        uid: str | None,
    ) -> None:
        self._api = api
        self._uid = uid
        self._path = path_of("Pod", namespace, pod)
        self._container = container
        self._since = since
        self._stop = stop
        self._ended = ended
        self._given = _Given(_seconds(since) if since is not None else None)

    def followed(self) -> Iterator[bytes]:
        pauses = Pauses(longest=_LONGEST_PAUSE)
        while not self._stop.is_set():
            # Looked at before the log is read: what it printed is all there then.
            state = self._state()
            if state == "gone":
                return
            if state != "waiting":
                whole = yield from self._read(pauses, follow=state == "running")
                if state == "ended" and whole:
                    return
                if state == "running" and whole and self._ended is not None:
                    # The log ends with the container, and its status says so later.
                    self._wait(self._ended)
                    continue
            self._stop.wait(pauses.seconds())

    def _wait(self, ended: Event) -> None:
        with self._stop.ending(ended.set):
            ended.wait(_TOLD)

    def _read(self, pauses: Pauses, *, follow: bool) -> Generator[bytes, None, bool]:
        """Yield what is new; return whether that is all that there was."""
        query = {"container": self._container, "timestamps": "true"}
        if follow:
            query["follow"] = "true"
        since = self._given.since()
        if since is not None:
            query["sinceTime"] = since
        self._given.begin()
        try:
            with self._api.stream(
                f"{self._path}/log", query=query, stop=self._stop
            ) as chunks:
                for piece in self._pieces(chunks, final=not follow):
                    if self._given.is_new(piece):
                        pauses.reset()
                        yield piece.text
        except BrokenOffError:
            return False
        except (InvalidError, NotFoundError):
            # It has not started, or never will; or the pod was just deleted.
            return True
        return not self._stop.is_set()

    def _pieces(self, chunks: Iterable[bytes], *, final: bool) -> Iterator[Piece]:
        pieces = Pieces()
        for chunk in chunks:
            yield from pieces.of(chunk)
        if final and not self._stop.is_set():
            yield from pieces.rest()

    def _state(self) -> _State:
        if self._ended is not None and self._ended.is_set():
            return "ended"
        try:
            pod = self._api.request("GET", self._path, stop=self._stop)
        except NotFoundError:
            return "gone"
        if self._uid not in (None, pod["metadata"].get("uid")):
            return "gone"
        spec, status = pod["spec"], pod.get("status") or {}
        names = [
            item["name"]
            for kind in ("containers", "initContainers")
            for item in spec.get(kind) or []
        ]
        if self._container not in names:
            known = ", ".join(map(repr, names))
            raise InvalidError(
                f"the pod {pod['metadata']['name']!r} has no container "
                f"{self._container!r} (containers: {known})"
            )
        statuses = [
            item
            for kind in ("containerStatuses", "initContainerStatuses")
            for item in status.get(kind) or []
            if item["name"] == self._container
        ]
        return _state(spec, status, statuses[0] if statuses else {})


def _state(spec: Json, status: Json, container: Json) -> _State:
    if status.get("phase") in ("Succeeded", "Failed"):
        return "ended"
    state = container.get("state") or {}
    if "running" in state:
        return "running"
    ended = state.get("terminated")
    if ended is None:
        started_before = bool((container.get("lastState") or {}).get("terminated"))
        return "running" if started_before else "waiting"
    policy = spec.get("restartPolicy", "Always")
    again = policy == "Always" or (policy == "OnFailure" and ended["exitCode"] != 0)
    return "running" if again else "ended"


class _Given:
    """The pieces that were given out last, so that none is given out twice.

    Args:
        since: seconds since the epoch, before which nothing is wanted.
    """

    def __init__(self, since: int | None) -> None:
        self._from = since
        self._latest = 0
        self._recent: deque[tuple[int, int]] = deque()
        self._counts: Counter[tuple[int, int]] = Counter()
        self._again: Counter[tuple[int, int]] = Counter()
        self._oldest = 0

    def since(self) -> str | None:
        """Return the time from which on to read, in a whole second."""
        seconds = self._from
        if self._latest:
            seconds = max(seconds or 0, self._latest // _SECOND - 1)
        if seconds is None:
            return None
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def begin(self) -> None:
        """Expect what was given out before, from the time in since() on."""
        self._again = self._counts.copy()
        # What is older than all that is remembered was given out before that.
        full = len(self._recent) >= _REMEMBERED
        self._oldest = min(self._recent)[0] if full else 0

    def is_new(self, piece: Piece) -> bool:
        """Return whether a piece was not given out before, and remember it."""
        key = piece.time, piece.offset
        if self._again[key] > 0:
            self._again[key] -= 1
            return False
        if piece.time < self._oldest:
            return False
        if len(self._recent) >= _REMEMBERED:
            first = self._recent.popleft()
            self._counts[first] -= 1
            if not self._counts[first]:
                del self._counts[first]
        self._recent.append(key)
        self._counts[key] += 1
        self._latest = max(self._latest, piece.time)
        return True


def _seconds(since: str) -> int:
    return int(datetime.fromisoformat(since).timestamp())
