"""What happened in a run, put in order from the parts that its objects hold.

Each call object has journals, numbered from 0, and at the end a result. They are seen
in any order, and again whenever a watch begins anew. Events come out once, those of an
action in their order, and none before its action has started.
"""

from __future__ import annotations

from collections.abc import Iterator

from imagekit.records import dataclass
from imagekit.run_events import Event, Started

__all__ = ["EventOrder", "Part"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of what happened in a call.

    Attributes:
        call: name of the call object.
        number: how many parts come before it.
        is_last: whether it is that of the result, so that no other follows.
    """

    call: str
    number: int
    events: tuple[Event, ...]
    is_last: bool = False


class _Parts:
    """The parts of one call."""

    def __init__(self) -> None:
        self._next = 0
        self._journals: dict[int, Part] = {}
        self._last: Part | None = None
        self._is_over = False

    def add(self, part: Part) -> None:
        if part.is_last:
            self._last = self._last or part
        elif part.number >= self._next:
            self._journals.setdefault(part.number, part)

    def ready(self) -> Iterator[Part]:
        """Yield the parts whose turn it is."""
        while not self._is_over:
            if self._last is not None and self._last.number <= self._next:
                self._is_over = True
                yield self._last
            elif self._next in self._journals:
                part = self._journals.pop(self._next)
                self._next += 1
                yield part
            else:
                return

    def rest(self) -> Iterator[Part]:
        """Yield all that is left, though something before it is missing."""
        if self._is_over:
            return
        self._is_over = True
        for _, part in sorted(self._journals.items()):
            yield part
        if self._last is not None:
            yield self._last


class EventOrder:
    """Takes parts as they are seen, and gives events as they happened."""

    def __init__(self) -> None:
        self._calls: dict[str, _Parts] = {}
        self._started: set[str] = set()
        #: Events that wait until an action has started, by its id.
        self._held: dict[str, list[Event]] = {}

    def take(self, part: Part) -> Iterator[Event]:
        """Yield the events whose turn has come with *part*."""
        parts = self._calls.setdefault(part.call, _Parts())
        parts.add(part)
        for ready in parts.ready():
            for event in ready.events:
                yield from self._released(event)

    def rest(self) -> Iterator[Event]:
        """Yield what still waits for something that will not come any more."""
        for _, parts in sorted(self._calls.items()):
            for part in parts.rest():
                for event in part.events:
                    yield from self._released(event)
        held, self._held = self._held, {}
        for _, events in sorted(held.items()):
            yield from events

    def _released(self, event: Event) -> Iterator[Event]:
        """Yield *event* and what waited for it, unless it has to wait itself."""
        left = [event]
        while left:
            current = left.pop()
            wanted = _before(current)
            if wanted is not None and wanted not in self._started:
                self._held.setdefault(wanted, []).append(current)
                continue
            if isinstance(current, Started):
                if current.id in self._started:
                    continue  # said by a pod that took over from a lost one
                self._started.add(current.id)
                left.extend(reversed(self._held.pop(current.id, [])))
            yield current


def _before(event: Event) -> str | None:
    """Return the action that has to have started before *event*."""
    return event.parent if isinstance(event, Started) else event.id
