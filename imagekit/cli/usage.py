"""Parsing of options, with errors in our own words."""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

from imagekit.nearest import suggestion


class UsageError(Exception):
    """The command line is wrong."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


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
            formatter_class=argparse.RawDescriptionHelpFormatter,
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
