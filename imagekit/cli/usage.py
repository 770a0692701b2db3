"""Parsing of options, with errors in our own words."""

from __future__ import annotations

import argparse
import os
import re
from typing import NoReturn

from imagekit.nearest import suggestion


class UsageError(Exception):
    """The command line is wrong."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def _formatter(prog: str) -> argparse.HelpFormatter:
    """Return what argparse would, without the imports to which it leaves the width."""
    try:
        columns = int(os.environ.get("COLUMNS") or os.get_terminal_size().columns)
    except (OSError, ValueError):
        columns = 80
    return argparse.RawDescriptionHelpFormatter(prog, width=columns - 2)


class Parser(argparse.ArgumentParser):
    """Parser of one command's options; they are never abbreviated."""

    def __init__(
        self, *, prog: str, description: str | None, epilog: str | None
    ) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=_formatter,
        )

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with the option that was perhaps meant."""
        hint = f"'{self.prog} --help' shows what there is"
        wrong = re.match(r"unrecognized arguments: (-\S*)", message)
        if wrong:
            known = [
                option
                for action in self._actions
                for option in action.option_strings
                if option.startswith("--")
            ]
            near = suggestion(wrong[1].partition("=")[0], known, prefix="--")
            hint = near if near.startswith("did") else hint
        raise UsageError(message, hint=hint)


def comma_separated(text: str) -> list[str]:
    """Return the items of a list in one argument."""
    return [item.strip() for item in text.split(",") if item.strip()]
