"""Values that are not of their type: what was wanted, what was found, and where."""

from __future__ import annotations

from typing import Any

_SHOWN = 80


class Misfit(Exception):  # noqa: N818  (a finding on its way to the error that is raised)
    """A value does not fit; the way to it is put together as it is passed up.

    Attributes:
        message: what was wanted and what was found.
        hint: what a person can do.
        parts: steps to the value, innermost first: ``[3]``, ``.name``.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.parts: list[str] = []

    def inside(self, part: str) -> Misfit:
        """Return self, as seen from what holds the value at *part*."""
        self.parts.append(part)
        return self

    def text(self, subject: str) -> str:
        """Return the message, with the way to the value from *subject*."""
        return f"{subject}{''.join(reversed(self.parts))}: {self.message}"


class UnsupportedError(Misfit):
    """No value of such an annotation can be passed on."""


def found(value: Any) -> str:
    """Return how a message shows *value*: ``'a' (str)``."""
    name = type_name(type(value))
    return name if value is None else f"{shown(value)} ({name})"


def shown(value: object) -> str:
    """Return the start of ``repr(value)``, whatever *value* is."""
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001  (a user's __repr__ may raise anything)
        text = f"<no repr: {type(error).__name__}>"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def type_name(of: Any) -> str:
    """Return how messages and unions name an annotation or a class.

    Without its module: the main module is called otherwise in another process.
    """
    if of is type(None):
        return "None"
    if isinstance(of, type) and not hasattr(of, "__origin__"):
        return of.__qualname__
    return repr(of).replace("typing.", "").replace("collections.abc.", "")


def wanted(what: str, value: object, *, hint: str | None = None) -> Misfit:
    """Return the misfit of *value* where *what* was wanted."""
    return Misfit(f"wanted {what}, found {found(value)}", hint=hint)
