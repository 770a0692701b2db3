"""``Timeout``: how long a task may run, and wait to run."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeAlias

from imagekit.errors import DefinitionError
from imagekit.records import dataclass


@dataclass(frozen=True, slots=True)
class Timeout:
    """How long one attempt at a task may take. Numbers are seconds.

    Both are kept as timedeltas.

    Attributes:
        max_runtime: the longest that it may run; 0 for no bound.
        max_queued_time: the longest that it may wait before it starts; None, or 0, for
            no bound.
    """

    max_runtime: timedelta | int = timedelta(0)
    max_queued_time: timedelta | int | None = None

    def __post_init__(self) -> None:
        runtime = duration("max_runtime", self.max_runtime)
        object.__setattr__(self, "max_runtime", runtime)
        if self.max_queued_time is not None:
            queued = duration("max_queued_time", self.max_queued_time)
            object.__setattr__(self, "max_queued_time", queued or None)

    @property
    def runtime_seconds(self) -> float | None:
        """The longest that an attempt may run; None for no bound."""
        return _bound(self.max_runtime)

    @property
    def queued_seconds(self) -> float | None:
        """The longest that an attempt may wait to run; None for no bound."""
        return _bound(self.max_queued_time)


#: What tasks take as a timeout; a number is seconds to run.
TimeoutType: TypeAlias = Timeout | int | timedelta


def timeout_from_request(request: TimeoutType | None) -> Timeout | None:
    """Return the timeout that *request* means; None if it bounds nothing.

    Raises:
        DefinitionError: it is no timeout.
    """
    if request is None:
        return None
    if not isinstance(request, Timeout):
        request = Timeout(duration("a timeout", request))
    bounds = request.max_runtime or request.max_queued_time
    return request if bounds else None


def duration(name: str, value: object, *, least: int = 0) -> timedelta:
    """Return *value* as a length of time; numbers are seconds.

    Raises:
        DefinitionError: it is none, or shorter than *least* seconds.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            found = timedelta(seconds=value)
        except OverflowError:
            found = timedelta.max if value > 0 else timedelta.min
    elif isinstance(value, timedelta):
        found = value
    else:
        raise DefinitionError(
            f"wanted {name} in whole seconds or as a timedelta, found {value!r}",
            hint="write timedelta(milliseconds=...) for parts of a second",
        )
    if found < timedelta(seconds=least):
        raise DefinitionError(
            f"wanted {name} of at least {least} seconds, found {value!r}"
        )
    return found


def _bound(value: timedelta | int | None) -> float | None:
    if isinstance(value, timedelta):
        return value.total_seconds() or None
    return value or None
