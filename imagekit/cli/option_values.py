"""Values of inputs from texts of the command line: by type, or as JSON."""

from __future__ import annotations

import collections.abc as abstract
import datetime as dt
import decimal
import enum
import json
import pathlib
import re
import types
import typing
import uuid
from collections.abc import Callable
from typing import Any

from imagekit.errors import ImageKitError

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])")
_BOOLS = {"true": True, "false": False}
_QUALIFIERS = ("Final", "NotRequired", "ReadOnly", "Required")


def read(annotation: Any, text: str) -> Any:
    """Return the value of that type that *text* stands for.

    Texts, numbers, dates, times, paths and names of enums are written as they are, all
    else as JSON.

    Raises:
        ValueError: it stands for none.
        TypeError: likewise.
        ImageKitError: it names a file or folder that is not there.
    """
    annotation = plain(annotation)
    if annotation in _TEXTS:
        return _TEXTS[annotation](text)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _enum(annotation, text)
    members = _members(annotation)
    if members:
        return _first(members, text)
    if typing.get_origin(annotation) is typing.Literal:
        return _literal(annotation, text)
    if _is_ours(annotation):
        return annotation.from_local(text)
    if annotation is Any or annotation is object:
        try:
            return json.loads(text)
        except ValueError:
            return text
    return shaped(annotation, _json(text))


def shaped(annotation: Any, value: Any) -> Any:
    """Return what JSON gave as a value of that type: with tuples, dataclasses, dates.

    What can't be one is left as it is, for the task's signature to refuse.

    Raises:
        TypeError: it can't be one.
        ValueError: likewise.
        ImageKitError: as for :func:`read`.
    """
    annotation = plain(annotation)
    if annotation is Any or annotation is object or annotation is str:
        return value
    members = _members(annotation)
    if members:
        return _member(members, value)
    if typing.get_origin(annotation) is typing.Literal:
        return value if value in typing.get_args(annotation) else _literal_of(value)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _enum(annotation, value)
    if isinstance(value, str):
        return read(annotation, value)
    if type(value) in (int, float) and annotation in _NUMBERS:
        return _NUMBERS[annotation](value)
    if isinstance(value, list):
        return _from_list(annotation, value)
    if isinstance(value, dict):
        return _from_dict(annotation, value)
    return value


def type_text(annotation: Any) -> str:
    """Return how people write a type."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__
    return re.sub(r"\b(?:\w+\.)+", "", str(annotation))


def plain(annotation: Any) -> Any:
    """Return the type itself, without names for it and what qualifies it."""
    while True:
        origin = typing.get_origin(annotation)
        if origin is typing.Annotated or getattr(origin, "_name", "") in _QUALIFIERS:
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        elif type(origin).__name__ == "TypeAliasType":
            alias: Any = origin
            annotation = alias.__value__[typing.get_args(annotation)]
        else:
            return annotation


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error.msg} at character {error.pos + 1}") from None


def _enum(annotation: Any, value: Any) -> Any:
    if isinstance(value, str) and value in annotation.__members__:
        return annotation[value]
    for member in annotation:
        if member.value == value or (
            isinstance(value, str) and str(member.value) == value
        ):
            return member
    names = ", ".join(annotation.__members__)
    raise ValueError(f"{value!r} is none of {names}")


def _first(members: tuple[Any, ...], text: str) -> Any:
    """Return *text* as the first member of a union that it can be; str comes last."""
    if type(None) in members and text in ("null", "None", ""):
        return None
    ordered = sorted(
        (item for item in members if item is not type(None)), key=lambda t: t is str
    )
    errors = []
    for member in ordered:
        try:
            return read(member, text)
        except (ValueError, TypeError, ImageKitError) as error:
            errors.append(str(error))
    raise ValueError("; ".join(dict.fromkeys(errors)))


def _member(members: tuple[Any, ...], value: Any) -> Any:
    """Return what JSON gave as the first member of a union that it can be."""
    if value is None or (isinstance(value, str) and str in members):
        return value
    if isinstance(value, str):
        return _first(members, value)
    for member in members:
        try:
            found = shaped(member, value)
        except (ValueError, TypeError, ImageKitError):
            continue
        if found is not value or type(value) is member:
            return found
    return value


def _literal(annotation: Any, text: str) -> Any:
    choices = typing.get_args(annotation)
    for choice in choices:
        if text == (choice.name if isinstance(choice, enum.Enum) else str(choice)):
            return choice
    raise ValueError(f"it is none of {', '.join(map(str, choices))}")


def _literal_of(value: Any) -> Any:
    raise ValueError(f"{value!r} is none of the literals")


def _from_list(annotation: Any, value: list[Any]) -> Any:
    origin = typing.get_origin(annotation) or annotation
    arguments = typing.get_args(annotation)
    if origin is tuple and arguments and arguments[-1] is not ...:
        if len(arguments) != len(value):
            raise ValueError(f"{len(arguments)} items are wanted, {len(value)} found")
        return tuple(map(shaped, arguments, value))
    names = getattr(annotation, "_fields", None)
    if names is not None:  # a named tuple
        if len(value) > len(names):
            raise ValueError(f"{len(names)} items are wanted, {len(value)} found")
        return _from_dict(annotation, dict(zip(names, value, strict=False)))
    if origin in _MAPPINGS:  # pairs: keys of JSON's objects are texts
        key, kind = arguments or (Any, Any)
        return {shaped(key, k): shaped(kind, v) for k, v in value}
    if origin in _COLLECTIONS:
        kind = arguments[0] if arguments else Any
        return _COLLECTIONS[origin](shaped(kind, item) for item in value)
    return _of_library(annotation, value)


def _from_dict(annotation: Any, value: dict[str, Any]) -> Any:
    origin = typing.get_origin(annotation) or annotation
    if origin in _MAPPINGS:
        key, kind = typing.get_args(annotation) or (Any, Any)
        return {shaped(key, k): shaped(kind, v) for k, v in value.items()}
    if hasattr(annotation, "model_validate"):
        return annotation.model_validate(value)
    if not _has_fields(origin):
        return _of_library(annotation, value)
    hints = typing.get_type_hints(origin, include_extras=True)
    for name in value:
        if name not in hints:
            known = ", ".join(hints)
            raise ValueError(f"no {name!r} in {origin.__name__}, which has {known}")
    return origin(**{name: shaped(hints[name], item) for name, item in value.items()})


def _has_fields(annotation: Any) -> bool:
    return isinstance(annotation, type) and (
        hasattr(annotation, "__dataclass_fields__")
        or hasattr(annotation, "_fields")
        or typing.is_typeddict(annotation)
    )


def _of_library(annotation: Any, value: Any) -> Any:
    """Return an array or a frame of lists; anything else as it is."""
    kind: Any = typing.get_origin(annotation) or annotation
    if not isinstance(kind, type):
        return value
    match kind.__module__.partition(".")[0], kind.__name__:
        case "numpy", "ndarray":
            import numpy as np  # noqa: PLC0415  (the user's)

            return np.asarray(value, dtype=_item_type(annotation))
        case "pandas", "DataFrame" | "Series":
            return kind(value)
        case _:
            return value


def _item_type(annotation: Any) -> Any:
    """Return the type of the items of a NumPy array, if the annotation says it."""
    shape_and_type = typing.get_args(annotation)
    found = typing.get_args(shape_and_type[1]) if len(shape_and_type) > 1 else ()
    return found[0] if found and isinstance(found[0], type) else None


def _members(annotation: Any) -> tuple[Any, ...]:
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return tuple(map(plain, typing.get_args(annotation)))
    return ()


def _is_ours(annotation: Any) -> bool:
    return isinstance(annotation, type) and hasattr(annotation, "from_local")


def _bool(text: str) -> bool:
    if text.lower() not in _BOOLS:
        raise ValueError("it is neither true nor false")
    return _BOOLS[text.lower()]


def _decimal(value: str | float) -> decimal.Decimal:
    try:
        return decimal.Decimal(str(value))
    except decimal.InvalidOperation:
        raise ValueError("it is no number") from None


def _span(text: str) -> dt.timedelta:
    """Return a span of time: seconds, ``1h30m`` or ``2d``."""
    try:
        return dt.timedelta(seconds=float(text))
    except ValueError:
        pass  # with units, then
    parts = _SPAN.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("write seconds, or 1h30m, 90s, 2d")
    return dt.timedelta(seconds=sum(float(n) * _UNITS[unit] for n, unit in parts))


_TEXTS: dict[Any, Callable[[str], Any]] = {
    str: str,
    bool: _bool,
    int: int,
    float: float,
    complex: complex,
    bytes: str.encode,
    bytearray: lambda text: bytearray(text.encode()),
    decimal.Decimal: _decimal,
    uuid.UUID: uuid.UUID,
    pathlib.Path: pathlib.Path,
    pathlib.PosixPath: pathlib.PosixPath,
    pathlib.PurePosixPath: pathlib.PurePosixPath,
    pathlib.PureWindowsPath: pathlib.PureWindowsPath,
    dt.datetime: dt.datetime.fromisoformat,
    dt.date: dt.date.fromisoformat,
    dt.time: dt.time.fromisoformat,
    dt.timedelta: _span,
}
_NUMBERS: dict[Any, Callable[[float], Any]] = {
    decimal.Decimal: _decimal,
    dt.timedelta: lambda value: dt.timedelta(seconds=value),
}
_COLLECTIONS: dict[Any, Callable[[Any], Any]] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    abstract.Sequence: list,
    abstract.MutableSequence: list,
    abstract.Collection: list,
    abstract.Iterable: list,
    abstract.Set: set,
    abstract.MutableSet: set,
}
_MAPPINGS = (dict, abstract.Mapping, abstract.MutableMapping)
