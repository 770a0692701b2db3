"""Follow a run on Kubernetes again, from its beginning, and print what it returns.

Whoever began it: all there is to know of a run is on the cluster. Ctrl-C ends this
command, and not the run.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace

from imagekit.cli.output import Output
from imagekit.cli.usage import Parser

EXAMPLES = """\
examples:
  imagekit runs attach r20250611-142530-3f9a61
"""


def configure(parser: Parser) -> None:
    """Add the command's options."""
    parser.add_argument("name", metavar="NAME", help="the run")


def run(arguments: Namespace, output: Output) -> int:
    """Follow the run to its end."""
    from imagekit.attaching import remote_run  # noqa: PLC0415
    from imagekit.cli.lines import Lines  # noqa: PLC0415  (not for --help)
    from imagekit.cli.remote_runs import show_json, waited  # noqa: PLC0415
    from imagekit.cli.run_failures import reported  # noqa: PLC0415
    from imagekit.cli.run_following import EventLines  # noqa: PLC0415
    from imagekit.run import Runner  # noqa: PLC0415

    runner = Runner(listener=EventLines(output), progress=Lines(sys.stderr))
    if output.quiet or output.as_json:
        silent = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (until the end)
        runner = Runner(stream=silent)
    found = remote_run(arguments.name, runner=runner)
    record = found.follow().record
    with reported(found.task, [record], output, origin=None):
        code, result = waited(found, output)
    if code:
        return code
    view = found.details()
    output.document |= view.as_json()
    show_json(result, output)
    output.talk(f"run {view.name} {view.status}; 'imagekit runs {view.name}' shows it")
    return 0
