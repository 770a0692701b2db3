"""What the objects of a run hold: parts of what happened, and results."""

from __future__ import annotations

from imagekit.cluster import names
from imagekit.cluster.documents import CallDocument, Json, ResultDocument
from imagekit.records import dataclass
from imagekit.remote.following import Part
from imagekit.running.cluster.parcels import unpack
from imagekit.running.cluster.raw_data import RawData
from imagekit.runtime.messages import event_of
from imagekit.value_blobs import ValueBlobs

#: Behind the names of call objects.
_RESULT = names.result_name("")
_JOURNAL = ".j"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads the objects of a run.

    Attributes:
        blobs: takes the large parts of results.
        store: where very large ones are; None if there is no such place.
    """

    blobs: ValueBlobs
    store: RawData | None

    def journal(self, found: Json) -> Part:
        """Return what a journal holds.

        Raises:
            ImageKitError: it is damaged, or what it refers to can't be reached.
        """
        call, _, number = found["metadata"]["name"].rpartition(_JOURNAL)
        documents = self._read(found, whole=False)
        return Part(
            call=call, number=int(number), events=tuple(map(event_of, documents))
        )

    def result(self, found: Json, *, whole: bool) -> ResultDocument:
        """Return the document of a result.

        Args:
            found: the object.
            whole: whether the large parts of the output are wanted, too.

        Raises:
            ImageKitError: it is damaged, or what it refers to can't be reached.
        """
        return ResultDocument.from_json(self._read(found, whole=whole))

    def call(self, found: Json) -> CallDocument:
        """Return the document of a call, without the large parts of its inputs.

        Raises:
            ImageKitError: it is damaged, or what it refers to can't be reached.
        """
        return CallDocument.from_json(self._read(found, whole=False))

    def _read(self, found: Json, *, whole: bool) -> Json:
        return unpack(
            found.get("data") or {},
            found.get("binaryData") or {},
            self.blobs,
            self.store,
            whole=whole,
        )


def result_part(found: Json, result: ResultDocument) -> Part:
    """Return what happened in a call since its last journal."""
    return Part(
        call=call_of(found),
        number=result.journals,
        events=tuple(map(event_of, result.events)),
        is_last=True,
    )


def call_of(found: Json) -> str:
    """Return the name of the call object that a result is of."""
    name: str = found["metadata"]["name"]
    return name.removesuffix(_RESULT)


def kind_of(found: Json) -> str:
    """Return what an object is for."""
    return str((found["metadata"].get("labels") or {}).get(names.KIND, ""))
