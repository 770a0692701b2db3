"""Errors as people read them on stderr, and as JSON has them."""

from __future__ import annotations

import os
import sys
from typing import Any

from imagekit.cli.output import Output, has_colour
from imagekit.errors import (
    BuildFailedError,
    ImageKitError,
    LayoutError,
    RegistryError,
    ValidationError,
)


def report(error: ImageKitError, output: Output) -> None:
    """Show *error*: message, place, log, hint; and put it into the document."""
    output.document["error"] = as_json(error)
    if isinstance(error, ValidationError) and len(error.faults) == 1:
        error = error.faults[0]
    if isinstance(error, ValidationError):
        show(f"the image has {len(error.faults)} faults")
        for fault in error.faults:
            text = "\n    ".join(_lines(fault))
            _print(f"\n  - {text}")
            if fault.hint:
                _print(f"    hint: {fault.hint}")
        return
    message, *rest = _lines(error)
    show(message, hint=error.hint, rest=rest)


def show(
    message: str, *, hint: str | None = None, rest: list[str] | None = None
) -> None:
    """Print an error, what belongs to it, and a hint behind a blank line."""
    _print(f"{_paint('error:', '1;31')} {message}")
    for line in rest or []:
        _print(f"  {line}" if line else "")
    if hint:
        _print(f"\n{_paint('hint:', '1;36')} {hint}")


def report_unexpected(error: BaseException, output: Output) -> None:
    """Show an exception that no one foresaw, with all that helps to find its cause."""
    import traceback  # noqa: PLC0415  (only for faults of ours)

    name = type(error).__name__
    output.document["error"] = {"kind": name, "message": str(error), "unexpected": True}
    traceback.print_exception(error)
    show(
        f"unexpected {name}: this is a fault in imagekit",
        hint="please report it, with the lines above and your definition",
    )


def as_json(error: ImageKitError) -> dict[str, Any]:
    """Return *error* as a JSON object."""
    document: dict[str, Any] = {
        "kind": type(error).__name__,
        "message": error.message,
        "at": error.origin,
        "hint": error.hint,
    }
    match error:
        case ValidationError():
            document["faults"] = [as_json(fault) for fault in error.faults]
        case RegistryError():
            document |= {"status": error.status, "code": error.code, "url": error.url}
        case BuildFailedError():
            document |= {"exit_code": error.exit_code, "log_tail": error.log_tail}
        case LayoutError():
            document["issues"] = list(error.issues)
        case _:
            pass
    if notes := _notes(error):
        document["notes"] = notes
    return document


def _lines(error: ImageKitError) -> list[str]:
    lines = [error.message]
    if error.origin:
        lines.append(f"at {_short(error.origin)}")
    if isinstance(error, BuildFailedError) and error.log_tail:
        lines += ["", *error.log_tail.rstrip().splitlines()]
    for note in _notes(error):
        lines += ["", *note.rstrip().splitlines()]
    return lines


def _notes(error: ImageKitError) -> list[str]:
    """Return the notes, but for that which is the log and shown as such."""
    notes: list[str] = getattr(error, "__notes__", [])
    if isinstance(error, BuildFailedError):
        return [note for note in notes if note != error.log_tail.rstrip()]
    return list(notes)


def _short(origin: str) -> str:
    """Return *origin* relative to the working directory, if it is below."""
    return origin.removeprefix(f"{os.getcwd()}{os.sep}")


def _paint(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if has_colour(sys.stderr) else text


def _print(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201  (stderr is talk)
