"""Delete deployed versions that nobody needs from Kubernetes, and runs that are over.

A version stays while it is current, among the newest, or used by a run that goes on.
Objects that imagekit did not make are left alone.
"""

from __future__ import annotations

import datetime as dt
from argparse import ArgumentTypeError, Namespace
from typing import TYPE_CHECKING

from imagekit.cli.output import Output
from imagekit.cli.usage import Parser

if TYPE_CHECKING:
    from imagekit.cluster.pruning import Pruned

EXAMPLES = """\
examples:
  imagekit prune                                 all but the 3 newest versions
  imagekit prune --keep 1 --older-than 0s        all that are not current
  imagekit prune --runs --older-than 30d         runs that ended a month ago too
  imagekit prune --dry-run                       only show what would be deleted
"""

_KEEP = 3


def configure(parser: Parser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--keep",
        metavar="N",
        type=_count,
        default=_KEEP,
        help=f"versions of each environment that stay (default: {_KEEP})",
    )
    parser.add_argument(
        "--older-than",
        metavar="AGE",
        type=_age,
        default=_age("7d"),
        help="leave what is younger, such as 12h (default: 7d)",
    )
    parser.add_argument(
        "--runs",
        action="store_true",
        help="delete runs that are over too, with their results",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only show what would be deleted"
    )


def run(arguments: Namespace, output: Output) -> int:
    """Delete what can go."""
    import time  # noqa: PLC0415  (not for --help)

    from imagekit.cluster.client import client_cluster  # noqa: PLC0415
    from imagekit.cluster.pruning import Pruning  # noqa: PLC0415
    from imagekit.initialization import configuration  # noqa: PLC0415

    configured = configuration()
    cluster = client_cluster(configured.settings(), configured)
    pruning = Pruning(
        cluster,
        keep=arguments.keep,
        older_than=arguments.older_than,
        runs=arguments.runs,
        now=time.time(),
    )
    found = pruning.prune(dry_run=arguments.dry_run)
    output.document |= {
        "namespace": cluster.namespace,
        "dry_run": arguments.dry_run,
        "pruned": [_row(item) for item in found],
    }
    verb = "would delete" if arguments.dry_run else "deleted"
    for item in found:
        name = f"{item.name}@{item.version}" if item.version else item.name
        output.line(f"{verb} {item.what} {name}")
    if not found:
        output.talk(f"nothing to delete in the namespace {cluster.namespace!r}")
    return 0


def _row(item: Pruned) -> dict[str, object]:
    return {
        "what": item.what,
        "name": item.name,
        "version": item.version or None,
        "objects": [{"kind": kind, "name": name} for kind, name in item.objects],
    }


def _count(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f"wanted a number of versions, found {text!r}")
    return int(text)


def _age(text: str) -> float:
    from imagekit.cli.option_values import read  # noqa: PLC0415  (not for other words)

    try:
        found = read(dt.timedelta, text)
    except (ValueError, TypeError, OverflowError):
        found = None
    is_age = isinstance(found, dt.timedelta) and found >= dt.timedelta(0)
    # Who writes 30 means days as often as seconds, and what is deleted is gone.
    if not is_age or (found and _is_number(text)):
        raise ArgumentTypeError(
            f"wanted an age with its unit, such as 7d or 12h, found {text!r}"
        )
    return float(found.total_seconds())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
