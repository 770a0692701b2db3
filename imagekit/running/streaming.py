"""Shows what tasks in containers print, beside recording it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Protocol, TextIO, assert_never

from imagekit.records import replace
from imagekit.redaction import RedactedStream, Redactor
from imagekit.run_events import (
    AttemptEnded,
    AttemptStarted,
    Ended,
    Event,
    Json,
    Reported,
    Started,
)
from imagekit.run_record import RunRecord


class Listener(Protocol):
    """Is told what happens in a run, as it does."""

    def __call__(self, event: Event) -> None:
        """Take note of *event*."""


def cleaned(event: Event, redactor: Redactor) -> Event:
    """Return *event* without the values of secrets."""
    document = redactor.document
    match event:
        case Started(name=name, inputs=inputs):
            return replace(event, name=redactor(name), inputs=document(inputs))
        case AttemptStarted():
            return event
        case AttemptEnded(error=error):
            return replace(event, error=document(error))
        case Ended(outputs=outputs, error=error):
            return replace(event, outputs=document(outputs), error=document(error))
        case Reported(html=html):
            return replace(event, html=redactor(html))
        case _:
            assert_never(event)


class StreamingRecorder:
    """Records a run, and tells others of it.

    Args:
        record: receives everything.
        stream: receives what tasks print, line by line, behind the name of the action;
            None shows nothing.
        listener: receives all events.
    """

    def __init__(
        self,
        record: RunRecord,
        *,
        stream: TextIO | None = None,
        listener: Listener | None = None,
    ) -> None:
        self._record = record
        self._stream = stream
        self._listener = listener
        self._lock = threading.Lock()
        self._redactor = Redactor()
        self._names: dict[str, str] = {}
        self._open: dict[str, tuple[RedactedStream, bytearray]] = {}

    def hide(self, values: Iterable[str]) -> None:
        """Keep *values* out of what is recorded and shown from now on."""
        values = frozenset(values)
        self._record.hide(values)
        with self._lock:
            self._redactor = Redactor(self._redactor.values | values)
            for stream, _ in self._open.values():
                stream.redactor = self._redactor

    def holds_secret(self, document: Json) -> bool:
        """Return whether a document holds what is kept out of records."""
        with self._lock:
            redactor = self._redactor
        return bool(redactor.document(document) != document)

    def record(self, event: Event) -> None:
        """Record *event*, and tell the listener of it, without secrets."""
        self._record.record(event)
        if isinstance(event, Started) and event.kind == "task":
            self._names[event.id] = event.name
        if isinstance(event, Ended):
            self._flush(event.id)
        if self._listener is not None:
            with self._lock:
                redactor = self._redactor
            self._listener(cleaned(event, redactor))

    def log(self, action: str, data: bytes) -> None:
        """Record what an action's task printed, and show its whole lines."""
        self._record.log(action, data)
        if self._stream is None:
            return
        with self._lock:
            stream, rest = self._open.setdefault(
                action, (RedactedStream(self._redactor), bytearray())
            )
            rest += stream.feed(data)
            end = rest.rfind(b"\n") + 1
            if end:
                self._show(action, bytes(rest[:end]))
                del rest[:end]

    def close(self) -> None:
        """Show what is left of lines that were not ended."""
        with self._lock:
            actions = list(self._open)
        for action in actions:
            self._flush(action)

    def _flush(self, action: str) -> None:
        with self._lock:
            stream, rest = self._open.pop(action, (None, bytearray()))
            if stream is not None:
                rest += stream.close()
            if rest:
                self._show(action, bytes(rest))

    def _show(self, action: str, data: bytes) -> None:
        assert self._stream is not None
        name = f"[{action} {self._names.get(action, '')}".rstrip() + "] "
        text = data.decode(errors="replace")
        self._stream.write("".join(f"{name}{line}\n" for line in text.splitlines()))
        self._stream.flush()
