"""Show what a build would read, fetch, make, reuse and upload, with sizes."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from imagekit.cli.display import display
from imagekit.cli.output import Output
from imagekit.cli.selection import add_selection, image_options, selected, settings_of
from imagekit.cli.usage import Parser

if TYPE_CHECKING:
    from imagekit.build import BuildOptions

EXAMPLES = """\
examples:
  imagekit plan images.py:web
  imagekit plan images.py:web --platform linux/arm64 --json
"""


def configure(parser: Parser) -> None:
    """Add the command's options."""
    add_selection(parser)
    parser.add_argument("--builder", metavar="BUILDER", help="builder to plan for")
    parser.add_argument("--tag", metavar="TAG", help="a tag beside the content id")


def run(arguments: Namespace, output: Output) -> int:
    """Print the plan of each image."""
    from imagekit.build import BuildOptions  # noqa: PLC0415  (not for --help)

    options = BuildOptions(
        builder=arguments.builder, tag=arguments.tag, **image_options(arguments)
    )
    return show(arguments, options, output)


def show(arguments: Namespace, options: BuildOptions, output: Output) -> int:
    """Print what a build with *options* would do."""
    from imagekit.build import plan_image  # noqa: PLC0415  (not for --help)

    settings = settings_of(arguments)
    rows = output.document["images"] = []
    for item in selected(arguments):
        with display(output) as progress:
            report = plan_image(
                item.image, options, settings=settings, progress=progress
            )
        rows.append({"name": item.name, **report.as_json()})
        for line in report.lines():
            output.line(line)
    return 0
