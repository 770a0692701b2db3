"""Watches and logs against a model of the API whose connections break anywhere."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagekit.cluster import pod_logs, watching
from imagekit.cluster.api_errors import BrokenOffError, GoneError
from imagekit.cluster.log_pieces import Pieces
from imagekit.cluster.pod_logs import follow_log
from imagekit.cluster.stopping import Stop
from imagekit.cluster.watching import Added, Deleted, Listed, Modified, lines, watch

_SECOND = 1_000_000_000


class _NoPauses:
    """Pauses that take no time."""

    def __init__(self, **_limits: float) -> None:
        pass

    def seconds(self) -> float:
        return 0

    def reset(self) -> None:
        pass


@pytest.fixture(autouse=True, scope="module")
def _no_pauses() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(watching, "Pauses", _NoPauses)
        patched.setattr(pod_logs, "Pauses", _NoPauses)
        yield


# Watches.


class _Objects:
    """A history of changes to objects, of which a connection tells a part.

    Args:
        changes: name of an object, and whether it is there after the change.
        connections: for each connection: how many changes happen before it, how many
            it tells, at which byte of the next one it ends, and whether the history
            before it is thrown away.
    """

    namespace = "tests"

    def __init__(
        self,
        changes: list[tuple[str, bool]],
        connections: list[tuple[int, int, int, bool]],
        stop: Stop,
    ) -> None:
        self._todo = list(changes)
        self._connections = list(connections)
        self._stop = stop
        self._history: list[tuple[str, Any]] = []
        self._forgotten = 0
        self._shown: tuple[int, dict[str, Any]] = (0, {})
        self.there: dict[str, Any] = {}

    def patient(self, *_arguments: Any, **_options: Any) -> Any:
        return self

    def close(self) -> None:
        pass

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "",
        accept: str = "",
        timeout: float | None = None,
        stop: Stop | None = None,
    ) -> Any:
        assert query is not None
        self._happen(1)
        begin = int(query.get("continue", "0"))
        if not begin:
            # All pages of a list show the same moment.
            self._shown = len(self._history), dict(self.there)
        version, there = self._shown
        names = sorted(there)
        if begin and self._todo and len(self._todo) % 3 == 0:
            raise GoneError("expired")
        end = begin + int(query["limit"])
        token = {"continue": str(end)} if end < len(names) else {}
        return {
            "metadata": {"resourceVersion": str(version), **token},
            "items": [dict(there[name]) for name in names[begin:end]],
        }

    @contextmanager
    def stream(
        self,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        accept: str = "",
        timeout: float | None = None,
        stop: Stop | None = None,
    ) -> Iterator[Iterator[bytes]]:
        assert query is not None
        before, told, byte, forget = (
            self._connections.pop(0) if self._connections else (99, 99, 0, False)
        )
        last = not self._connections and not self._todo
        self._happen(before)
        version = int(query["resourceVersion"])
        if forget:
            self._forgotten = len(self._history)
        if version < self._forgotten:
            raise GoneError("expired")
        # The last one stands until all is told.
        yield self._told(version, 99 if last else told, byte, last=last)

    def _told(
        self, version: int, told: int, byte: int, *, last: bool
    ) -> Iterator[bytes]:
        changes = [
            json.dumps({"type": kind, "object": obj}).encode() + b"\n"
            for kind, obj in self._history[version:]
        ]
        yield from changes[:told]
        for rest in changes[told : told + 1]:
            yield rest[:byte]
        if last:
            self._stop.set()
        elif byte % 2:
            raise BrokenOffError("broken off", temporary=True)

    def _happen(self, count: int) -> None:
        for name, there in self._todo[:count]:
            version = str(len(self._history) + 1)
            known = self.there.get(name)
            if there:
                uid = known["metadata"]["uid"] if known else f"{name}-{version}"
                metadata = {"name": name, "uid": uid, "resourceVersion": version}
                obj = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata}
                self.there[name] = obj
                self._history.append(("MODIFIED" if known else "ADDED", obj))
            elif known:
                del self.there[name]
                metadata = {**known["metadata"], "resourceVersion": version}
                self._history.append(("DELETED", {**known, "metadata": metadata}))
        del self._todo[:count]


@given(
    changes=st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=40),
    connections=st.lists(
        st.tuples(
            st.integers(0, 8), st.integers(0, 5), st.integers(0, 60), st.booleans()
        ),
        max_size=12,
    ),
    limit=st.integers(1, 4),
)
def test_watch_ends_with_what_is_there(
    changes: list[tuple[str, bool]],
    connections: list[tuple[int, int, int, bool]],
    limit: int,
) -> None:
    stop = Stop()
    objects = _Objects(changes, connections, stop)
    known: dict[str, Any] = {}
    listed = False

    for event in watch(objects, "ConfigMap", stop=stop, limit=limit):
        match event:
            case Added(obj):
                assert obj["metadata"]["name"] not in known
                known[obj["metadata"]["name"]] = obj
            case Modified(obj):
                old = known[obj["metadata"]["name"]]["metadata"]
                assert old["uid"] == obj["metadata"]["uid"]
                assert old["resourceVersion"] != obj["metadata"]["resourceVersion"]
                known[obj["metadata"]["name"]] = obj
            case Deleted(obj):
                gone = known.pop(obj["metadata"]["name"])
                assert gone["metadata"]["uid"] == obj["metadata"]["uid"]
            case Listed():
                listed = True

    assert known == objects.there
    assert listed


@given(
    texts=st.lists(st.binary(min_size=1, max_size=9), max_size=9),
    cuts=st.lists(st.integers(0, 90), max_size=9),
    rest=st.binary(max_size=5),
)
def test_lines_are_whole_however_they_are_cut(
    texts: list[bytes], cuts: list[int], rest: bytes
) -> None:
    texts = [text.replace(b"\n", b"-") for text in texts]
    content = b"".join(text + b"\n" for text in texts) + rest.replace(b"\n", b"-")

    assert list(lines(_cut(content, cuts))) == texts


# Logs.


class _Printed:
    """A container's log, of which each connection gives a part.

    Args:
        entries: time and text of what was printed.
        connections: how many bytes each connection gives, and how it ends.
    """

    namespace = "tests"

    def __init__(
        self, entries: list[tuple[int, bytes]], connections: list[tuple[int, bool]]
    ) -> None:
        self._entries = entries
        self._connections = list(connections)

    def patient(self, *_arguments: Any, **_options: Any) -> Any:
        return self

    def close(self) -> None:
        pass

    def request(self, method: str, path: str, *_args: Any, **_options: Any) -> Any:
        state = "running" if self._connections else "terminated"
        status = {"name": "c", "state": {state: {"exitCode": 0}}}
        return {
            "metadata": {"name": "p"},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]},
            "status": {"phase": "Running", "containerStatuses": [status]},
        }

    @contextmanager
    def stream(
        self,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        accept: str = "",
        timeout: float | None = None,
        stop: Stop | None = None,
    ) -> Iterator[Iterator[bytes]]:
        assert query is not None
        since = 0
        if text := query.get("sinceTime"):
            since = int(datetime.fromisoformat(text).timestamp()) * _SECOND
        content = _as_told([entry for entry in self._entries if entry[0] >= since])
        yield self._told(content)

    def _told(self, content: bytes) -> Iterator[bytes]:
        if not self._connections:
            yield content
            return
        length, clean = self._connections.pop(0)
        yield from _cut(content[:length], [length // 3, length // 2])
        if not clean:
            raise BrokenOffError("broken off", temporary=True)


def _as_told(entries: list[tuple[int, bytes]]) -> bytes:
    told = []
    for nanoseconds, text in entries:
        second = datetime.fromtimestamp(nanoseconds // _SECOND, UTC)
        fraction = f"{nanoseconds % _SECOND:09}"
        told.append(f"{second:%Y-%m-%dT%H:%M:%S}.{fraction}Z ".encode() + text)
    return b"".join(told)


def _cut(content: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({min(place, len(content)) for place in places} | {len(content)})
    begins = [0, *ends]
    return [content[begin:end] for begin, end in zip(begins, ends, strict=False)]


_TEXT = st.sampled_from(
    [b"\n", b"one\n", b"two words\n", b"\xff\n", b"2024-05-01T10:00:00Z looks\n"]
)


@st.composite
def _entries(draw: Any) -> list[tuple[int, bytes]]:
    """Draw a log whose times go on, but for a little, and may repeat."""
    now = 1_714_557_600 * _SECOND
    entries: list[tuple[int, bytes]] = []
    for _ in range(draw(st.integers(0, 30))):
        now += draw(st.sampled_from([0, 0, 1, 1000, 300_000_000, 2 * _SECOND]))
        skew = draw(st.sampled_from([0, 0, 0, 1000, 900_000_000]))
        entries.append((now - skew, draw(_TEXT)))
    if entries and draw(st.booleans()):
        entries.append((now, b"no newline"))
    return entries


@given(
    entries=_entries(),
    connections=st.lists(st.tuples(st.integers(0, 900), st.booleans()), max_size=10),
)
def test_log_is_given_once_and_whole(
    entries: list[tuple[int, bytes]], connections: list[tuple[int, bool]]
) -> None:
    printed = _Printed(entries, connections)

    found = list(follow_log(printed, "p", "c", stop=Stop()))

    assert b"".join(found) == b"".join(text for _, text in entries)


def test_log_of_many_lines_is_followed_in_bounded_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pod_logs, "_REMEMBERED", 10)
    entries = [(_SECOND + number, b"%d\n" % number) for number in range(1000)]
    connections = [(length, False) for length in range(500, 30_000, 3_000)]
    printed = _Printed(entries, connections)

    found = list(follow_log(printed, "p", "c", stop=Stop()))

    assert found == [text for _, text in entries]


@given(
    size=st.sampled_from([1, 8_191, 8_192, 16_384, 16_385, 40_000, 1_100_000]),
    part=st.sampled_from([8_192, 16_384, None]),
    cuts=st.lists(st.integers(0, 1_200_000), max_size=6),
    newline=st.booleans(),
)
def test_long_line_loses_the_times_amid_it(
    size: int, part: int | None, cuts: list[int], newline: bool
) -> None:
    line = (b"0123456789 " * (size // 11 + 1))[:size] + (b"\n" if newline else b"")
    step = part or len(line)
    parts = [line[begin : begin + step] for begin in range(0, len(line), step)]
    content = _as_told([(_SECOND + index, text) for index, text in enumerate(parts)])
    before = _as_told([(_SECOND, b"before\n")])
    pieces = Pieces()

    found = [piece for cut in _cut(before + content, cuts) for piece in pieces.of(cut)]
    found += pieces.rest()

    assert b"".join(piece.text for piece in found) == b"before\n" + line
    assert all(piece.time for piece in found)


def test_message_of_the_api_amid_a_log_is_given() -> None:
    pieces = Pieces()
    found = list(pieces.of(b"unable to retrieve container logs\n"))

    assert [(piece.time, piece.text) for piece in found] == [
        (0, b"unable to retrieve container logs\n")
    ]
