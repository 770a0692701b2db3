"""Laws: named functions that look at a builder at work, and say how it breaks them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from imagekit.testing.bench import Bench

#: Yields one line for each way in which the law is broken.
Check: TypeAlias = "Callable[[Bench], Iterable[str]]"

#: Where one fault shows in every file, the first tell as much as all of them.
_SHOWN = 12


class NotApplicableError(Exception):
    """A law does not apply to a builder, or not to a base; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """What is asked of builders.

    Attributes:
        name: a short name, for reports and for choosing laws.
        statement: the law as a sentence.
    """

    name: str
    statement: str
    check: Check

    def broken_by(self, bench: Bench) -> str:
        """Return how the builder on *bench* breaks the law, or an empty text."""
        faults = list(self.check(bench))
        if len(faults) > _SHOWN:
            rest = len(faults) - _SHOWN
            faults = [*faults[:_SHOWN], f"and {rest} more of the kind"]
        return "\n".join(faults)


def law(name: str) -> Callable[[Check], Law]:
    """Make a law of a function; what it says of itself is the statement."""

    def make(check: Check) -> Law:
        statement = (check.__doc__ or "").partition("\n")[0].rstrip(".")
        return Law(name=name, statement=statement, check=check)

    return make
