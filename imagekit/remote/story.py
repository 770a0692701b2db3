"""All that the objects of a run tell of it: what happened, and its result."""

from __future__ import annotations

import time
from collections.abc import Callable

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.documents import Json, ResultDocument
from imagekit.errors import ImageKitError
from imagekit.remote.following import EventOrder
from imagekit.remote.open_actions import OpenActions
from imagekit.remote.outcome import end_time
from imagekit.remote.parts import Reader, call_of, kind_of, result_part
from imagekit.run_events import ROOT, Event

#: What the kinds of objects are that tell something.
TELLING = (names.JOURNAL_KIND, names.RESULT_KIND)


class Story:
    """Takes objects as they are seen, each any number of times.

    Args:
        run: name of the run.
        reader: reads the objects.
        tell: is given the events, in order.
        note: is told what can't be read; only the run's own result has to be.

    Attributes:
        root: name of the call object of the run's own task.
        result: the object with its result; None as long as there is none.
        open: what has begun and not ended.
    """

    def __init__(
        self,
        run: str,
        reader: Reader,
        *,
        tell: Callable[[Event], object],
        note: Callable[[str], object],
    ) -> None:
        self.root = names.call_name(run, ROOT, 0)
        self.result: Json | None = None
        self.open = OpenActions()
        self._run = run
        self._reader = reader
        self._tell = tell
        self._note = note
        self._order = EventOrder()
        self._seen: set[str] = set()
        self._journals = 0

    @property
    def journals(self) -> int:
        """How many journals of the run's own task there are."""
        return self._journals

    def take(self, found: Json) -> None:
        """Take note of an object; those that tell nothing are left alone."""
        name, kind = found["metadata"]["name"], kind_of(found)
        if kind not in TELLING or name in self._seen:
            return
        self._seen.add(name)
        if kind == names.RESULT_KIND and call_of(found) == self.root:
            self.result = found
            return
        try:
            if kind == names.JOURNAL_KIND:
                part = self._reader.journal(found)
            else:
                part = result_part(found, self._reader.result(found, whole=False))
        except ImageKitError as error:
            self._note(f"a part of what happened can't be read: {error.message}")
            return
        if part.call == self.root:
            self._journals = max(self._journals, part.number + 1)
        for event in self._order.take(part):
            self._told(event)

    def catch_up(self, cluster: Cluster) -> None:
        """Take note of all objects that there are now."""
        selector = names.selector(run=names.label_value(self._run))
        kinds = f"{names.KIND} in ({','.join(TELLING)})"
        for item in cluster.list("ConfigMap", f"{selector},{kinds}", metadata=True):
            name = item["metadata"]["name"]
            if name not in self._seen:
                found = cluster.find("ConfigMap", name)
                if found is not None:
                    self.take(found)

    def finish(self) -> ResultDocument:
        """Tell the rest, and return the result, which is there.

        Raises:
            ImageKitError: it can't be read.
        """
        assert self.result is not None
        document = self._reader.result(self.result, whole=True)
        for event in self._order.take(result_part(self.result, document)):
            self._told(event)
        for event in self._order.rest():
            self._told(event)
        for event in self.open.left(end_time(document) or time.time()):
            self._told(event)
        return document

    def _told(self, event: Event) -> None:
        self.open.take(event)
        self._tell(event)
