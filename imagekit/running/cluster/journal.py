"""What happens in a call, written to the cluster as it does.

Events go into ConfigMaps, each written once: a few at a time, and the rest with the
result. Inputs and outputs that no ConfigMap can hold are left out: the call itself says
what is wrong with them. What tasks print goes to this process's standard output, which
is the pod's log. Neither gets the value of a secret.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from imagekit.redaction import Redactor
from imagekit.run_events import Event, Json, Reported
from imagekit.running.cluster.pod_output import Printing
from imagekit.running.streaming import cleaned
from imagekit.runtime.messages import event_json
from imagekit.task_errors import InlineIOMaxBytesBreached
from imagekit.values import document_bytes

#: Seconds between two journals: the first, how much longer each wait is, the longest.
_FIRST, _GROWTH, _LONGEST = 0.5, 1.2, 5.0
#: Bytes of events in one journal, unless it is a single one.
_MOST = 300_000
#: What of an event may be left out, if it has more than so many bytes.
_VALUES, _LARGE = ("inputs", "outputs"), 1000


class Journal:
    """The recorder of one call: :class:`imagekit.run_events.Recorder`.

    Args:
        write: writes a numbered list of events; may take long, and is called in one
            thread at a time. If it raises InlineIOMaxBytesBreached, large values are
            left out; if anything else, the events are tried again with the next.
        first: number of the first journal: earlier pods may have written some.
        print_to: takes what is printed.
        dropped: tells of events that are known already.
    """

    def __init__(
        self,
        write: Callable[[int, list[Json]], None],
        *,
        first: int = 0,
        dropped: Callable[[Event], bool] = lambda _event: False,
        print_to: Printing,
    ) -> None:
        self._write = write
        self._number = first
        self._dropped = dropped
        self._printing = print_to
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._events: list[Json] = []
        self._sizes: list[int] = []
        self._redactor = Redactor()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def hide(self, values: Iterable[str]) -> None:
        """Keep *values* out of what is written from now on."""
        with self._lock:
            self._redactor = Redactor(self._redactor.values.union(values))
            redactor = self._redactor
        self._printing.hide(redactor)

    def holds_secret(self, document: Json) -> bool:
        """Return whether a document holds what is kept out."""
        with self._lock:
            redactor = self._redactor
        return bool(redactor.document(document) != document)

    def clean(self, document: Json) -> Json:
        """Return a document without what is kept out."""
        with self._lock:
            redactor = self._redactor
        return redactor.document(document)

    def record(self, event: Event) -> None:
        """Have *event* written soon."""
        if self._dropped(event):
            return
        with self._lock:
            document = event_json(cleaned(event, self._redactor))
            size = len(document_bytes(document))
            if size > _MOST and isinstance(event, Reported):
                text = f"<p>The report has {size} bytes, too many for the cluster.</p>"
                document, size = event_json(Reported(id=event.id, html=text)), len(text)
            self._events.append(document)
            self._sizes.append(size)
            if self._thread is None and not self._ended.is_set():
                self._thread = threading.Thread(
                    target=self._work, name="imagekit journal", daemon=True
                )
                self._thread.start()

    def log(self, action: str, data: bytes) -> None:
        """Print what an action's task has printed."""
        self._printing.log(action, data)

    @property
    def number(self) -> int:
        """How many journals there are."""
        with self._lock:
            return self._number

    def flush(self) -> None:
        """Write what is there."""
        with self._writing:
            while True:
                with self._lock:
                    count = self._fitting()
                    events, number = self._events[:count], self._number
                if not events:
                    return
                try:
                    self._write(number, events)
                except InlineIOMaxBytesBreached:
                    if not self._shorten(count):
                        raise
                    continue
                with self._lock:
                    del self._events[:count], self._sizes[:count]
                    self._number += 1

    def close(self, *, everything: bool = False) -> tuple[int, list[Json]]:
        """Return how many journals there are, and the events that are in none.

        Nothing is written any more in the background.

        Args:
            everything: whether no event is to be left.
        """
        self._ended.set()
        self._printing.close()
        while True:
            with self._writing, self._lock:
                fitting = 0 if everything else self._fitting()
                if len(self._events) <= fitting:
                    return self._number, list(self._events)
            self.flush()

    def abandon(self) -> None:
        """Write nothing any more: nobody wants to know."""
        self._ended.set()
        self._printing.close()

    def _fitting(self) -> int:
        """Return how many events go into one journal."""
        total = 0
        for count, size in enumerate(self._sizes):
            total += size
            if total > _MOST and count:
                return count
        return len(self._sizes)

    def _shorten(self, count: int) -> bool:
        """Leave out the largest value of the first events, if one is large."""
        with self._lock:
            sizes = [
                (len(document_bytes(event[key])), place, key)
                for place, event in enumerate(self._events[:count])
                for key in _VALUES
                if key in event
            ]
            size, place, key = max(sizes, default=(0, 0, ""))
            if size > _LARGE:
                text = f"{size} bytes, too many for the cluster"
                self._events[place] = {**self._events[place], key: text}
                self._sizes[place] -= size - len(text)
        return size > _LARGE

    def _work(self) -> None:
        wait = _FIRST
        while not self._ended.wait(wait):
            wait = min(wait * _GROWTH, _LONGEST)
            try:
                self.flush()
            except Exception:  # noqa: BLE001  (tried again, at the latest with the result)
                wait = _LONGEST
