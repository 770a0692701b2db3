"""Build the images of a file, unless the registry has them, and print their URIs."""

from __future__ import annotations

from argparse import BooleanOptionalAction, Namespace
from typing import TYPE_CHECKING

from imagekit.cli.display import display
from imagekit.cli.output import Output
from imagekit.cli.selection import add_selection, image_options, selected, settings_of
from imagekit.cli.sizes import seconds_text, size_text
from imagekit.cli.usage import Parser

if TYPE_CHECKING:
    from imagekit.building import BuildOptions, BuildResult

EXAMPLES = """\
examples:
  imagekit build images.py                           all images of the file
  imagekit build images.py:web --push --tag latest   one, pushed under a second tag
  imagekit build images.py:web --output oci:out      one, as an OCI layout on disk
  imagekit build script.py --output docker           a uv script, into the local engine
  imagekit build images.py:web --upgrade=numpy       with the newest numpy that fits
"""


def configure(parser: Parser) -> None:
    """Add the command's options."""
    add_selection(parser)
    parser.add_argument(
        "--builder",
        metavar="BUILDER",
        help="auto, embedded, buildkit, remote, or another that is installed",
    )
    parser.add_argument("--tag", metavar="TAG", help="a tag beside the content id")
    parser.add_argument(
        "--push",
        action=BooleanOptionalAction,
        help="push to the registry; by default where one is known",
    )
    parser.add_argument(
        "--output",
        metavar="WHERE",
        action="append",
        default=[],
        help="oci:DIR, tar:FILE, or docker for the local engine; repeat it for more",
    )
    parser.add_argument(
        "--force", action="store_true", help="build even if the registry has it"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="show what is known, and touch nothing: no network, no writes",
    )
    parser.add_argument(
        "--upgrade",
        metavar="[=PACKAGE]",
        action="append",
        default=[],
        help="resolve anew: everything, or the package that is named; repeat it",
    )
    _configure_execution(parser)


def _configure_execution(parser: Parser) -> None:
    group = parser.add_argument_group("for what must execute (BuildKit)")
    group.add_argument(
        "--no-cache", action="store_true", help="run every executing step anew"
    )
    group.add_argument(
        "--cache-from",
        metavar="CACHE",
        action="append",
        default=[],
        help="a cache to import, such as type=registry,ref=ghcr.io/team/cache",
    )
    group.add_argument(
        "--cache-to",
        metavar="CACHE",
        action="append",
        default=[],
        help="a cache to export, such as type=local,dest=DIR; also gha, s3",
    )
    group.add_argument(
        "--network", metavar="NETWORK", help="default, none or host, for the steps"
    )
    group.add_argument("--sbom", metavar="VALUE", help="as BuildKit takes it")
    group.add_argument("--provenance", metavar="VALUE", help="as BuildKit takes it")


def prepare(argv: list[str]) -> list[str]:
    """Give a bare ``--upgrade`` an empty value, so that it takes no other argument."""
    return [f"{word}=" if word == "--upgrade" else word for word in argv]


def run(arguments: Namespace, output: Output) -> int:
    """Build each image."""
    options = _options(arguments)
    if arguments.dry_run:
        return _outline(arguments, options, output)
    from imagekit.building import build_image  # noqa: PLC0415  (not for --help)

    settings = settings_of(arguments)
    images = selected(arguments)
    rows = output.document["images"] = []
    for item in images:
        if len(images) > 1:
            output.talk(f"{item.name}:")
        with display(output) as progress:
            result = build_image(
                item.image, options, settings=settings, progress=progress
            )
        output.talk(_summary(result))
        rows.append({"name": item.name, **result.as_json()})
        output.line(result.uri)
    return 0


def _outline(arguments: Namespace, options: BuildOptions, output: Output) -> int:
    """Show what is known without touching anything."""
    from imagekit.outline import lines, outline  # noqa: PLC0415  (not for --help)

    settings = settings_of(arguments)
    rows = output.document["images"] = []
    for item in selected(arguments):
        document = {"name": item.name, **outline(item.image, options, settings)}
        rows.append(document)
        for line in lines(document):
            output.line(line)
    return 0


def _options(arguments: Namespace) -> BuildOptions:
    from imagekit.building import BuildOptions  # noqa: PLC0415  (not for --help)

    upgrade: list[str] = arguments.upgrade
    return BuildOptions(
        builder=arguments.builder,
        tag=arguments.tag,
        push=arguments.push,
        outputs=tuple(arguments.output),
        force=arguments.force or arguments.no_cache,
        upgrade="" in upgrade or tuple(upgrade),
        no_cache=arguments.no_cache,
        cache_from=tuple(arguments.cache_from),
        cache_to=tuple(arguments.cache_to),
        network=arguments.network,
        sbom=arguments.sbom,
        provenance=arguments.provenance,
        **image_options(arguments),
    )


def _summary(result: BuildResult) -> str:
    took = seconds_text(result.seconds)
    if result.reused:
        return f"nothing to build: it is there already ({took})"
    size = sum({layer.digest: layer.size for layer in result.layers}.values())
    made = sum(not layer.reused for layer in result.layers)
    parts = [f"{len(result.layers)} layers, {made} new, {size_text(size)}"]
    if result.uploaded:
        parts.append(f"{size_text(result.uploaded)} uploaded")
    return f"built in {took}: {', '.join(parts)}"
