"""Check what imagekit finds on this machine."""

from __future__ import annotations

from argparse import Namespace
from typing import Literal, TypeAlias

from imagekit.cli.output import Output, has_colour
from imagekit.cli.usage import Parser

#: ``ok``, ``warning`` (something can't be done here), ``fault`` (nothing can).
State: TypeAlias = Literal["ok", "warning", "fault"]

_MARKS: dict[str, tuple[str, str]] = {
    "ok": ("ok", "32"),
    "warning": ("warning", "33"),
    "fault": ("fault", "31"),
}


def configure(_parser: Parser) -> None:
    """Add nothing: there are no options."""


def run(_arguments: Namespace, output: Output) -> int:
    """Print what each check found; fail if one found a fault."""
    import sys  # noqa: PLC0415  (beside its use)

    from imagekit.cli.checks import CHECKS  # noqa: PLC0415  (not for --help)
    from imagekit.settings import load_settings  # noqa: PLC0415

    settings = load_settings()
    rows = output.document["checks"] = []
    painted = has_colour(sys.stdout)
    for title, check in CHECKS:
        found = check(settings)
        rows.append(
            {
                "check": title,
                "state": found.state,
                "found": found.text,
                "hint": found.hint,
            }
        )
        mark, colour = _MARKS[found.state]
        mark = f"{mark:7}"
        if painted:
            mark = f"\x1b[{colour}m{mark}\x1b[0m"
        first, *more = found.text.splitlines()
        output.line(f"{mark}  {title:11}  {first}")
        for line in [*more, *([f"hint: {found.hint}"] if found.hint else [])]:
            output.line(f"{'':7}  {'':11}  {line}")
    return int(any(row["state"] == "fault" for row in rows))
