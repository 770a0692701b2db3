"""Values without an annotation: their documents say of which type they are."""

from __future__ import annotations

import functools
from typing import Any

from imagekit.values.class_names import class_name, find_class, findable
from imagekit.values.codec import Codec, Json, Maker, Packing
from imagekit.values.collections import decode_items, encode_items
from imagekit.values.misfit import Misfit, found
from imagekit.values.scalars import (
    float_document,
    float_of,
    int_document,
    int_of,
    text_document,
    text_of,
)

HINT = (
    "None, numbers, texts, bytes, dates, paths, enums, collections, dataclasses, "
    "pydantic models, File, Dir, arrays and frames can be passed on"
)


class AnyCodec(Codec):
    """``Any``: a value of any type that documents know."""

    label = "Any"

    def __init__(self, make: Maker) -> None:
        self._make = make

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the value, with what tells its type."""
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return text_document(value)
        if kind is int:
            return int_document(value)
        if kind is float:
            return float_document(value)
        if kind is list:
            return encode_items(self, value, to)
        annotation = named_types().get(kind.__name__)
        if annotation is not None and _is(kind, annotation):
            codec = self._make(annotation)
            return {"$type": kind.__name__, "value": codec.encode(value, to)}
        library = _of_library(kind)
        if library is not None:
            codec = self._make(kind)
            return {"$type": library, "value": codec.encode(value, to)}
        if _has_class(kind):
            findable(kind)
            document = self._make(kind).encode(value, to)
            return {"$class": class_name(kind, to.renamed), "value": document}
        raise Misfit(f"can't pass on {found(value)}", hint=HINT)

    def decode(self, document: Json, at: Packing) -> Any:
        """Return the value, of the type that the document tells."""
        if isinstance(document, list):
            return decode_items(self, document, at)
        if not isinstance(document, dict):
            return document
        if "$text" in document:
            return text_of(document)
        if "$int" in document:
            return int_of(document)
        if "$float" in document:
            return float_of(document)
        if "$type" in document:
            return self._make(_annotation(document["$type"])).decode(
                document["value"], at
            )
        kind = find_class(document["$class"], at.renamed)
        if kind is None or not _has_class(kind):
            raise Misfit(
                f"class {document['$class']} is not loaded here",
                hint="annotate the value with its class, or import its module",
            )
        return self._make(kind).decode(document["value"], at)

    def describe(self, within: tuple[object, ...]) -> Json:
        """Return the name of the type."""
        del within
        return self.label


@functools.cache
def named_types() -> dict[str, Any]:
    """Return the annotations that documents name, by the names of their classes."""
    import datetime as dt  # noqa: PLC0415  (slow to import)
    import decimal  # noqa: PLC0415
    import pathlib  # noqa: PLC0415
    import uuid  # noqa: PLC0415

    from imagekit.io import Dir, File  # noqa: PLC0415

    return {
        "tuple": tuple[Any, ...],
        "set": set[Any],
        "frozenset": frozenset[Any],
        "dict": dict[Any, Any],
        "bytes": bytes,
        "bytearray": bytearray,
        "complex": complex,
        "Decimal": decimal.Decimal,
        "UUID": uuid.UUID,
        "date": dt.date,
        "datetime": dt.datetime,
        "time": dt.time,
        "timedelta": dt.timedelta,
        "PurePosixPath": pathlib.PurePosixPath,
        "PureWindowsPath": pathlib.PureWindowsPath,
        "PosixPath": pathlib.Path,
        "File": File,
        "Dir": Dir,
    }


def _is(kind: type, annotation: Any) -> bool:
    """Return whether *kind*, which has the name, is the class of *annotation*."""
    of = getattr(annotation, "__origin__", annotation)
    return kind is of or (kind.__name__ == "PosixPath" and issubclass(kind, of))


def _of_library(kind: type) -> str | None:
    """Return how documents name a class of NumPy or pandas; None for others."""
    library = kind.__module__.partition(".")[0]
    if library == "numpy":
        return f"numpy.{kind.__name__}"
    if library == "pandas" and kind.__name__ in ("DataFrame", "Series"):
        return f"pandas.{kind.__name__}"
    return None


def _annotation(name: str) -> Any:
    """Return the annotation that a document names."""
    from imagekit.values.arrays import needed  # noqa: PLC0415  (only where wanted)

    library, _, attribute = name.partition(".")
    if library in ("numpy", "pandas") and attribute.isidentifier():
        kind = getattr(needed(library), attribute, None)
        if not isinstance(kind, type):
            raise Misfit(f"{library} has no class {attribute!r} here")
        return kind
    return named_types()[name]


def _has_class(kind: type) -> bool:
    """Return whether documents name the class of such values."""
    import enum  # noqa: PLC0415  (slow to import)

    from imagekit.values.classes import is_dataclass  # noqa: PLC0415
    from imagekit.values.models import is_model  # noqa: PLC0415

    return (
        issubclass(kind, enum.Enum)
        or is_dataclass(kind)
        or is_named_tuple(kind)
        or is_model(kind)
    )


def is_named_tuple(kind: object) -> bool:
    """Return whether *kind* is a named tuple."""
    return (
        isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")
    )
