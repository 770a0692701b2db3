"""Show a past run, with all that it called."""

from __future__ import annotations

from argparse import Namespace

from imagekit.cli import runs
from imagekit.cli.output import Output
from imagekit.cli.usage import Parser

EXAMPLES = """\
examples:
  imagekit runs show r20250611-142530-3f9a61
"""


def configure(parser: Parser) -> None:
    """Add the command's options."""
    parser.add_argument("name", metavar="NAME", help="the run to show")
    runs.add_logs(parser)


def run(arguments: Namespace, output: Output) -> int:
    """Print the run, or its logs."""
    runs.show(arguments.name, arguments.logs, output)
    return 0
