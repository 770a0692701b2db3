"""What is said of an exception: its message, its traceback, its arguments.

Tracebacks are of the user's code. What runs it, imagekit and the event loop, would take
most of the lines and say nothing: such lines are left out where they only lead to the
user's. Where an exception comes from one of them, they stay.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from imagekit.errors import ImageKitError

if TYPE_CHECKING:
    import traceback

#: Characters of a text that stands for a value that is not kept.
REPR = 2000
#: Characters of messages and tracebacks.
TEXT = 1 << 16
#: How far causes of causes are followed.
_DEPTH = 50
_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_LIBRARY = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
#: What runs coroutines, threads and the blocks of context managers.
_MACHINERY = (
    f"{_LIBRARY}asyncio{os.sep}",
    f"{_LIBRARY}concurrent{os.sep}futures{os.sep}",
    f"{_LIBRARY}threading.py",
    f"{_LIBRARY}contextlib.py",
)
_CAUSED = "\nThe above exception was the direct cause of the following exception:\n\n"


class RemoteTraceback(Exception):  # noqa: N818  (it stands for a text; it is no error)
    """Where an exception was raised, in another process.

    It is the cause of the first exception in the chain, so that Python prints it.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


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
    """Return what Python prints, without the lines that only lead to the user's."""
    import traceback  # noqa: PLC0415  (slow to import)

    try:
        whole = traceback.TracebackException.from_exception(error, compact=True)
        text = _text(whole, error)
    except Exception as other:  # noqa: BLE001  (users' exceptions may raise when printed)
        kind, problem = type(error).__qualname__, type(other).__name__
        return f"{kind} (printing it raised {problem})\n"
    # The end says what was raised.
    return text if len(text) <= TEXT else f"…{text[-TEXT:]}"


def trim_traceback(error: BaseException) -> None:
    """Leave the lines that only lead to the user's out of *error*, and its causes."""
    for other in _related(error):
        steps = list(_steps(other.__traceback__))
        files = [step.tb_frame.f_code.co_filename for step in steps]
        rest: TracebackType | None = None
        for step, kept in reversed([*zip(steps, _kept(files, other), strict=True)]):
            if kept:
                rest = TracebackType(rest, step.tb_frame, step.tb_lasti, step.tb_lineno)
        other.__traceback__ = rest


def first_of_chain(error: BaseException) -> BaseException:
    """Return what Python prints first of *error* and its causes."""
    return list(_chain(error))[-1]


def _text(whole: traceback.TracebackException, error: BaseException) -> str:
    _clean(whole, error, _DEPTH)
    first = first_of_chain(error)
    if not isinstance(first, RemoteTraceback):
        return "".join(whole.format())
    # It is a text already; quoted in this one, it would be quoted again in the next.
    part, before = whole, whole
    while (following := _next(part)) is not None:
        part, before = following, part
    before.__cause__ = None
    if _is_bare(whole, first.text):
        return first.text
    return f"{first.text}{_CAUSED}{''.join(whole.format())}"


def _next(
    part: traceback.TracebackException,
) -> traceback.TracebackException | None:
    context = None if part.__suppress_context__ else part.__context__
    return part.__cause__ or context


def _is_bare(part: traceback.TracebackException, text: str) -> bool:
    """Return whether it says no more than *text* does."""
    notes: list[str] = getattr(part, "__notes__", None) or []
    others = [_next(part), *(part.exceptions or ())]
    return (
        not part.stack
        and all(str(note) in text for note in notes)
        and all(_is_bare(other, text) for other in others if other)
    )


def _clean(
    part: traceback.TracebackException, error: BaseException, depth: int
) -> None:
    import traceback  # noqa: PLC0415  (slow to import)

    kept = _kept([line.filename for line in part.stack], error)
    part.stack = traceback.StackSummary.from_list(
        [line for line, keep in zip(part.stack, kept, strict=True) if keep]
    )
    pairs = [(part.__cause__, error.__cause__), (part.__context__, error.__context__)]
    if isinstance(error, BaseExceptionGroup):
        pairs += zip(part.exceptions or (), error.exceptions, strict=False)
    for other, of in pairs:
        if other is not None and of is not None and depth:
            _clean(other, of, depth - 1)


def _kept(files: Sequence[str], error: BaseException) -> list[bool]:
    """Return for each line of a traceback whether it says something to the user."""
    ours = [file.startswith(_OURS) for file in files]
    machinery = [file.startswith(_MACHINERY) for file in files]
    users = [not (a or b) for a, b in zip(ours, machinery, strict=True)]
    last = _last(users)
    # An error of imagekit's says what is wrong, and one of another process where it was
    # raised. Any other that comes from imagekit's own lines is a fault of theirs.
    is_fault = (
        isinstance(error, Exception)
        and not isinstance(error, ImageKitError)
        and not isinstance(first_of_chain(error), RemoteTraceback)
    )
    if not is_fault:
        last = max(last, _last(ours))
    return [user or at > last for at, user in enumerate(users)]


def _last(marks: Sequence[bool]) -> int:
    return max((at for at, mark in enumerate(marks) if mark), default=-1)


def _steps(step: TracebackType | None) -> Iterator[TracebackType]:
    while step is not None:
        yield step
        step = step.tb_next


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield *error* and its causes, from what Python prints last to the first."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        context = None if following.__suppress_context__ else following.__context__
        following = following.__cause__ or context


def _related(error: BaseException) -> list[BaseException]:
    """Return *error* with all its causes, contexts and members, each once."""
    found: dict[int, BaseException] = {}
    ahead: list[BaseException | None] = [error]
    while ahead:
        other = ahead.pop()
        if other is None or id(other) in found:
            continue
        found[id(other)] = other
        ahead += [other.__cause__, other.__context__]
        if isinstance(other, BaseExceptionGroup):
            ahead += other.exceptions
    return list(found.values())
