"""How a process and its containers talk: frames, messages, blobs and marked output."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagekit.context import ActionID, TaskContext
from imagekit.digest import Digest
from imagekit.errors import StoreError
from imagekit.frames import (
    CHUNK,
    PREAMBLE,
    CutFrameError,
    Frame,
    FrameError,
    FrameReader,
    packed,
    write_all,
)
from imagekit.run_events import Ended, Event, Reported, Started
from imagekit.running.container.endings import Ending, error_of
from imagekit.runtime.channel import Channel
from imagekit.runtime.log_marks import MarkedOutput, end_mark, mark
from imagekit.runtime.memory import memory
from imagekit.runtime.messages import (
    DIED,
    Cancel,
    Chunk,
    Died,
    Message,
    NestedCall,
    Raised,
    Recorded,
    Returned,
    Stop,
    context_json,
    context_of,
    event_json,
    event_of,
    frame_of,
    message_of,
)
from imagekit.task_errors import OOMError, TaskInterruptedError, WorkerLostError
from imagekit.value_blobs import ValueBlobs

DOCUMENTS: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
FRAMES = st.builds(Frame, DOCUMENTS, st.binary(max_size=200))


class Dribble:
    """Gives and takes a few bytes at a time, as pipes may."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._stream = io.BytesIO(data)
        self._sizes = sizes
        self.written = b""

    def _next(self, size: int) -> int:
        self._sizes.append(self._sizes.pop(0))
        return max(1, min(size, self._sizes[0]))

    def read(self, size: int, /) -> bytes:
        return self._stream.read(self._next(size))

    def write(self, data: bytes | memoryview, /) -> int:
        size = self._next(len(data))
        self.written += bytes(data[:size])
        return size


SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=5)


@given(st.lists(FRAMES), st.binary(), SIZES)
def test_frames_come_out_as_they_went_in(
    frames: list[Frame], before: bytes, sizes: list[int]
) -> None:
    before = before.replace(PREAMBLE, b"")
    data = before + PREAMBLE + b"".join(map(packed, frames))
    sink = Dribble(b"", list(sizes))
    write_all(sink, data)
    assert sink.written == data

    reader = FrameReader(Dribble(data, list(sizes)))
    assert reader.preamble() == before
    assert [reader.read() for _ in frames] == frames
    assert reader.read() is None


@given(FRAMES, st.data())
def test_a_stream_that_ends_within_a_frame_is_noticed(
    frame: Frame, data: st.DataObject
) -> None:
    whole = packed(frame)
    cut = whole[: data.draw(st.integers(1, len(whole) - 1))]
    with pytest.raises(CutFrameError) as raised:
        FrameReader(io.BytesIO(cut)).read()
    assert cut.endswith(raised.value.tail)
    assert raised.value.tail


@pytest.mark.parametrize(
    "garbage", [b"hello, world: no frame", b"\0\0\0\1" + b"\0" * 8 + b"{"]
)
def test_what_is_no_frame_is_noticed(garbage: bytes) -> None:
    with pytest.raises(FrameError):
        FrameReader(io.BytesIO(garbage)).read()


def test_a_stream_without_frames_is_noticed() -> None:
    with pytest.raises(CutFrameError) as raised:
        FrameReader(io.BytesIO(b"python: no such thing")).preamble()
    assert raised.value.tail == b"python: no such thing"


def test_a_payload_has_a_bound() -> None:
    with pytest.raises(FrameError):
        packed(Frame({}, b"x" * (CHUNK + 1)))


MESSAGES: list[Message] = [
    Returned(number=1, output={"a": [1, None]}),
    Raised(number=2, error={"class": "x"}, out_of_memory=1),
    Cancel(number=3),
    Chunk(digest="sha256:00", last=True, data=b"\0\1"),
    Stop(),
    NestedCall(
        number=1, by=2, task="a.b", settings={}, inputs={}, action="a0.1", parent="a0"
    ),
    Recorded(by=1, event={"event": "ended"}),
    Died(code=None, signal=9, out_of_memory=1, limit=5, peak=None),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda item: type(item).__name__)
def test_messages_come_out_as_they_went_in(message: Message) -> None:
    frame = FrameReader(io.BytesIO(packed(frame_of(message)))).read()
    assert frame is not None
    assert message_of(frame) == message


@pytest.mark.parametrize("header", [None, [], {}, {"kind": "what"}, {"kind": "cancel"}])
def test_what_is_no_message_is_noticed(header: object) -> None:
    with pytest.raises(FrameError, match="wanted a message"):
        message_of(Frame(header))


def test_the_last_words_can_be_found_behind_half_a_frame() -> None:
    died = Died(code=None, signal=9, out_of_memory=1, limit=5, peak=None)
    data = packed(frame_of(died))
    assert (
        data[data.index(DIED) :]
        == json.dumps(frame_of(died).header, separators=(",", ":")).encode()
    )


@pytest.mark.parametrize(
    "event",
    [
        Started(id="a0.1", parent="a0", kind="group", name="g", time=1.5),
        Ended(id="a0", time=2.5, status="failed", error={"class": "x"}),
        Reported(id="a0", html="<b>"),
    ],
)
def test_events_come_out_as_they_went_in(event: Event) -> None:
    assert event_of(json.loads(json.dumps(event_json(event)))) == event


def test_contexts_come_out_as_they_went_in() -> None:
    context = TaskContext(
        action=ActionID(name="a0.2", run_name="r", project="p"),
        task_name="e.f",
        attempt=3,
        labels=(("a", "b"),),
    )
    assert context_of(json.loads(json.dumps(context_json(context)))) == context


# Blobs


@contextmanager
def channels(tmp_path: Path) -> Iterator[tuple[Channel, Channel]]:
    """Give two channels that talk to each other."""
    there, back = os.pipe(), os.pipe()
    files = [os.fdopen(fd, "rb") for fd in (there[0], back[0])]
    sinks = [os.fdopen(fd, "wb", buffering=0) for fd in (there[1], back[1])]
    one = Channel(files[1], sinks[0], ValueBlobs(tmp_path / "one"))
    two = Channel(files[0], sinks[1], ValueBlobs(tmp_path / "two"))
    one.start()
    two.start()
    try:
        yield one, two
    finally:
        for channel in (one, two):
            channel.finish()
            assert channel.wait(10)
        for file in files:
            file.close()


def test_blobs_go_once_each_way(tmp_path: Path) -> None:
    here, there = ValueBlobs(tmp_path / "one"), ValueBlobs(tmp_path / "two")
    large = here.put_bytes(os.urandom(3 * CHUNK + 5))
    empty = here.put_bytes(b"")
    with channels(tmp_path) as (one, two):
        one.send(Cancel(number=1), [large, empty, large])
        assert two.receive() == Cancel(number=1)
        assert there.read(large) == here.read(large)
        assert there.read(empty) == b""

        # Both know by now that the other side has it.
        there.path(large).unlink()
        one.send(Cancel(number=2), [large])
        assert two.receive() == Cancel(number=2)
        assert not there.has(large)
        two.send(Cancel(number=3), [large])
        assert one.receive() == Cancel(number=3)


def test_a_blob_that_is_not_there_fails_its_message_only(tmp_path: Path) -> None:
    failures: list[Exception] = []
    with channels(tmp_path) as (one, two):
        absent = Digest.of(b"nobody has this")
        one.send(Cancel(number=1), [absent], failed=failures.append)
        one.send(Cancel(number=2))
        assert two.receive() == Cancel(number=2)
    assert [type(error) for error in failures] == [StoreError]


def test_a_blob_that_was_changed_on_its_way_is_noticed(tmp_path: Path) -> None:
    with channels(tmp_path) as (one, two):
        one.send(Chunk(digest=str(Digest.of(b"this")), last=True, data=b"that"))
        with pytest.raises(FrameError, match="wanted the blob"):
            two.receive()


def test_who_sends_never_waits(tmp_path: Path) -> None:
    sent = threading.Event()
    with channels(tmp_path) as (one, two):
        for number in range(2000):
            one.send(Returned(number=number, output="x" * 100))
        sent.set()
        for number in range(2000):
            message = two.receive()
            assert isinstance(message, Returned)
            assert message.number == number
    assert sent.is_set()


# Output

ACTIONS = st.sampled_from(["a0", "a0.1", "a0.r2.1"])
TOKEN = "0123456789abcdef"


@given(
    st.lists(st.tuples(ACTIONS, st.binary(min_size=1, max_size=20), st.booleans())),
    st.lists(st.integers(1, 30), min_size=1),
    st.binary(max_size=9),
)
def test_marked_output_is_taken_apart(
    parts: list[tuple[str, bytes, bool]], cuts: list[int], first: bytes
) -> None:
    data, wanted, ended = first, {"first": first}, []
    for action, text, last in parts:
        data += mark(TOKEN, action) + text
        wanted[action] = wanted.get(action, b"") + text
        if last:
            data += end_mark(TOKEN, action)
            ended.append(action)

    output = MarkedOutput(TOKEN, "first")
    found: dict[str, bytes] = {"first": b""}
    seen = []
    at = 0
    while at < len(data):
        cuts.append(cuts.pop(0))
        for action, part in output.feed(data[at : at + cuts[0]]):
            if part is None:
                seen.append(action)
            else:
                found[action] = found.get(action, b"") + part
        at += cuts[0]
    if rest := output.close():
        found[output.action] = found.get(output.action, b"") + rest

    assert {
        name: text for name, text in found.items() if text or name == "first"
    } == wanted
    assert seen == ended


def test_output_that_looks_like_a_mark_is_output() -> None:
    output = MarkedOutput(TOKEN, "a0")
    text = mark("another token", "a1")
    found = b"".join(data or b"" for _, data in output.feed(text))
    assert found + output.close() == text


# Endings


@pytest.mark.parametrize(
    ("died", "error", "message"),
    [
        (
            Died(code=None, signal=9, out_of_memory=1, limit=64 << 20, peak=63 << 20),
            OOMError,
            "the limit is 64.0 MiB, its peak was 63.0 MiB",
        ),
        (
            Died(code=None, signal=9, out_of_memory=0, limit=None, peak=None),
            TaskInterruptedError,
            "killed with SIGKILL",
        ),
        (
            Died(code=None, signal=signal.SIGBUS, out_of_memory=0, limit=1, peak=1),
            WorkerLostError,
            "crashed with SIGBUS; it had printed:\n  last words",
        ),
        (
            Died(code=3, signal=None, out_of_memory=0, limit=1, peak=1),
            WorkerLostError,
            "exit code 3 before the task was done",
        ),
    ],
)
def test_how_a_worker_died_says_what_is_raised(
    died: Died, error: type[Exception], message: str
) -> None:
    ending = Ending(code=1, died=died, frames=True, tail="last words\n")
    found = error_of(ending, image="image", container="box")
    assert type(found) is error
    assert message in str(found)


def test_memory_is_told_where_there_are_control_groups() -> None:
    now = memory()
    assert now.killed >= 0
    assert now.limit is None or now.limit > 0
