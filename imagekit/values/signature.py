"""The parameters of a function, and their types."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from imagekit.records import dataclass
from imagekit.values.misfit import UnsupportedError

if TYPE_CHECKING:
    import inspect


class _Missing:
    """The type of :data:`MISSING`."""

    def __repr__(self) -> str:
        return "MISSING"


#: Stands for the default of a parameter that has none.
MISSING: Final = _Missing()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """An input of a task.

    Attributes:
        annotation: its type, resolved; ``Any`` where there is none.
        default: its default, or :data:`MISSING`.
    """

    name: str
    annotation: Any
    default: Any = MISSING

    @property
    def has_default(self) -> bool:
        """Whether it may be left out."""
        return self.default is not MISSING


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a function takes and returns.

    Attributes:
        binder: puts arguments in their places.
        output: type of the result; ``Any`` where there is none.
    """

    binder: inspect.Signature
    parameters: tuple[Parameter, ...]
    output: Any


def read_signature(func: Callable[..., Any]) -> Signature:
    """Return what *func* takes and returns.

    Raises:
        UnsupportedError: no task can have such a signature, or an annotation names what
            is not there.
    """
    import inspect  # noqa: PLC0415  (slow to import)

    from imagekit.values.fields import resolved_hints  # noqa: PLC0415  (with typing)

    # It stands for the function even where a decorator wraps it.
    signature = inspect.signature(func)
    hints = resolved_hints(inspect.unwrap(func))
    parameters = []
    for item in signature.parameters.values():
        if item.kind in (item.VAR_POSITIONAL, item.VAR_KEYWORD):
            raise UnsupportedError(
                f"{func.__qualname__} takes {item}, but a task needs its inputs named",
                hint="take a list or a dict",
            )
        if item.kind is item.POSITIONAL_ONLY:
            raise UnsupportedError(
                f"{func.__qualname__} takes {item.name!r} by position only, but a task "
                "gets its inputs by name",
                hint="remove the '/' from the signature",
            )
        given = item.default is not item.empty
        annotation = hints.get(item.name, Any)
        if given and item.default is None:
            annotation = _with_none(annotation)
        parameters.append(
            Parameter(
                name=item.name,
                annotation=annotation,
                default=item.default if given else MISSING,
            )
        )
    return Signature(
        binder=signature,
        parameters=tuple(parameters),
        output=hints.get("return", Any),
    )


def _with_none(annotation: Any) -> Any:
    """Return *annotation* or None: ``x: int = None`` is written often, and meant so."""
    import typing  # noqa: PLC0415

    return annotation if annotation is Any else typing.Optional[annotation]  # noqa: UP045  (made, not written)
