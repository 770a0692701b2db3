"""Environment variables of tasks that run in this process.

A process has one environment. So a task's variables are set while it runs, for all of
the process; a task that wants another value for one of them waits until those that
have it are done, unless one of these called it: then it has its value while it runs.
Containers have an environment each, and wait for nobody.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from imagekit.records import dataclass
from imagekit.task_errors import RuntimeUserError


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holder:
    """A running task, by run and action, and what it has set."""

    run: str
    action: str
    variables: tuple[tuple[str, str], ...]

    def called(self, other: _Holder) -> bool:
        """Return whether *other* is part of this task."""
        return self.run == other.run and (
            other.action == self.action or other.action.startswith(f"{self.action}.")
        )


class ProcessVariables:
    """Sets variables for tasks, and puts back what was there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders: list[_Holder] = []
        self._waiting: list[_Holder] = []
        self._before: dict[str, str | None] = {}
        self._changed: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    @asynccontextmanager
    async def set(
        self, run: str, action: str, variables: Mapping[str, str]
    ) -> AsyncIterator[None]:
        """Have *variables* in the environment.

        Raises:
            RuntimeUserError: it would wait for tasks that wait for it.
        """
        if not variables:
            yield
            return
        holder = _Holder(run=run, action=action, variables=tuple(variables.items()))
        await self._enter(holder)
        try:
            yield
        finally:
            self._leave(holder)

    async def _enter(self, holder: _Holder) -> None:
        changed = asyncio.Event()
        place = (asyncio.get_running_loop(), changed)
        with self._lock:
            self._waiting.append(holder)
            self._changed.append(place)
        try:
            while True:
                changed.clear()
                with self._lock:
                    others = self._in_the_way(holder)
                    if not others:
                        self._holders.append(holder)
                        self._apply()
                        return
                    self._check(holder, others)
                await changed.wait()
        finally:
            with self._lock:
                self._waiting.remove(holder)
                self._changed.remove(place)

    def _leave(self, holder: _Holder) -> None:
        with self._lock:
            self._holders.remove(holder)
            self._apply()
            for loop, event in self._changed:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(event.set)

    def _in_the_way(self, holder: _Holder) -> list[_Holder]:
        wanted = dict(holder.variables)
        return [
            other
            for other in self._holders
            if not other.called(holder)
            and any(wanted.get(name, value) != value for name, value in other.variables)
        ]

    def _check(self, holder: _Holder, others: list[_Holder]) -> None:
        """Raise if those in the way can't go on before *holder* has run."""
        reached: list[_Holder] = []
        ahead = list(others)
        while ahead:
            other = ahead.pop()
            if other in reached:
                continue
            reached.append(other)
            for waiting in self._waiting:
                if waiting != holder and other.called(waiting):
                    ahead += self._in_the_way(waiting)
        blocking = next((other for other in reached if other.called(holder)), None)
        if blocking is None:
            return
        names = ", ".join(
            repr(name)
            for name, value in holder.variables
            if any(dict(other.variables).get(name, value) != value for other in others)
        )
        raise RuntimeUserError(
            f"tasks that run at the same time want different values of {names}, and "
            "wait for each other",
            hint='run them in containers: with_runcontext(mode="container")',
        )

    def _apply(self) -> None:
        """Make the environment what the holders want, the latest of each first."""
        wanted: dict[str, str] = {}
        for holder in self._holders:
            wanted.update(holder.variables)
        for name in set(self._before) - set(wanted):
            before = self._before.pop(name)
            if before is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = before
        for name, value in wanted.items():
            self._before.setdefault(name, os.environ.get(name))
            os.environ[name] = value


#: The one of this process, as its environment is one.
PROCESS = ProcessVariables()
