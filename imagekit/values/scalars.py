"""Numbers, texts and other values without parts."""

from __future__ import annotations

import math
import struct
import sys
from typing import Any

from imagekit.values.binary import binary, binary_of
from imagekit.values.codec import Codec, Json, Packing
from imagekit.values.misfit import wanted

#: Larger numbers are written in base 16: Python refuses to read long decimal ones.
_BITS = 1024


def text_document(value: str) -> Json:
    """Return the document of a text."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        # Lone surrogates, as in names of files that are not UTF-8. JSON would join two
        # that happen to follow each other.
        return {"$text": value.encode("utf-8", "surrogatepass").hex()}
    return value


def text_of(document: Json) -> str:
    """Return the text of *document*."""
    if isinstance(document, str):
        return document
    return bytes.fromhex(document["$text"]).decode("utf-8", "surrogatepass")


def int_document(value: int) -> Json:
    """Return the document of a number."""
    return value if value.bit_length() <= _BITS else {"$int": hex(value)}


def int_of(document: Json) -> int:
    """Return the number of *document*."""
    if isinstance(document, dict):
        return int(document["$int"], 16)
    if type(document) is not int:
        raise TypeError(f"no int: {document!r}")
    return document


def float_document(value: float) -> Json:
    """Return the document of a number; JSON has no infinity and no NaN."""
    if math.isfinite(value):
        return value
    return {"$float": struct.pack(">d", value).hex()}


def float_of(document: Json) -> float:
    """Return the number of *document*."""
    if isinstance(document, dict):
        number: float = struct.unpack(">d", bytes.fromhex(document["$float"]))[0]
        return number
    if type(document) is not float:
        raise TypeError(f"no float: {document!r}")
    return document


def from_numpy(value: Any) -> Any:
    """Return a scalar of NumPy as Python's own where there is one; others as is."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, numpy.number | numpy.bool_):
        return value
    # A span of time is a number to NumPy.
    return value if isinstance(value, numpy.timedelta64) else value.item()


class _Scalar(Codec):
    """A type that is described by its name."""

    def describe(self, within: tuple[object, ...]) -> Json:
        """Return the name of the type."""
        del within
        return self.label


class NoneCodec(_Scalar):
    """None."""

    label = "None"

    def encode(self, value: Any, to: Packing) -> Json:
        """Return null."""
        del to
        if value is not None:
            raise wanted("None", value)

    def decode(self, document: Json, at: Packing) -> None:
        """Return None."""
        del at
        if document is not None:
            raise TypeError(f"no null: {document!r}")


class BoolCodec(_Scalar):
    """True and False."""

    label = "bool"

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the value."""
        if not to.exact:
            value = from_numpy(value)
        if value is not True and value is not False:
            raise wanted("bool", value)
        return value

    def decode(self, document: Json, at: Packing) -> bool:
        """Return the value."""
        del at
        if type(document) is not bool:
            raise TypeError(f"no bool: {document!r}")
        return document


class IntCodec(_Scalar):
    """Integers of any size."""

    label = "int"

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the number."""
        if type(value) is not int:
            plain = value if to.exact else from_numpy(value)
            if to.exact or isinstance(plain, bool) or not isinstance(plain, int):
                raise wanted("int", value)
            value = int(plain)
        return int_document(value)

    def decode(self, document: Json, at: Packing) -> int:
        """Return the number."""
        del at
        return int_of(document)


class FloatCodec(_Scalar):
    """Floats; integers that a float can be equal to become floats."""

    label = "float"

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the number."""
        return float_document(
            value if type(value) is float else _as_float(value, exact=to.exact)
        )

    def decode(self, document: Json, at: Packing) -> float:
        """Return the number."""
        del at
        return float_of(document)


def _as_float(value: Any, *, exact: bool, what: str = "float") -> float:
    plain = value if exact else from_numpy(value)
    if exact or isinstance(plain, bool) or not isinstance(plain, int | float):
        raise wanted(what, value)
    try:
        number = float(plain)
    except OverflowError:
        number = math.inf
    if isinstance(plain, int) and number != plain:
        raise wanted(what, value, hint="no float is equal to this int")
    return number


class ComplexCodec(_Scalar):
    """Complex numbers."""

    label = "complex"

    def encode(self, value: Any, to: Packing) -> Json:
        """Return both parts."""
        if type(value) is not complex:
            plain = value if to.exact else from_numpy(value)
            if not isinstance(plain, complex):
                plain = _as_float(value, exact=to.exact, what="complex")
            elif to.exact:
                raise wanted("complex", value)
            value = complex(plain)
        return [float_document(value.real), float_document(value.imag)]

    def decode(self, document: Json, at: Packing) -> complex:
        """Return the number."""
        del at
        real, imaginary = document
        return complex(float_of(real), float_of(imaginary))


class TextCodec(_Scalar):
    """Texts."""

    label = "str"

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the text."""
        if type(value) is not str:
            if to.exact or not isinstance(value, str):
                raise wanted("str", value)
            value = str.__str__(value)
        return text_document(value)

    def decode(self, document: Json, at: Packing) -> str:
        """Return the text."""
        del at
        return text_of(document)


class BytesCodec(_Scalar):
    """``bytes`` or ``bytearray``."""

    def __init__(self, kind: type[bytes | bytearray]) -> None:
        self.label = kind.__name__
        self._kind = kind

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the bytes."""
        if type(value) is not self._kind and (
            to.exact or not isinstance(value, bytes | bytearray | memoryview)
        ):
            raise wanted(self.label, value)
        return {"$bytes": binary(bytes(value), to)}

    def decode(self, document: Json, at: Packing) -> bytes | bytearray:
        """Return the bytes."""
        return self._kind(binary_of(document["$bytes"], at))


class DecimalCodec(_Scalar):
    """``decimal.Decimal``, with all its digits."""

    label = "Decimal"

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the number as text."""
        from decimal import Decimal  # noqa: PLC0415  (slow to import)

        if type(value) is not Decimal:
            if to.exact or type(value) is not int:
                raise wanted("Decimal", value)
            value = Decimal(value)
        return str(value)

    def decode(self, document: Json, at: Packing) -> object:
        """Return the number."""
        from decimal import Decimal  # noqa: PLC0415  (slow to import)

        del at
        return Decimal(document)


class UuidCodec(_Scalar):
    """``uuid.UUID``."""

    label = "UUID"

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the number as text."""
        from uuid import UUID  # noqa: PLC0415  (slow to import)

        del to
        if type(value) is not UUID:
            raise wanted("UUID", value)
        return str(value)

    def decode(self, document: Json, at: Packing) -> object:
        """Return the number."""
        from uuid import UUID  # noqa: PLC0415  (slow to import)

        del at
        return UUID(document)


class PurePathCodec(_Scalar):
    """Paths that are only names: ``PurePosixPath`` and ``PureWindowsPath``."""

    def __init__(self, kind: Any) -> None:
        self.label = kind.__name__
        self._kind = kind

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the path as text."""
        del to
        if type(value) is not self._kind:
            raise wanted(self.label, value)
        return text_document(str(value))

    def decode(self, document: Json, at: Packing) -> object:
        """Return the path."""
        del at
        return self._kind(text_of(document))
