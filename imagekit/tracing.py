"""Groups and traces: what a run's tree shows beside the calls of tasks."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from imagekit.context import Active, activated, active
from imagekit.run_events import Ended, Kind, Started

_F = TypeVar("_F", bound=Callable[..., Any])


@contextmanager
def group(name: str) -> Iterator[None]:
    """Show the calls in this block as a group of that *name*.

    Outside of tasks it does nothing.
    """
    state = active()
    if state is None:
        yield
        return
    with _recorded(state, "group", name):
        yield


def trace(func: _F) -> _F:
    """Record the calls of a function, with their times, in the tree of the run.

    It may be a function, an async function, a generator or an async generator. Outside
    of tasks it is called as it is.
    """
    import inspect  # noqa: PLC0415  (only where something is traced)

    if inspect.isasyncgenfunction(func):
        wrapper = _traced_async_generator(func)
    elif inspect.iscoroutinefunction(func):
        wrapper = _traced_async(func)
    elif inspect.isgeneratorfunction(func):
        wrapper = _traced_generator(func)
    else:
        wrapper = _traced_function(func)
    return functools.wraps(func)(wrapper)  # type: ignore[return-value]  # same shape


def _traced_function(func: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        state = active()
        if state is None:
            return func(*args, **kwargs)
        with _recorded(state, "trace", func.__name__):
            return func(*args, **kwargs)

    return wrapper


def _traced_async(func: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        state = active()
        if state is None:
            return await func(*args, **kwargs)
        with _recorded(state, "trace", func.__name__):
            return await func(*args, **kwargs)

    return wrapper


def _traced_generator(func: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        state = active()
        if state is None:
            return (yield from func(*args, **kwargs))
        # What is done between two items belongs to the caller, not to the trace.
        with timed(state, "trace", func.__name__):
            return (yield from func(*args, **kwargs))

    return wrapper


def _traced_async_generator(func: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        state = active()
        if state is None:
            async for item in func(*args, **kwargs):
                yield item
            return
        with timed(state, "trace", func.__name__):
            async for item in func(*args, **kwargs):
                yield item

    return wrapper


@contextmanager
def _recorded(state: Active, kind: Kind, name: str) -> Iterator[None]:
    with timed(state, kind, name) as inside, activated(inside):
        yield


@contextmanager
def timed(state: Active, kind: Kind, name: str) -> Iterator[Active]:
    """Record the begin and end of the block, as an action of *state*.

    What the block calls belongs to it only where the state that it gets is made active.
    """
    action = state.next_id()
    started = Started(
        id=action, parent=state.id, kind=kind, name=name, time=time.time()
    )
    state.recorder.record(started)
    try:
        yield state.inside(action)
    except GeneratorExit:
        # Whoever read a generator needed no more of it.
        state.recorder.record(Ended(id=action, time=time.time(), status="succeeded"))
        raise
    except BaseException as error:
        from imagekit.failures import encode_failure  # noqa: PLC0415  (only failures)

        failed = Ended(
            id=action,
            time=time.time(),
            status="failed" if isinstance(error, Exception) else "aborted",
            error=encode_failure(error),
        )
        state.recorder.record(failed)
        raise
    state.recorder.record(Ended(id=action, time=time.time(), status="succeeded"))
