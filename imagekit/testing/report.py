"""What a conformance run found, law by law."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Literal, TypeAlias

Outcome: TypeAlias = Literal["passed", "failed", "skipped"]

_INDENT = " " * 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one law.

    Attributes:
        law: its name.
        statement: what it asks of a builder.
        outcome: ``passed``, ``failed`` or ``skipped``.
        detail: how it was broken, or why it does not apply; empty if it passed.
        seconds: how long it took.
    """

    law: str
    statement: str
    outcome: Outcome
    detail: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        mark = "FAILED" if self.outcome == "failed" else self.outcome
        text = f"  {mark:7} {self.law}: {self.statement}"
        if self.detail:
            text += "\n" + textwrap.indent(self.detail, _INDENT)
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The results of all laws, in order; its text is for people.

    Attributes:
        builder: the name that the builder gives itself.
    """

    builder: str
    results: tuple[Result, ...]

    @property
    def ok(self) -> bool:
        """Whether no law is broken."""
        return not self.failures

    @property
    def failures(self) -> tuple[Result, ...]:
        """The laws that are broken."""
        return self._with("failed")

    @property
    def passed(self) -> tuple[Result, ...]:
        """The laws that hold."""
        return self._with("passed")

    @property
    def skipped(self) -> tuple[Result, ...]:
        """The laws that do not apply, each with its reason."""
        return self._with("skipped")

    def __str__(self) -> str:
        counts = (
            f"{len(self.passed)} passed, {len(self.failures)} failed, "
            f"{len(self.skipped)} skipped"
        )
        lines = [f"builder {self.builder!r}: {counts}", *map(str, self.results)]
        return "\n".join(lines)

    def _with(self, outcome: Outcome) -> tuple[Result, ...]:
        return tuple(item for item in self.results if item.outcome == outcome)


class ConformanceError(AssertionError):
    """A builder breaks laws; *report* has all of them."""

    def __init__(self, report: Report) -> None:
        broken = "\n".join(map(str, report.failures))
        count = len(report.failures)
        laws = "1 law" if count == 1 else f"{count} laws"
        super().__init__(f"builder {report.builder!r} breaks {laws}:\n{broken}")
        self.report = report
