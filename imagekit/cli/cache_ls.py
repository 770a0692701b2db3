"""Show what is in the content store, and how much room it takes."""

from __future__ import annotations

import time
from argparse import Namespace
from collections import Counter
from typing import TYPE_CHECKING, Any

from imagekit.cli.output import Output
from imagekit.cli.sizes import size_text
from imagekit.cli.usage import Parser

if TYPE_CHECKING:
    from imagekit.store_contents import Item

#: Kind of an item, as ``store_contents`` has it, to what people read.
KINDS = {
    "wheel": "wheels",
    "base": "blobs of base images",
    "layer": "layers that were made",
    "document": "manifests and configs that were made",
    "record": "records",
    "unfinished": "left by killed builds",
}
_DAY = 86_400
_HOUR = 3_600


def configure(parser: Parser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--files", action="store_true", help="show each file, the largest first"
    )


def run(arguments: Namespace, output: Output) -> int:
    """Print the store's contents."""
    from imagekit.settings import load_settings  # noqa: PLC0415  (not for --help)
    from imagekit.store import Store  # noqa: PLC0415
    from imagekit.store_contents import list_items  # noqa: PLC0415

    settings = load_settings()
    items = list_items(Store(settings.cache_dir))
    total = sum(item.size for item in items)
    output.document |= {
        "path": str(settings.cache_dir),
        "size": total,
        "cap": settings.cache_cap,
        "kinds": by_kind(items),
    }
    if arguments.files:
        output.document["files"] = [
            {
                "kind": item.kind,
                "name": item.name,
                "title": item.title,
                "size": item.size,
                "used": round(item.used, 3),
                "path": str(item.path),
            }
            for item in items
        ]
        _print_files(items, output)
    output.line(f"{settings.cache_dir}")
    for row in by_kind(items):
        size = size_text(row["size"])
        output.line(f"  {size:>9}  {row['count']:>6}  {KINDS[row['kind']]}")
    output.line(f"  {size_text(total):>9}  of {size_text(settings.cache_cap)}")
    return 0


def by_kind(items: tuple[Item, ...]) -> list[dict[str, Any]]:
    """Return count and size of each kind that there is."""
    counts: Counter[str] = Counter(item.kind for item in items)
    sizes: Counter[str] = Counter()
    for item in items:
        sizes[item.kind] += item.size
    return [
        {"kind": kind, "count": counts[kind], "size": sizes[kind]}
        for kind in KINDS
        if kind in counts
    ]


def _print_files(items: tuple[Item, ...], output: Output) -> None:
    now = time.time()
    for item in sorted(items, key=lambda item: -item.size):
        what = item.title or item.name
        size, ago = size_text(item.size), _ago(now - item.used)
        output.line(f"{size:>9}  {ago:>8}  {item.kind:10}  {what}")
    output.line("")


def _ago(seconds: float) -> str:
    if seconds >= _DAY:
        return f"{seconds / _DAY:.0f} d ago"
    return f"{seconds / _HOUR:.0f} h ago" if seconds >= _HOUR else "just now"
