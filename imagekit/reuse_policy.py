"""``ReusePolicy``: containers that stay for the next task."""

from __future__ import annotations

import warnings
from datetime import timedelta

from imagekit.errors import DefinitionError
from imagekit.records import dataclass
from imagekit.timeout import duration

#: Seconds that a container stays at least.
_LEAST_TTL = 30


@dataclass(frozen=True, slots=True)
class ReusePolicy:
    """A pool of containers that an environment's tasks share.

    Even the process may be shared: what a task leaves in memory, the next one finds.

    Attributes:
        replicas: how many containers; a pair is the fewest and the most. Kept as a
            pair.
        idle_ttl: how long the pool stays when nothing uses it: seconds or a timedelta,
            at least 30 seconds. Kept as a timedelta, as is *scaledown_ttl*.
        concurrency: how many tasks run in one container at once. More than one is for
            async tasks.
        scaledown_ttl: how long one container has to be idle before it is given up
            while there are more than the fewest.
    """

    replicas: int | tuple[int, int] = 2
    idle_ttl: int | timedelta = _LEAST_TTL
    concurrency: int = 1
    scaledown_ttl: int | timedelta = _LEAST_TTL

    def __post_init__(self) -> None:
        object.__setattr__(self, "replicas", _replicas(self.replicas))
        for name in ("idle_ttl", "scaledown_ttl"):
            kept = duration(name, getattr(self, name), least=_LEAST_TTL)
            object.__setattr__(self, name, kept)
        if not _is_count(self.concurrency) or self.concurrency < 1:
            raise DefinitionError(
                f"wanted a concurrency of at least 1, found {self.concurrency!r}"
            )
        if self.max_replicas == 1 and self.concurrency == 1:
            warnings.warn(
                "one replica with a concurrency of 1 runs one task at a time: what a "
                "task calls of its own environment runs in a container that is not "
                "kept; use 2 replicas or more",
                stacklevel=3,
            )

    @property
    def min_replicas(self) -> int:
        """The fewest containers."""
        return _replicas(self.replicas)[0]

    @property
    def max_replicas(self) -> int:
        """The most containers."""
        return _replicas(self.replicas)[1]

    @property
    def ttl(self) -> timedelta:
        """How long the pool stays when nothing uses it."""
        return duration("idle_ttl", self.idle_ttl)

    def get_scaledown_ttl(self) -> timedelta:
        """Return how long a container has to be idle before it is given up."""
        return duration("scaledown_ttl", self.scaledown_ttl)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _replicas(value: object) -> tuple[int, int]:
    match value:
        case bool():
            pass
        case int(count) if count >= 1:
            return count, count
        case (int(fewest), int(most)) if 0 <= fewest <= most and most >= 1:
            return fewest, most
        case _:
            pass
    raise DefinitionError(
        f"wanted replicas as a number from 1 on, or as a pair of the fewest and the "
        f"most, found {value!r}",
        hint="write replicas=2 or replicas=(1, 4)",
    )
