"""Show what a build would read, fetch, make, reuse and upload, with sizes."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from imagekit.cli.display import display
from imagekit.cli.output import Output
from imagekit.cli.selection import add_selection, image_options, selected, settings_of
from imagekit.cli.sizes import size_text
from imagekit.cli.usage import Parser

if TYPE_CHECKING:
    from imagekit.building import BuildOptions

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
    from imagekit.building import BuildOptions  # noqa: PLC0415  (not for --help)

    options = BuildOptions(
        builder=arguments.builder, tag=arguments.tag, **image_options(arguments)
    )
    return show(arguments, options, output)


def show(arguments: Namespace, options: BuildOptions, output: Output) -> int:
    """Print what a build with *options* would do."""
    from imagekit.plan_report import plan_image  # noqa: PLC0415  (not for --help)

    settings = settings_of(arguments)
    rows = output.document["images"] = []
    for item in selected(arguments):
        with display(output) as progress:
            report = plan_image(
                item.image, options, settings=settings, progress=progress
            )
        document = {"name": item.name, **report.as_json()}
        rows.append(document)
        for line in lines(document):
            output.line(line)
    return 0


def lines(plan: dict[str, Any]) -> Iterator[str]:
    """Give the lines that show a plan to people."""
    yield f"{plan['name']}  {plan['uri']}"
    yield f"  identifier  {plan['identifier']}"
    yield f"  builder     {plan['builder']}"
    match plan["exists"]:
        case True:
            yield "  registry    has it: a build has nothing to do"
        case False:
            yield "  registry    lacks it"
        case _:
            yield "  registry    not asked, or can't tell"
    for platform in plan["platforms"]:
        yield ""
        yield from _platform(platform, plan["layers"])
    if plan["layers"] is not None:
        yield ""
        yield from _totals(plan)


def _platform(
    platform: dict[str, Any], layers: list[dict[str, Any]] | None
) -> Iterator[str]:
    name = platform["platform"]
    yield f"{name}"
    if base := platform["base"]:
        size = size_text(base["size"])
        yield f"  base    {size:>9}  {base['name']}"
        yield f"          {'':9}  {base['digest']}"
    if layers is None:
        wheels = platform["distributions"]
        yield f"  install {'':9}  {len(wheels)} distributions"
        for wheel in wheels:
            size = size_text(wheel["size"]) if wheel["size"] is not None else "?"
            yield f"          {size:>9}  {wheel['name']} {wheel['version']}"
        return
    for layer in layers:
        if layer["platform"] == name:
            size = size_text(layer["size"])
            action = "fetch" if layer["fetches"] else layer["action"]
            yield f"  {action:7} {size:>9}  {layer['title']}"


def _totals(plan: dict[str, Any]) -> Iterator[str]:
    layers = plan["layers"]
    made = [layer for layer in layers if layer["action"] == "build"]
    fetched = dict.fromkeys(name for layer in layers for name in layer["fetches"])
    size = size_text(sum(layer["size"] for layer in made))
    yield f"build   {len(made)} of {len(layers)} layers, {size}"
    yield f"fetch   {len(fetched)} wheels"
    if plan["uploads"] is not None:
        yield f"upload  {size_text(plan['uploads'])}"
