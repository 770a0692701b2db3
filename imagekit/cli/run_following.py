"""Says what begins and ends in a run, in lines on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagekit.cli.output import Output

if TYPE_CHECKING:
    from imagekit.run_events import Event


class EventLines:
    """Says what begins and ends: :class:`imagekit.running.streaming.Listener`."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._names: dict[str, str] = {}

    def __call__(self, event: Event) -> None:
        """Say what *event* is."""
        from imagekit.run_events import AttemptStarted, Ended, Started  # noqa: PLC0415

        if isinstance(event, Started):
            self._names[event.id] = event.name
            self._output.talk(f"{event.id} {event.name} started")
        elif isinstance(event, AttemptStarted) and event.number > 1:
            name = self._names.get(event.id, "")
            self._output.talk(f"{event.id} {name} attempt {event.number}")
        elif isinstance(event, Ended):
            name = self._names.get(event.id, "")
            self._output.talk(f"{event.id} {name} {event.status}")
