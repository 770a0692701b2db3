"""Annotations made again from what describes them, where their classes are not loaded.

What :func:`imagekit.values.describe` says of a type is enough to read and write
documents of its values: in place of a class, there is one of the same name with the
same fields or members, and nothing else of it.
"""

from __future__ import annotations

import collections.abc as abstract
import dataclasses
import enum
import types
import typing
from collections import namedtuple
from collections.abc import Iterable, Mapping
from typing import Any

from imagekit.values.arrays import needed
from imagekit.values.choice import codec_of, scalar_types
from imagekit.values.codec import Json, Packing
from imagekit.values.misfit import Misfit, UnsupportedError

_HINT = "run it from the file that defines it"
#: The annotation that has these concrete types.
_ABSTRACT: dict[frozenset[str], Any] = {
    frozenset({"list", "tuple"}): abstract.Sequence,
    frozenset({"list"}): abstract.MutableSequence,
    frozenset({"set", "frozenset"}): abstract.Set,
    frozenset({"set"}): abstract.MutableSet,
    frozenset({"list", "tuple", "set", "frozenset"}): abstract.Collection,
}
_BUILTIN: dict[str, Any] = {"list": list, "set": set, "frozenset": frozenset}
#: Members of unions are tried in this order with texts of the command line.
_NARROW_FIRST = ("None", "bool", "int", "float", "complex", "Decimal", "UUID", "date")
_WIDE_LAST = ("PurePosixPath", "Path", "bytearray", "bytes", "str", "Any")


def annotation_of(description: Json) -> Any:
    """Return an annotation whose values have the same documents as the described ones.

    Defaults of fields are not known: all fields have to be given.

    Raises:
        UnsupportedError: there is none, as for types of other libraries that are not
            installed here.
    """
    return _annotation(description, {})


def _annotation(description: Json, within: Mapping[str, Any]) -> Any:
    if isinstance(description, str):
        return _named(description)
    match description:
        case {"again": str(name)}:
            return _again(name, within)
        case {"enum": str(name), "members": members}:
            return _enum(name, members)
        case {"literal": documents}:
            return _literal(documents)
        case {"union": members}:
            return _union(members, within)
        case {"one of": kinds}:
            return _one_of(kinds, within)
        case {"fields": _} | {"keys": _}:
            return _class(description, within)
        case _:
            return _collection(description, within)


def _class(description: Json, within: Mapping[str, Any]) -> Any:
    match description:
        case {"class": str(name), "fields": fields}:
            return _dataclass(name, fields, within)
        case {"model": str(name), "fields": fields}:
            return _dataclass(name, fields, within)
        case {"tuple": str(name), "fields": fields}:
            return _named_tuple(name, fields, within)
        case {"keys": fields, "required": required}:
            return _typed_dict(fields, required, within)
        case _:
            raise _unknown(description)


def _collection(description: Json, within: Mapping[str, Any]) -> Any:
    match description:
        case {"items": items}:
            return tuple[tuple(_annotation(item, within) for item in items)]  # type: ignore[misc]  # made, not written
        case {"dict": [key, item]}:
            return dict[_annotation(key, within), _annotation(item, within)]  # type: ignore[misc]
        case {"tuple": item}:
            return tuple[_annotation(item, within), ...]  # type: ignore[misc]
        case {"list": item} | {"set": item} | {"frozenset": item}:
            (kind,) = description
            return _BUILTIN[kind][_annotation(item, within)]
        case _:
            raise _unknown(description)


def _unknown(description: Json) -> UnsupportedError:
    return UnsupportedError(
        f"no value of the type {description!r:.80} can be made here", hint=_HINT
    )


def _named(name: str) -> Any:
    """Return a type that is described by its name."""
    if name == "Any":
        return Any
    if name in scalar_types():
        return scalar_types()[name]
    if name in ("DataFrame", "Series"):
        return _of_library("pandas", name)
    if name == "ndarray":
        return _of_library("numpy", name)
    if name.startswith("ndarray["):
        numpy = _library("numpy")
        item = _of_library("numpy", name[len("ndarray[") : -1])
        return numpy.ndarray[Any, numpy.dtype[item]]
    if name.startswith("numpy."):
        return _of_library("numpy", name.removeprefix("numpy."))
    raise _unknown(name)


def _library(name: str) -> Any:
    try:
        return needed(name)
    except Misfit as misfit:
        raise UnsupportedError(misfit.message, hint=f"install {name} here") from None


def _of_library(library: str, name: str) -> Any:
    found = getattr(_library(library), name, None)
    if not isinstance(found, type):
        raise _unknown(f"{library}.{name}")
    return found


def _again(name: str, within: Mapping[str, Any]) -> Any:
    """Return the type that holds itself; its name may have type arguments behind it."""
    found = within.get(name, within.get(name.partition("[")[0]))
    if found is None:
        raise _unknown(name)
    return found


def _dataclass(name: str, fields: Json, within: Mapping[str, Any]) -> Any:
    # Frozen, so that instances can be keys and members of sets.
    made: Any = dataclasses.make_dataclass(
        name.rpartition(".")[2],
        [field for field, _ in fields],
        frozen=True,
        namespace={"__qualname__": name},
    )
    annotations = _fields(fields, {**within, name: made})
    made.__annotations__ = annotations
    for field in dataclasses.fields(made):
        field.type = annotations[field.name]
    return made


def _named_tuple(name: str, fields: Json, within: Mapping[str, Any]) -> Any:
    made: Any = namedtuple(name.rpartition(".")[2], [field for field, _ in fields])  # type: ignore[misc]  # noqa: PYI024  (its types come later: it may hold itself)
    made.__qualname__ = name
    made.__annotations__ = _fields(fields, {**within, name: made})
    return made


def _typed_dict(fields: Json, required: list[str], within: Mapping[str, Any]) -> Any:
    keys = {
        name: typing.Required[item] if name in required else typing.NotRequired[item]
        for name, item in _fields(fields, within).items()
    }
    return typing.TypedDict("Keys", keys)  # type: ignore[operator]  # made, not written


def _fields(fields: Json, within: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _annotation(item, within) for name, item in fields}


def _enum(name: str, members: Json) -> Any:
    values: dict[str, Any] = {}
    for member, document in members:
        value = _value(document)
        # Each has a value of its own, so that each keeps its name.
        values[member] = (member,) if value in values.values() else value
    return _made_enum(name, values.items())


def _made_enum(name: str, members: Iterable[tuple[str, Any]]) -> Any:
    make: Any = enum.Enum  # its arguments are not written out, as checkers want
    made = make(name.rpartition(".")[2], list(members))
    made.__qualname__ = name
    return made


def _value(document: Json) -> Any:
    """Return the value of an enum's member, as far as it can be known here."""
    try:
        return codec_of(Any).decode(document, Packing(blobs=None))
    except (Misfit, LookupError, TypeError, ValueError):
        return repr(document)  # of a class that is not loaded


def _literal(documents: Json) -> Any:
    enums: dict[str, list[str]] = {}
    for kind, document in documents:
        if kind not in scalar_types() and kind != "NoneType":
            enums.setdefault(kind, []).append(document)
    made = {
        kind: _made_enum(kind, zip(it, it, strict=True)) for kind, it in enums.items()
    }
    values = []
    for kind, document in documents:
        if kind in made:
            values.append(made[kind][document])
        else:
            annotation = type(None) if kind == "NoneType" else _named(kind)
            codec = codec_of(annotation)
            values.append(codec.decode(document, Packing(blobs=None)))
    return typing.Literal[tuple(values)]


def _union(members: Json, within: Mapping[str, Any]) -> Any:
    ordered = sorted(members, key=_width)
    return typing.Union[tuple(_annotation(item, within) for item in ordered)]  # noqa: UP007  (made, not written)


def _width(description: Json) -> int:
    if description in _NARROW_FIRST:
        return _NARROW_FIRST.index(description)
    if description in _WIDE_LAST:
        return len(_NARROW_FIRST) + 1 + _WIDE_LAST.index(description)
    return len(_NARROW_FIRST)


def _one_of(kinds: Json, within: Mapping[str, Any]) -> Any:
    names = frozenset(name for kind in kinds for name in kind)
    (item, *_) = (item for kind in kinds for item in kind.values())
    found = _ABSTRACT.get(names)
    if found is None:
        raise _unknown({"one of": kinds})
    made: types.GenericAlias = found[_annotation(item, within)]
    return made
