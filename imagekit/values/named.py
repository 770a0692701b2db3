"""Members of enums, and literals."""

from __future__ import annotations

import enum
from typing import Any

from imagekit.values.codec import Codec, Json, Maker, Packing, document_bytes
from imagekit.values.misfit import Misfit, UnsupportedError, shown, type_name, wanted

_INLINE = Packing(blobs=None)


class EnumCodec(Codec):
    """Members of an enum, by their names; combined flags by their values."""

    def __init__(self, kind: type[enum.Enum], make: Maker) -> None:
        self.label = type_name(kind)
        self._kind = kind
        self._make = make

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the member's name."""
        del to
        if type(value) is not self._kind:
            raise wanted(self.label, value)
        name: Any = value._name_  # a member may be called "name"
        if self._kind.__members__.get(name) is value:
            return name
        number = value._value_
        if isinstance(value, enum.Flag) and type(number) is int:
            return number
        raise Misfit(f"wanted a member of {self.label}, found {shown(value)}")

    def decode(self, document: Json, at: Packing) -> enum.Enum:
        """Return the member."""
        del at
        if isinstance(document, int):
            return self._kind(document)
        if document not in self._kind.__members__:
            raise Misfit(f"{self.label} has no member {document!r} here")
        return self._kind.__members__[document]

    def describe(self, within: tuple[object, ...]) -> Json:
        """Return the members and their values."""
        del within
        return {
            "enum": self._kind.__qualname__,
            "members": [
                [name, _known(member._value_, self._make)]
                for name, member in self._kind.__members__.items()
            ],
        }


def _known(value: object, make: Maker) -> Json:
    """Return what is known of a member's value, which may be anything."""
    try:
        return make(Any).encode(value, _INLINE)
    except Misfit:
        return type_name(type(value))


class LiteralCodec(Codec):
    """One of some values."""

    def __init__(self, values: tuple[Any, ...], make: Maker) -> None:
        # typing takes Literal[1, 2] and Literal[2, 1] for the same.
        self.label = f"Literal[{', '.join(sorted(map(repr, values)))}]"
        self._codecs = [make(type(value)) for value in values]
        self._values = values
        try:
            self._documents = [
                [type(value).__name__, codec.encode(value, _INLINE)]
                for value, codec in zip(values, self._codecs, strict=True)
            ]
        except Misfit as misfit:
            raise UnsupportedError(f"{self.label}: {misfit.message}") from misfit

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the value, with its type."""
        del to
        for document, known in zip(self._documents, self._values, strict=True):
            if type(value) is type(known) and value == known:
                return document
        raise Misfit(f"wanted one of {self.label[8:-1]}, found {shown(value)}")

    def decode(self, document: Json, at: Packing) -> Any:
        """Return the value."""
        del at
        for known, value in zip(self._documents, self._values, strict=True):
            # Not with ==, to which 1 and True are the same.
            if document_bytes(known) == document_bytes(document):
                return value
        raise Misfit(f"{document!r} is none of {self.label[8:-1]}")

    def describe(self, within: tuple[object, ...]) -> Json:
        """Return the values, sorted: their order means nothing."""
        del within
        return {"literal": sorted(self._documents, key=document_bytes)}
