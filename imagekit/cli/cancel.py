"""Cancel a run on Kubernetes: its pods end, and so does its record.

Run as a command, this returns when no pod of the run is left.
"""

from __future__ import annotations

from argparse import Namespace

from imagekit.cli.output import Output
from imagekit.cli.usage import Parser

EXAMPLES = """\
examples:
  imagekit cancel r20250611-142530-3f9a61
"""


def configure(parser: Parser) -> None:
    """Add the command's options."""
    parser.add_argument("name", metavar="NAME", help="the run")


def run(arguments: Namespace, output: Output) -> int:
    """Cancel the run."""
    from imagekit.cluster.client import client_cluster  # noqa: PLC0415  (not for --help)
    from imagekit.initialization import configuration  # noqa: PLC0415
    from imagekit.remote.cancelling import cancel_run  # noqa: PLC0415
    from imagekit.remote.known_run import find_run  # noqa: PLC0415

    configured = configuration()
    cluster = client_cluster(configured.settings(), configured)
    found = find_run(cluster, arguments.name)
    was_needed = cancel_run(cluster, found)
    output.document |= {"name": arguments.name, "cancelled": was_needed}
    output.talk(
        f"run {arguments.name} cancelled"
        if was_needed
        else f"run {arguments.name} was over already"
    )
    return 0
