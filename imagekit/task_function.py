"""What is known of a function before it is called: its code, its place, its kind.

Everything is read from the function's code, since importing ``inspect`` takes longer
than defining a hundred tasks.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

from imagekit.errors import DefinitionError
from imagekit.origin import Origin

# The flags of code objects, as in ``inspect``.
_VARARGS, _VARKEYWORDS = 0x04, 0x08
_GENERATOR, _COROUTINE, _ASYNC_GENERATOR = 0x20, 0x80, 0x200


def code_of(func: object) -> CodeType:
    """Return the code of a function that can be a task; that of a wrapped one, inside.

    Raises:
        TypeError: it is no function.
        DefinitionError: no task can be made of it.
    """
    inner = func
    while hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__
    if not isinstance(inner, FunctionType) or not callable(func):
        raise TypeError(f"a task is made of a function, found {func!r}")
    code = inner.__code__
    name = getattr(func, "__name__", "")
    problem = None
    if not name.isidentifier():
        problem = "has no name"
    elif code.co_flags & (_GENERATOR | _ASYNC_GENERATOR):
        problem = "is a generator, and has no result"
    if problem:
        raise DefinitionError(
            f"a task can't be made of {name!r}: it {problem}",
            hint="write a function with 'def' or 'async def' that returns",
            origin=str(origin_of(code)),
        )
    return code


def is_async(func: Callable[..., Any]) -> bool:
    """Return whether a call of a function gives something to await."""
    if isinstance(func, FunctionType) and not vars(func):
        return bool(func.__code__.co_flags & _COROUTINE)
    import inspect  # noqa: PLC0415  (it is decorated: it may be marked as async)

    return inspect.iscoroutinefunction(func)


def origin_of(code: CodeType) -> Origin:
    """Return where code was written."""
    file = code.co_filename
    if file.startswith("<"):
        return Origin(file, code.co_firstlineno, os.getcwd())
    location = os.path.abspath(file)
    return Origin(location, code.co_firstlineno, os.path.dirname(location))


def check_ignored_inputs(func: Callable[..., Any], names: tuple[str, ...]) -> None:
    """Check that a function has the inputs that its cache ignores.

    Raises:
        DefinitionError: it has no input of a name.
    """
    code = code_of(func)
    if code.co_flags & (_VARARGS | _VARKEYWORDS) or hasattr(func, "__wrapped__"):
        return  # the code does not name all of its inputs
    inputs = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    for name in names:
        if name not in inputs:
            raise DefinitionError(
                f"wanted ignored_inputs of the cache to be inputs, found {name!r}",
                hint=f"the inputs are {', '.join(inputs)}" if inputs else None,
                origin=str(origin_of(code)),
            )
