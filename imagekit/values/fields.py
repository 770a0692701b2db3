"""The types of a class's fields, with type variables filled in."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

from imagekit.values.misfit import UnsupportedError, type_name


def field_types(of: type, arguments: tuple[Any, ...] = ()) -> dict[str, Any]:
    """Return the annotations of *of* and its bases, resolved.

    Args:
        of: the class.
        arguments: its type arguments; ``(int,)`` for ``Box[int]``.

    Raises:
        UnsupportedError: one names something that is not there at run time.
    """
    hints = resolved_hints(of)
    return _of_class(of, arguments, hints)


def resolved_hints(of: Any) -> dict[str, Any]:
    """Return ``typing.get_type_hints`` of a class or function.

    Raises:
        UnsupportedError: one can't be evaluated.
    """
    try:
        return typing.get_type_hints(of, include_extras=True)
    except NameError as error:
        raise UnsupportedError(
            f"the annotations of {of.__qualname__} name {error.name!r}, which is not "
            "there when it runs",
            hint="import it outside of 'if TYPE_CHECKING', at the top of the module",
        ) from error
    except Exception as error:
        raise UnsupportedError(
            f"the annotations of {of.__qualname__} can't be evaluated: "
            f"{type(error).__name__}: {error}"
        ) from error


def _of_class(
    of: type, arguments: tuple[Any, ...], hints: Mapping[str, Any]
) -> dict[str, Any]:
    variables: tuple[Any, ...] = getattr(of, "__parameters__", ())
    if arguments and len(arguments) != len(variables):
        raise UnsupportedError(f"{type_name(of)} has {len(variables)} type variables")
    values = dict(zip(variables, arguments, strict=False))
    found: dict[str, Any] = {}
    for base in reversed(vars(of).get("__orig_bases__", of.__bases__)):
        origin = typing.get_origin(base) or base
        if isinstance(origin, type) and origin not in (object, typing.Generic):
            passed = tuple(substituted(item, values) for item in typing.get_args(base))
            if origin is not typing.Protocol:
                found.update(_of_class(origin, passed, hints_of(origin, hints)))
    for name in own_annotations(of):
        if name in hints:
            found[name] = substituted(hints[name], values)
    return found


def hints_of(base: type, hints: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the annotations of *base*; those of a subclass may replace them."""
    return hints if not own_annotations(base) else resolved_hints(base)


def own_annotations(of: type) -> list[str]:
    """Return the names that the body of *of* annotates."""
    if hasattr(of, "__record__"):
        return list(of.__annotations__)
    import inspect  # noqa: PLC0415  (slow to import)

    try:
        return list(inspect.get_annotations(of))
    except NameError:  # Python 3.14 evaluates; get_type_hints says it better
        return []


def substituted(annotation: Any, values: Mapping[Any, Any]) -> Any:
    """Return *annotation* with the type variables replaced that have values."""
    if isinstance(annotation, typing.TypeVar):
        return values.get(annotation, annotation)
    inner = getattr(annotation, "__parameters__", ())
    if not values or not inner or isinstance(annotation, type):
        return annotation
    return annotation[tuple(values.get(variable, variable) for variable in inner)]
