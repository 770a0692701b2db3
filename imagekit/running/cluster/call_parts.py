"""What a call tells on the cluster: what happens in it, in parts, and its result."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from contextlib import suppress

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.api_errors import AlreadyExistsError
from imagekit.cluster.documents import CallDocument, ResultDocument
from imagekit.digest import Digest
from imagekit.errors import ImageKitError
from imagekit.failures import encode_failure
from imagekit.records import replace
from imagekit.run_events import Ended, Event, Json
from imagekit.running.cluster.journal import Journal
from imagekit.running.cluster.parcel_objects import parcel_object
from imagekit.running.cluster.pod_output import Printing
from imagekit.running.cluster.root_history import RootHistory
from imagekit.running.cluster.run_here import RunHere
from imagekit.runtime.messages import event_json
from imagekit.task_errors import InlineIOMaxBytesBreached
from imagekit.value_blobs import ValueBlobs
from imagekit.values import blob_digests

#: Labels of call objects that their journals and results have too.
PASSED_ON = frozenset(
    {names.RUN, names.ACTION, names.ATTEMPT, names.TASK, names.CALLER}
)


class CallParts:
    """Writes the journals and the result of a call.

    Args:
        cluster: where they are.
        lasting: likewise, with the patience that a result is worth.
        found: the call object.
        call: what it holds.
        run: what it belongs to.
        pod: name of this pod.
        blobs: the large parts of outputs.
        printing: takes what its task prints.
        history: what earlier pods of the call have written.

    Attributes:
        journal: takes what happens.
    """

    def __init__(
        self,
        cluster: Cluster,
        lasting: Cluster,
        found: Json,
        call: CallDocument,
        run: RunHere,
        *,
        pod: str,
        blobs: ValueBlobs,
        printing: Printing,
        history: RootHistory,
    ) -> None:
        self._cluster = cluster
        self._lasting = lasting
        self._name: str = found["metadata"]["name"]
        self._labels: dict[str, str] = found["metadata"]["labels"]
        self._call = call
        self._run = run
        self._pod = pod
        self._blobs = blobs
        self._is_ending = False
        self.journal = Journal(
            self._write_journal,
            first=history.journals,
            dropped=history.is_known,
            print_to=printing,
        )

    def write_result(self, output: Json, error: BaseException | None) -> None:
        """Write the result, with what is in no journal.

        Raises:
            ImageKitError: it can't be written.
        """
        self._is_ending = True
        failure = None
        if error is not None:
            failure = self.journal.clean(encode_failure(error))
        journals, events = self._left()
        result = ResultDocument(
            output=output,
            error=failure,
            events=tuple(events),
            journals=journals,
            pod=self._pod,
        )
        try:
            self._pack_result(result)
        except InlineIOMaxBytesBreached:
            self._write_large(result)

    def _write_large(self, result: ResultDocument) -> None:
        """Write a result for which there is no room beside events, or none at all."""
        journals, events = self._left(everything=True)
        result = replace(result, journals=journals, events=tuple(events))
        try:
            self._pack_result(result)
        except InlineIOMaxBytesBreached as large:
            if result.output is None:
                raise
            self._pack_result(self._refused(result, large))

    def _refused(
        self, result: ResultDocument, why: InlineIOMaxBytesBreached
    ) -> ResultDocument:
        """Return the result of a call whose output can't be handed on."""
        failure = encode_failure(why)
        result = replace(result, output=None, error=failure)
        if self._call.attempt:
            return result  # who called it tells how it ended
        # That it succeeded was told before.
        ended: Event = Ended(
            id=self._call.action, time=time.time(), status="failed", error=failure
        )
        return replace(result, events=(*result.events, event_json(ended)))

    def _left(self, *, everything: bool = False) -> tuple[int, list[Json]]:
        """Return how many journals there are, and the events that are in none."""
        try:
            return self.journal.close(everything=everything)
        except ImageKitError as error:
            # What comes out of a call is worth more than what is known of it.
            logging.getLogger("imagekit").warning(
                "what happened in a call can't be written: %s", error
            )
            return self.journal.number, []

    def _write_journal(self, number: int, events: list[Json]) -> None:
        name = names.journal_name(self._name, number)
        cluster = self._lasting if self._is_ending else self._cluster
        cluster.create(self._parcel(name, events, (), names.JOURNAL_KIND))

    def _pack_result(self, result: ResultDocument) -> None:
        found = self._parcel(
            names.result_name(self._name),
            result.to_json(),
            blob_digests(result.output),
            names.RESULT_KIND,
        )
        with suppress(AlreadyExistsError):
            # An earlier pod of this call wrote it, and was lost before it knew.
            self._lasting.create(found)

    def _parcel(
        self, name: str, document: Json, digests: Iterable[Digest], kind: str
    ) -> Json:
        """Return an object of this call."""
        return parcel_object(
            name,
            document,
            digests,
            kind=kind,
            labels={
                key: text for key, text in self._labels.items() if key in PASSED_ON
            },
            owner=self._run.object,
            blobs=self._blobs,
            store=self._run.store,
        )
