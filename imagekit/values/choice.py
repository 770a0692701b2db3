"""The codec of an annotation."""

from __future__ import annotations

import collections.abc as abstract
import datetime as dt
import decimal
import enum
import functools
import pathlib
import types
import typing
import uuid
from typing import Any

from imagekit.io import Dir, File
from imagekit.values import collections as concrete
from imagekit.values import files, scalars, times
from imagekit.values.arrays import numpy_codec
from imagekit.values.classes import (
    DataclassCodec,
    NamedTupleCodec,
    TypedDictCodec,
    is_dataclass,
)
from imagekit.values.codec import Codec, Json, Packing
from imagekit.values.dynamic import HINT, AnyCodec, is_named_tuple
from imagekit.values.frames import pandas_codec
from imagekit.values.misfit import UnsupportedError, type_name
from imagekit.values.models import ModelCodec, is_model
from imagekit.values.named import EnumCodec, LiteralCodec
from imagekit.values.unions import UnionCodec


def codec_of(annotation: Any) -> Codec:
    """Return the codec of *annotation*, which is resolved.

    Raises:
        UnsupportedError: its values can't be passed on.
    """
    try:
        return _cached(annotation)
    except TypeError:  # what Annotated holds need not be hashable
        return _codec(annotation)


@functools.lru_cache(maxsize=1024)
def _cached(annotation: Any) -> Codec:
    return _codec(annotation)


_SCALARS: dict[Any, Codec] = {
    None: scalars.NoneCodec(),
    type(None): scalars.NoneCodec(),
    bool: scalars.BoolCodec(),
    int: scalars.IntCodec(),
    float: scalars.FloatCodec(),
    complex: scalars.ComplexCodec(),
    str: scalars.TextCodec(),
    typing.LiteralString: scalars.TextCodec(),
    bytes: scalars.BytesCodec(bytes),
    bytearray: scalars.BytesCodec(bytearray),
    decimal.Decimal: scalars.DecimalCodec(),
    uuid.UUID: scalars.UuidCodec(),
    dt.date: times.DateCodec(),
    dt.datetime: times.MomentCodec(dt.datetime),
    dt.time: times.MomentCodec(dt.time),
    dt.timedelta: times.SpanCodec(),
    pathlib.PurePosixPath: scalars.PurePathCodec(pathlib.PurePosixPath),
    pathlib.PureWindowsPath: scalars.PurePathCodec(pathlib.PureWindowsPath),
    pathlib.Path: files.PathCodec(),
    pathlib.PosixPath: files.PathCodec(),
    File: files.FileCodec(),
    Dir: files.DirCodec(),
}


def scalar_types() -> dict[str, Any]:
    """Return the types without parts, by the names that describe them."""
    found: dict[str, Any] = {}
    for annotation, codec in _SCALARS.items():
        if annotation is not None:
            found.setdefault(codec.label, annotation)
    return found


def _codec(annotation: Any) -> Codec:
    if annotation is Any or annotation is object:
        return AnyCodec(codec_of)
    try:
        scalar = _SCALARS.get(annotation)
    except TypeError:
        scalar = None
    return (
        scalar
        or _transparent(annotation)
        or _special(annotation)
        or _collection(annotation)
        or _class(annotation)
        or _unsupported(annotation)
    )


def _unsupported(annotation: Any) -> Codec:
    raise UnsupportedError(
        f"values of the annotation {type_name(annotation)} can't be passed on",
        hint=HINT,
    )


class LazyCodec(Codec):
    """A named alias, which may refer to itself."""

    def __init__(self, alias: Any, value: typing.Callable[[], Any]) -> None:
        self.label = str(alias)
        self._alias = alias
        self._value = value

    @functools.cached_property
    def _codec(self) -> Codec:
        return codec_of(self._value())

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the document."""
        return self._codec.encode(value, to)

    def decode(self, document: Json, at: Packing) -> Any:
        """Return the value."""
        return self._codec.decode(document, at)

    def describe(self, within: tuple[object, ...]) -> Json:
        """Return what the alias stands for."""
        if self._alias in within:
            return {"again": self.label}
        return self._codec.describe((*within, self._alias))


#: Say something of a value that makes no difference to what it is.
_QUALIFIERS = {
    "Annotated",
    "ClassVar",
    "Final",
    "InitVar",
    "NotRequired",
    "ReadOnly",
    "Required",
}


def _transparent(annotation: Any) -> Codec | None:
    """Return the codec of what a name or a qualifier stands for."""
    supertype = getattr(annotation, "__supertype__", None)
    if supertype is not None:
        return codec_of(supertype)
    if isinstance(annotation, typing.TypeVar):
        if annotation.__constraints__:
            return UnionCodec(tuple(map(codec_of, annotation.__constraints__)))
        bound = annotation.__bound__
        return codec_of(Any if bound is None else bound)
    origin = typing.get_origin(annotation)
    if getattr(origin, "_name", getattr(origin, "__name__", None)) in _QUALIFIERS:
        return codec_of(typing.get_args(annotation)[0])
    if type(annotation).__name__ == "TypeAliasType":
        return LazyCodec(annotation, lambda: annotation.__value__)
    if type(origin).__name__ == "TypeAliasType":
        arguments = typing.get_args(annotation)
        return LazyCodec(annotation, lambda: origin.__value__[arguments])
    return None


def _special(annotation: Any) -> Codec | None:
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is typing.Union or origin is types.UnionType:
        return UnionCodec(tuple(map(codec_of, arguments)))
    if origin is typing.Literal:
        return LiteralCodec(arguments, codec_of)
    return None


def _collection(annotation: Any) -> Codec | None:
    origin = typing.get_origin(annotation) or annotation
    arguments = typing.get_args(annotation)
    if origin is tuple and annotation is not tuple and ... not in arguments:
        # The bare typing.Tuple has no arguments either, but it is not tuple[()].
        if arguments or annotation is not typing.Tuple:  # noqa: UP006
            return concrete.FixedTupleCodec(tuple(map(codec_of, arguments)))
        arguments = (Any,)
    if origin is dict:
        key, item = arguments or (Any, Any)
        return concrete.DictCodec(codec_of(key), codec_of(item))
    if origin in (abstract.Mapping, abstract.MutableMapping):
        return codec_of(dict[arguments or (Any, Any)])  # type: ignore[misc]  # made, not written
    if not isinstance(origin, type) or origin not in _OF_ITEMS:
        return None
    item = codec_of(arguments[0] if arguments else Any)
    if origin in _LISTS:
        return concrete.ListCodec(origin, item)
    if origin in _SETS:
        return concrete.SetCodec(origin, item)
    return _choice(origin, item)


_LISTS: tuple[Any, ...] = (list, tuple)
_SETS: tuple[Any, ...] = (set, frozenset)
_ABSTRACT: dict[type, tuple[Any, ...]] = {
    abstract.Sequence: _LISTS,
    abstract.MutableSequence: (list,),
    abstract.Set: _SETS,
    abstract.MutableSet: (set,),
    abstract.Collection: _LISTS + _SETS,
    abstract.Iterable: _LISTS + _SETS,
}
_OF_ITEMS = frozenset({*_LISTS, *_SETS, *_ABSTRACT})


def _choice(origin: type, item: Codec) -> Codec:
    kinds = _ABSTRACT[origin]
    names = ", ".join(kind.__name__ for kind in kinds)
    return concrete.ChoiceCodec(
        f"{origin.__name__}[{item.label}]",
        {
            kind: concrete.ListCodec(kind, item)
            if kind in _LISTS
            else concrete.SetCodec(kind, item)
            for kind in kinds
        },
        f"pass one of: {names}",
    )


def _class(annotation: Any) -> Codec | None:
    kind = typing.get_origin(annotation) or annotation
    if not isinstance(kind, type):
        return None
    if issubclass(kind, enum.Enum):
        return EnumCodec(kind, codec_of)
    if typing.is_typeddict(kind):
        return TypedDictCodec(kind, codec_of)
    if is_named_tuple(kind):
        return NamedTupleCodec(kind, codec_of)
    if is_model(kind):
        return ModelCodec(kind, codec_of)
    library = numpy_codec(annotation) or pandas_codec(annotation, codec_of)
    if library is not None:
        return library
    if is_dataclass(kind):
        return DataclassCodec(kind, typing.get_args(annotation), codec_of)
    return None
