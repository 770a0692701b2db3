"""Options of the command line that are a task's inputs, made from its signature."""

from __future__ import annotations

import datetime as dt
import enum
import json
import types
import typing
from argparse import SUPPRESS, ArgumentTypeError, BooleanOptionalAction, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagekit.cli.usage import Parser

if TYPE_CHECKING:
    from imagekit.interface import Interface, Parameter

#: Keeps inputs apart from options of the command of the same name.
_PREFIX = "input:"
_TEXTS: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: int,
    float: float,
    bytes: str.encode,
    Path: Path,
    dt.datetime: dt.datetime.fromisoformat,
    dt.date: dt.date.fromisoformat,
    dt.time: dt.time.fromisoformat,
}


def add_inputs(parser: Parser, interface: Interface) -> None:
    """Add an option for each parameter of a task."""
    taken = {name for action in parser._actions for name in action.option_strings}  # noqa: SLF001  (argparse has no other way to ask)
    group = parser.add_argument_group("inputs of the task")
    for parameter in interface.parameters:
        _add(group, parameter, taken)


def inputs_of(arguments: Namespace) -> dict[str, Any]:
    """Return the inputs that were given."""
    return {
        name.removeprefix(_PREFIX): value
        for name, value in vars(arguments).items()
        if name.startswith(_PREFIX)
    }


def _add(group: Any, parameter: Parameter, taken: set[str]) -> None:
    name = parameter.name.replace("_", "-")
    # An input that is called like an option of the command.
    flag = f"--input-{name}" if f"--{name}" in taken else f"--{name}"
    common: dict[str, Any] = {
        "dest": f"{_PREFIX}{parameter.name}",
        "default": SUPPRESS,
        "required": not parameter.has_default,
        "help": _help(parameter),
    }
    annotation = _plain(parameter.annotation)
    if annotation is bool:
        group.add_argument(flag, action=BooleanOptionalAction, **common)
        return
    group.add_argument(
        flag,
        metavar=parameter.name.upper(),
        type=reader(annotation),
        **common,
    )


def _help(parameter: Parameter) -> str:
    text = _name(parameter.annotation)
    if parameter.has_default:
        text += f" (default: {parameter.default!r})"
    return text.replace("%", "%%")


def reader(annotation: Any) -> Callable[[str], Any]:
    """Return what makes a value of that type from a text.

    Texts, numbers, dates, paths and names of enums are written as they are, all else
    as JSON.
    """

    def read(text: str) -> Any:
        try:
            return _read(annotation, text)
        except (ValueError, TypeError, KeyError) as error:
            raise ArgumentTypeError(
                f"wanted {_name(annotation)}, found {text!r} ({error})"
            ) from error

    return read


def _read(annotation: Any, text: str) -> Any:
    annotation = _plain(annotation)
    if annotation in _TEXTS:
        return _TEXTS[annotation](text)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return annotation[text] if text in annotation.__members__ else annotation(text)
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
    return shaped(annotation, json.loads(text))


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
            return _read(member, text)
        except (ValueError, TypeError, KeyError) as error:
            errors.append(str(error))
    raise ValueError("; ".join(errors))


def _literal(annotation: Any, text: str) -> Any:
    for choice in typing.get_args(annotation):
        if text == str(choice):
            return choice
    raise ValueError("it is none of these")


def shaped(annotation: Any, value: Any) -> Any:
    """Return what JSON gave as a value of that type: with tuples, dataclasses, dates.

    Raises:
        TypeError: it can't be one.
        ValueError: likewise.
    """
    annotation = _plain(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(value, list) and origin in (list, tuple, set, frozenset):
        if origin is tuple and arguments[-1:] != (...,):
            items = zip(arguments, value, strict=True)
            return tuple(shaped(kind, item) for kind, item in items)
        kind = arguments[0] if arguments else Any
        return origin(shaped(kind, item) for item in value)
    if isinstance(value, dict):
        if origin is dict:
            key, kind = arguments
            return {shaped(key, k): shaped(kind, v) for k, v in value.items()}
        hints = _fields(annotation)
        if hints is not None:
            return annotation(**{k: shaped(hints[k], v) for k, v in value.items()})
    if isinstance(value, str) and annotation not in (str, Any, object):
        return _read(annotation, value)
    return value


def _fields(annotation: Any) -> dict[str, Any] | None:
    """Return the fields of a class that is made of them: a dataclass, a model."""
    if not isinstance(annotation, type):
        return None
    if hasattr(annotation, "__dataclass_fields__") or hasattr(
        annotation, "model_fields"
    ):
        return typing.get_type_hints(annotation)
    return None


def _members(annotation: Any) -> tuple[Any, ...]:
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return ()


def _plain(annotation: Any) -> Any:
    """Return the type itself, without what ``Annotated`` and ``NewType`` add."""
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        else:
            return annotation


def _is_ours(annotation: Any) -> bool:
    return isinstance(annotation, type) and hasattr(annotation, "from_local")


def _name(annotation: Any) -> str:
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__
    return str(annotation).replace("typing.", "")
