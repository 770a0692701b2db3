"""How often, and after what pause, a request is sent again."""

from __future__ import annotations

import time
from collections.abc import Callable

from imagekit.errors import RegistryError
from imagekit.progress import Note, Progress
from imagekit.records import dataclass

#: A shorter pause passes without a word.
_WORTH_A_NOTE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When to give up.

    Attributes:
        tries: how often a request is sent at most, the first time included.
        first_pause: seconds before the second try; each later pause is twice as long.
        longest_pause: seconds; caps what a registry asks for, too.
        sleep: what waits.
    """

    tries: int = 5
    first_pause: float = 0.25
    longest_pause: float = 30.0
    sleep: Callable[[float], None] = time.sleep


class Attempts:
    """Counts the tries of one piece of work."""

    def __init__(self, policy: RetryPolicy, progress: Progress) -> None:
        self._policy = policy
        self._progress = progress
        self._failed = 0

    def after(self, error: RegistryError, *, again: bool | None = None) -> None:
        """Wait until it is time for another try.

        Args:
            error: how the last try failed.
            again: whether another try makes sense; by default where it is temporary.

        Raises:
            RegistryError: *error*, as there is no further try.
        """
        self._failed += 1
        possible = error.temporary if again is None else again
        if not possible or self._failed >= self._policy.tries:
            raise error
        pause = self._pause(error)
        if pause >= _WORTH_A_NOTE:
            self._progress(Note(f"{error}; trying again in {pause:.0f} s", "warning"))
        self._policy.sleep(pause)

    def _pause(self, error: RegistryError) -> float:
        from random import uniform  # noqa: PLC0415

        policy = self._policy
        if error.retry_after is not None:
            return min(error.retry_after, policy.longest_pause)
        pause = policy.first_pause * float(2 ** (self._failed - 1))
        pause = min(pause, policy.longest_pause)
        # Clients that failed together must not come back together.
        return pause * uniform(0.5, 1)  # noqa: S311  (spreads load, guards nothing)
