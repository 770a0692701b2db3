"""``map()``: one task, called once for each of many inputs."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from imagekit.context import activate, active
from imagekit.errors import DefinitionError
from imagekit.task import TaskTemplate, checked_task
from imagekit.tracing import timed

if TYPE_CHECKING:
    import asyncio
    import contextvars

__all__ = ["map"]

_R = TypeVar("_R")
_END = object()


class _Map:
    """``map(task, inputs)`` blocks; ``async for ... in map.aio(...)`` does not."""

    @overload
    def __call__(
        self,
        func: TaskTemplate[..., Coroutine[Any, Any, _R]]
        | functools.partial[Coroutine[Any, Any, _R]],
        *args: Iterable[Any],
        group_name: str | None = None,
        concurrency: int = 0,
        return_exceptions: Literal[False],
    ) -> Iterator[_R]: ...

    @overload
    def __call__(
        self,
        func: TaskTemplate[..., _R] | functools.partial[_R],
        *args: Iterable[Any],
        group_name: str | None = None,
        concurrency: int = 0,
        return_exceptions: Literal[False],
    ) -> Iterator[_R]: ...

    @overload
    def __call__(
        self,
        func: TaskTemplate[..., Any] | functools.partial[Any],
        *args: Iterable[Any],
        group_name: str | None = None,
        concurrency: int = 0,
        return_exceptions: bool = True,
    ) -> Iterator[Any]: ...

    def __call__(
        self,
        func: TaskTemplate[..., Any] | functools.partial[Any],
        *args: Iterable[Any],
        group_name: str | None = None,
        concurrency: int = 0,
        return_exceptions: bool = True,
    ) -> Iterator[Any]:
        """Call a task for each of several inputs, at the same time.

        >>> [str(item) for item in map(task, [1, 2], ["a", "b"])]  # doctest: +SKIP
        ['1 a', '2 b']

        All inputs are read, and the first calls begin, when the first result is asked
        for. Inside of a run the calls are a group of the tree. If no more results are
        asked for, the calls that run are cancelled.

        Args:
            func: a task, or ``functools.partial`` of one.
            args: values of its first input, of its second, and so on; as with Python's
                own ``map``, the shortest says how many calls there are.
            group_name: what the group is called; by default ``TASK_map``.
            concurrency: how many calls run at the same time; 0 for all.
            return_exceptions: whether a call that fails gives its exception; else it
                is raised, and the other calls are cancelled.

        Returns:
            An iterator over the results, in the order of the inputs.

        Raises:
            TypeError: *func* is no task, or there are no inputs.
            DefinitionError: *concurrency* is no such number.
        """
        calls = _Calls(func, args, group_name, concurrency, return_exceptions)
        return _blocking(calls)

    def aio(
        self,
        func: TaskTemplate[..., Any] | functools.partial[Any],
        *args: Iterable[Any],
        group_name: str | None = None,
        concurrency: int = 0,
        return_exceptions: bool = True,
    ) -> AsyncIterator[Any]:
        """Do the same, without blocking the event loop; for ``async for``."""
        return _Calls(func, args, group_name, concurrency, return_exceptions).results()


class _Calls:
    """The calls of one ``map``."""

    def __init__(
        self,
        func: object,
        args: tuple[Iterable[Any], ...],
        group_name: str | None,
        concurrency: int,
        return_exceptions: bool,
    ) -> None:
        task = func.func if isinstance(func, functools.partial) else func
        self._task = checked_task(task)
        self._call: Callable[..., Any] = self._task.aio
        if isinstance(func, functools.partial):
            self._call = functools.partial(self._call, *func.args, **func.keywords)
        if not args:
            raise TypeError(
                f"map() wants inputs for {self._task.name!r}, found none; "
                "hint: map(task, [1, 2, 3])"
            )
        given: object = concurrency  # users pass anything
        if type(given) is not int or given < 0:
            raise DefinitionError(
                f"wanted concurrency as a number from 0 on, found {given!r}",
                hint="0 runs all calls at the same time",
            )
        self._args = args
        self._group = group_name or f"{self._task.name}_map"
        self._concurrency = concurrency
        self._return_exceptions = return_exceptions

    async def results(self) -> AsyncIterator[Any]:
        """Yield the results, in order."""
        import asyncio  # noqa: PLC0415  (slow to import)

        rows = list(zip(*self._args, strict=False))
        slots = asyncio.Semaphore(self._concurrency or max(1, len(rows)))

        async def one(row: tuple[Any, ...]) -> Any:
            async with slots:
                return await self._call(*row)

        with ExitStack() as stack:
            context = self._context(stack)
            running = [asyncio.create_task(one(row), context=context) for row in rows]
            stack.callback(_cancel, running)
            try:
                for task in running:
                    yield await self._result(task)
            finally:
                _cancel(running)
                await asyncio.gather(*running, return_exceptions=True)

    async def _result(self, task: asyncio.Task[Any]) -> Any:
        try:
            return await task
        except Exception as error:
            if not self._return_exceptions:
                raise
            return error

    def _context(self, stack: ExitStack) -> contextvars.Context:
        """Return the context of the calls, which belong to a group of the run."""
        import contextvars  # noqa: PLC0415  (only here)

        context = contextvars.copy_context()
        state = active()
        if state is not None:
            # Not active here: between two results, the caller's own code runs.
            inside = stack.enter_context(timed(state, "group", self._group))
            context.run(activate, inside)
        return context


def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()


def _blocking(calls: _Calls) -> Iterator[Any]:
    """Yield the results of *calls*, which run in a thread with a loop of its own."""
    pump = _Pump(calls)
    try:
        while (item := pump.next()) is not _END:
            yield item
    finally:
        pump.stop()


class _Pump:
    """Reads results in a thread, with the context variables of the one that asks."""

    def __init__(self, calls: _Calls) -> None:
        import contextvars  # noqa: PLC0415  (only here)
        import queue  # noqa: PLC0415  (only here)
        import threading  # noqa: PLC0415  (only here)

        self._calls = calls
        self._items: queue.SimpleQueue[tuple[Any, BaseException | None]] = (
            queue.SimpleQueue()
        )
        self._begun = threading.Event()
        self._task: asyncio.Task[Any] | None = None
        run = contextvars.copy_context().run
        self._thread = threading.Thread(
            target=run, args=(self._run,), name="imagekit-map", daemon=True
        )
        self._thread.start()

    def next(self) -> Any:
        """Return the next result, or the mark of the end."""
        item, error = self._items.get()
        if error is not None:
            raise error
        return item

    def stop(self) -> None:
        """Cancel what runs, and wait until it has ended."""
        self._begun.wait()
        if self._task is not None:
            with suppress(RuntimeError):  # it has ended: its loop is closed
                self._task.get_loop().call_soon_threadsafe(self._task.cancel)
        self._thread.join()

    def _run(self) -> None:
        import asyncio  # noqa: PLC0415  (slow to import)

        last: BaseException | None = None
        try:
            asyncio.run(self._read())
        except BaseException as error:  # noqa: BLE001  (raised where it is waited for)
            last = error
        self._begun.set()
        self._items.put((_END, last))

    async def _read(self) -> None:
        import asyncio  # noqa: PLC0415  (see above)

        self._task = asyncio.current_task()
        self._begun.set()
        async for item in self._calls.results():
            self._items.put((item, None))


map = _Map()  # noqa: A001  (the reference's name)
