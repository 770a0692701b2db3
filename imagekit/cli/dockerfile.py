"""Print an image as a Dockerfile, or write it with the files that it copies.

The Dockerfile is for one platform: this machine's, if the image has it. Bases and
packages are resolved for it, and nothing is built.

Without --output, wheels come from where they are published: what is printed builds
without any files, unless the image has files of yours. With --output they are among
the files.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from imagekit.cli.definitions import NamedImage, load_images, split_target
from imagekit.cli.output import Output
from imagekit.cli.usage import Parser, UsageError

if TYPE_CHECKING:
    from imagekit.image import Image
    from imagekit.settings import Settings


EXAMPLES = """\
examples:
  imagekit dockerfile images.py:web
  imagekit dockerfile images.py:web --output web && docker build web
"""


def configure(parser: Parser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "file",
        metavar="FILE[:NAME]",
        help="module with images or environments, or a uv script",
    )
    parser.add_argument(
        "--platform", metavar="PLATFORM", help="platform, such as linux/arm64"
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="write the Dockerfile and the files that it copies to an empty folder",
    )


def run(arguments: Namespace, output: Output) -> int:
    """Print the Dockerfile, or the folder that it was written to."""
    from imagekit.settings import load_settings  # noqa: PLC0415  (not for --help)

    folder = _empty(arguments.output) if arguments.output is not None else None
    item = _only(arguments.file)
    settings = load_settings(arguments={})
    platform = arguments.platform or _platform(item.image)
    text = _written(item.image, platform, settings, folder, output)
    output.document |= {"name": item.name, "platform": platform, "dockerfile": text}
    if folder is not None:
        output.document["output"] = str(folder)
        output.line(str(folder))
    elif not output.as_json:
        sys.stdout.write(text)
    return 0


def _only(target: str) -> NamedImage:
    file, names = split_target(target)
    images = load_images(file, names)
    if len(images) > 1:
        shown = ", ".join(item.name for item in images)
        raise UsageError(
            f"a Dockerfile is of one image, and {target!r} has {len(images)}: {shown}",
            hint=f"choose one: {target}:{images[0].name}",
        )
    return images[0]


def _empty(path: str) -> Path:
    folder = Path(os.path.abspath(path))
    try:
        found = sorted(os.listdir(folder))
    except FileNotFoundError:
        found = []
    except NotADirectoryError as error:
        raise UsageError(f"wanted a folder for --output, found {path!r}") from error
    if found:
        raise UsageError(
            f"wanted an empty folder for --output, found {found[0]!r} in {path!r}",
            hint="name a new folder",
        )
    return folder


def _platform(image: Image) -> str:
    from imagekit.platform import Platform  # noqa: PLC0415  (not for --help)

    here = str(Platform.host())
    return here if here in image.platform else image.platform[0]


def _written(
    image: Image,
    platform: str,
    settings: Settings,
    folder: Path | None,
    output: Output,
) -> str:
    """Return the Dockerfile, and write it with its files where *folder* is given."""
    from imagekit.building import BuildOptions, adapt, prepare  # noqa: PLC0415
    from imagekit.cli.display import display  # noqa: PLC0415
    from imagekit.dockerfile_writing import dockerfile  # noqa: PLC0415

    options = BuildOptions(platforms=(platform,))
    with display(output) as progress:
        adapted = adapt(image, options, settings)
        job = prepare(adapted, options, settings, progress)
        return dockerfile(job, folder)
