"""How values of one type become documents, and documents values.

A document is what JSON can hold. Its objects have either names of fields as keys, which
are identifiers, or keys that start with ``$``, which are ours: never texts of users.
"""

from __future__ import annotations

import json
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from imagekit.records import dataclass, field
from imagekit.value_blobs import ValueBlobs
from imagekit.values.misfit import Misfit

Json: TypeAlias = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """What codecs need beside values and documents.

    Attributes:
        blobs: where large parts go and come from; None keeps all parts inline, and
            refuses files.
        renamed: modules of classes, and the modules that they are called here.
        files: folder in which files are made for decoded values; None is a new one.
        exact: whether a value has to be of the type itself; an int is no float then.
    """

    blobs: ValueBlobs | None
    renamed: Mapping[str, str] = field(default_factory=dict)
    files: str | None = None
    exact: bool = False

    def kept(self, what: str) -> ValueBlobs:
        """Return the blobs, where *what* can't do without."""
        if self.blobs is None:
            raise Misfit(f"{what} can't be part of this value")
        return self.blobs

    def new_folder(self) -> str:
        """Return a new, empty folder for a decoded file."""
        if self.files is not None:
            os.makedirs(self.files, exist_ok=True)
        return tempfile.mkdtemp(prefix="value-", dir=self.files)


class Codec(ABC):
    """Encodes and decodes values of one annotation.

    Attributes:
        label: the annotation, for messages.
    """

    label: str

    @abstractmethod
    def encode(self, value: Any, to: Packing) -> Json:
        """Return the document of *value*.

        Raises:
            Misfit: it is not of the type.
        """

    @abstractmethod
    def decode(self, document: Json, at: Packing) -> Any:
        """Return the value of *document*.

        Raises:
            Misfit: what it needs is missing here.
        """

    @abstractmethod
    def describe(self, within: tuple[object, ...]) -> Json:
        """Return what tells the type from others, equal in every process.

        *within* has what is being described: types may hold themselves.
        """


#: Makes the codec of an annotation.
Maker: TypeAlias = Callable[[Any], Codec]


def document_bytes(document: Json) -> bytes:
    """Return the bytes of *document*, equal for equal documents."""
    text = json.dumps(
        document,
        sort_keys=True,
        ensure_ascii=True,
        allow_nan=False,
        separators=(",", ":"),
    )
    return text.encode("ascii")
