"""What is said of an exception: its message, its traceback, its arguments."""

from __future__ import annotations

import os

#: Characters of a text that stands for a value that is not kept.
REPR = 2000
#: Characters of messages and tracebacks.
TEXT = 1 << 16
#: How far causes of causes are followed.
_DEPTH = 50
_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep


def shown(value: object) -> str:
    """Return the start of ``repr(value)``, whatever *value* is."""
    try:
        return repr(value)[:REPR]
    except Exception as error:  # noqa: BLE001  (a user's __repr__ may raise anything)
        return f"<{type(value).__qualname__}, no repr: {type(error).__name__}>"


def message_text(error: BaseException) -> str:
    """Return the start of ``str(error)``, whatever *error* is."""
    try:
        return str(error)[:TEXT]
    except Exception as other:  # noqa: BLE001  (a user's __str__ may raise anything)
        return f"<no message: {type(other).__name__}>"


def traceback_text(error: BaseException) -> str:
    """Return what Python prints, without imagekit's own lines."""
    import traceback  # noqa: PLC0415  (slow to import)

    def clean(part: traceback.TracebackException, left: int) -> None:
        part.stack = traceback.StackSummary.from_list(
            [line for line in part.stack if not line.filename.startswith(_OURS)]
        )
        others = [part.__cause__, part.__context__, *(part.exceptions or ())]
        for other in others:
            if other is not None and left:
                clean(other, left - 1)

    try:
        whole = traceback.TracebackException.from_exception(error, compact=True)
        clean(whole, _DEPTH)
        text = "".join(whole.format())
    except Exception as other:  # noqa: BLE001  (users' exceptions may raise when printed)
        kind, problem = type(error).__qualname__, type(other).__name__
        return f"{kind} (printing it raised {problem})\n"
    # The end says what was raised.
    return text if len(text) <= TEXT else f"…{text[-TEXT:]}"
