"""``RetryStrategy``: how often a task is tried again, and when."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Protocol

from imagekit.errors import DefinitionError
from imagekit.records import dataclass

#: Seconds before the first retry, what each further one waits longer, and the most.
DEFAULT_BACKOFF = 0.5
DEFAULT_FACTOR = 2.0
DEFAULT_MAX_BACKOFF = 60.0


class Random(Protocol):
    """Where jitter comes from; :class:`random.Random` and :mod:`random` are some."""

    def random(self) -> float:
        """Return a number from 0 to less than 1."""


@dataclass(frozen=True, slots=True)
class RetryStrategy:
    """How often a task that fails is tried again, and how long to wait before.

    Attributes:
        count: retries after the first attempt; 0 for none.
        backoff: seconds, or a timedelta, before the first retry; by default 0.5. Kept
            in seconds.
        backoff_factor: how many times longer each further retry waits; by default 2.
        max_backoff: the longest wait, as *backoff*; by default a minute, or *backoff*
            if that is longer.
    """

    count: int
    backoff: float | timedelta | None = None
    backoff_factor: float | None = None
    max_backoff: float | timedelta | None = None

    def __post_init__(self) -> None:
        count: object = self.count  # users pass anything
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise DefinitionError(
                f"wanted a number of retries from 0 on, found {count!r}"
            )
        for name in ("backoff", "max_backoff"):
            object.__setattr__(self, name, _seconds(name, getattr(self, name)))
        factor = self.backoff_factor
        if factor is not None and not (_is_number(factor) and factor >= 1):
            raise DefinitionError(
                f"wanted a backoff_factor from 1 on, found {factor!r}",
                hint="a factor of 1 waits equally long before each retry",
            )

    def delay(self, attempt: int, random: Random) -> float:
        """Return the seconds to wait after a failed attempt.

        A random part of up to half is taken off, so that tasks which failed together
        don't come back together.

        Args:
            attempt: number of the attempt that failed, from 1.
            random: where jitter comes from.
        """
        first = DEFAULT_BACKOFF if self.backoff is None else _plain(self.backoff)
        factor = DEFAULT_FACTOR if self.backoff_factor is None else self.backoff_factor
        most = max(DEFAULT_MAX_BACKOFF, first)
        if self.max_backoff is not None:
            most = _plain(self.max_backoff)
        try:
            grown = first * float(factor) ** (attempt - 1)
        except OverflowError:
            grown = most if first else 0.0
        return min(grown, most) * (1 - random.random() / 2)


def retries_from_request(request: int | RetryStrategy) -> RetryStrategy:
    """Return the strategy that *request* means; a number is one of retries.

    Raises:
        DefinitionError: it is neither.
    """
    return request if isinstance(request, RetryStrategy) else RetryStrategy(request)


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def _plain(seconds: float | timedelta) -> float:
    return seconds.total_seconds() if isinstance(seconds, timedelta) else seconds


def _seconds(name: str, value: object) -> float | None:
    """Return a length of time in seconds."""
    if value is None:
        return None
    found = value.total_seconds() if isinstance(value, timedelta) else value
    if not isinstance(found, int | float) or not _is_number(found) or found < 0:
        raise DefinitionError(
            f"wanted {name} in seconds or as a timedelta, from 0 on, found {value!r}"
        )
    return float(found)
