"""Print what identifies the images of a file, one line an image.

The identifier names the definition, and reads nothing. The content id names the bytes
of the files too, and is the tag in the URI.
"""

from __future__ import annotations

from argparse import Namespace

from imagekit.cli.output import Output
from imagekit.cli.selection import add_selection, image_options, selected, settings_of
from imagekit.cli.usage import Parser

EXAMPLES = """\
examples:
  imagekit id images.py            identifiers of all images
  imagekit id images.py:web --uri  where the image 'web' is or will be
"""


def configure(parser: Parser) -> None:
    """Add the command's options."""
    add_selection(parser)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--content", action="store_true", help="print the content id")
    kind.add_argument("--uri", action="store_true", help="print the URI")


def run(arguments: Namespace, output: Output) -> int:
    """Print the identity of each image."""
    from imagekit.building import BuildOptions, adapt  # noqa: PLC0415  (not for --help)
    from imagekit.naming import image_uri  # noqa: PLC0415

    settings = settings_of(arguments)
    options = BuildOptions(**image_options(arguments))
    rows = output.document["images"] = []
    for item in selected(arguments):
        image = adapt(item.image, options, settings)
        row = {"name": item.name, "identifier": image.identifier}
        if arguments.content or output.as_json:
            row["content_id"] = image.content_id
        if arguments.uri or output.as_json:
            row["uri"] = image_uri(image, settings=settings)
        rows.append(row)
        output.line(list(row.values())[-1])
    return 0
