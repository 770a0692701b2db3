"""Remove what was not used for longest from the content store, down to its cap.

A running build is waited for; what it uses stays. Nothing that is removed is lost: it
is made or downloaded again when it is needed.
"""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from imagekit.cli.cache_ls import KINDS, by_kind
from imagekit.cli.output import Output
from imagekit.cli.sizes import size_text
from imagekit.cli.usage import Parser

if TYPE_CHECKING:
    from imagekit.store_gc import Policy


def configure(parser: Parser) -> None:
    """Add the command's options."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--layers",
        action="store_true",
        help="remove all layers that were made, and keep all downloads",
    )
    which.add_argument(
        "--all",
        action="store_true",
        help="remove everything, also what was resolved: versions may change",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only show what would be removed"
    )


def run(arguments: Namespace, output: Output) -> int:
    """Remove what can go."""
    from imagekit.settings import load_settings  # noqa: PLC0415  (not for --help)
    from imagekit.store import Store  # noqa: PLC0415
    from imagekit.store_gc import collect  # noqa: PLC0415

    settings = load_settings()
    policy: Policy = "cap"
    if arguments.layers or arguments.all:
        policy = "layers" if arguments.layers else "all"
    done = collect(
        Store(settings.cache_dir),
        policy,
        cap=settings.cache_cap,
        dry_run=arguments.dry_run,
        waiting=lambda: output.talk("waiting for a running build to end"),
    )
    output.document |= {
        "path": str(settings.cache_dir),
        "dry_run": arguments.dry_run,
        "removed": by_kind(done.removed),
        "freed": done.freed,
        "kept": done.kept,
    }
    verb = "would remove" if arguments.dry_run else "removed"
    for row in by_kind(done.removed):
        size = size_text(row["size"])
        output.line(f"{verb} {row['count']} {KINDS[row['kind']]} ({size})")
    output.line(f"{verb} {size_text(done.freed)}; {size_text(done.kept)} stay")
    return 0
