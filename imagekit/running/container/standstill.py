"""Finds out whether a call would wait for itself.

Calls hold places in pools while tasks that they have called wait for places, maybe in
the same pools. If no place is held by a call that can go on, none will ever be free.
Such a standstill comes about only when one more call begins to wait. So each is checked
before it does.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator
from typing import TypeAlias

from imagekit.context import ActionID

#: A run and an action in it.
_Name: TypeAlias = tuple[str, str]


class Waits:
    """Who holds places in pools, and who waits for one; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holding: defaultdict[Hashable, Counter[_Name]] = defaultdict(Counter)
        #: How many of the calls that wait for a pool an action has called, itself or
        #: through others.
        self._called: defaultdict[Hashable, Counter[_Name]] = defaultdict(Counter)

    def begin(self, pool: Hashable, action: ActionID) -> bool:
        """Note that *action* waits for a place in *pool*, which has none that is free.

        Returns:
            Whether there can be one some time; otherwise nothing is noted.
        """
        callers = tuple(_callers(action))
        with self._lock:
            self._called[pool].update(callers)
            if not self._stand_still(pool):
                return True
            self._forget(pool, callers)
            return False

    def end(self, pool: Hashable, action: ActionID) -> None:
        """Note that *action*, which :meth:`begin` has let wait, does so no more."""
        with self._lock:
            self._forget(pool, tuple(_callers(action)))

    def hold(self, pool: Hashable, action: ActionID) -> None:
        """Note that *action* has a place in *pool*."""
        with self._lock:
            self._holding[pool][action.run_name, action.name] += 1

    def leave(self, pool: Hashable, action: ActionID) -> None:
        """Note that *action* has given its place back."""
        with self._lock:
            _subtract(self._holding, pool, ((action.run_name, action.name),))

    def _forget(self, pool: Hashable, callers: tuple[_Name, ...]) -> None:
        _subtract(self._called, pool, callers)

    def _stand_still(self, pool: Hashable) -> bool:
        """Return whether no place of *pool* will ever be free."""
        still = set(self._called)
        while True:
            going = {item for item in still if self._goes_on(item, still)}
            if pool in going:
                return False
            if not going:
                return True
            still -= going

    def _goes_on(self, pool: Hashable, still: set[Hashable]) -> bool:
        """Return whether a place of *pool* is held by nothing that waits for *still*.

        One that nobody holds is about to be free: its container has ended.
        """
        holding = self._holding.get(pool)
        return not holding or any(
            all(holder not in self._called[other] for other in still)
            for holder in holding
        )


def _callers(action: ActionID) -> Iterator[_Name]:
    """Yield the actions that *action* is part of: its id begins with theirs."""
    name = action.name
    while dot := name.rfind(".") + 1:
        name = name[: dot - 1]
        yield action.run_name, name


def _subtract(
    counters: defaultdict[Hashable, Counter[_Name]],
    pool: Hashable,
    names: tuple[_Name, ...],
) -> None:
    counter = counters[pool]
    for name in names:
        counter[name] -= 1
        if not counter[name]:
            del counter[name]
    if not counter:
        del counters[pool]


#: Those of this process, as its pools are shared by runs.
WAITS = Waits()
