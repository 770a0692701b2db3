"""Print the version."""

from __future__ import annotations

from argparse import Namespace

from imagekit import __version__
from imagekit.cli.output import Output
from imagekit.cli.usage import Parser


def configure(_parser: Parser) -> None:
    """Add nothing: there are no options."""


def run(_arguments: Namespace | None, output: Output) -> int:
    """Print the version."""
    output.document["version"] = __version__
    output.line(__version__)
    return 0
