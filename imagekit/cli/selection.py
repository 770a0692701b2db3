"""The arguments that choose images, and how they are to be."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from imagekit.cli.definitions import NamedImage, load_images, split_target
from imagekit.cli.usage import Parser, UsageError, comma_separated

if TYPE_CHECKING:
    from imagekit.settings import Settings


def add_selection(parser: Parser) -> None:
    """Add ``FILE[:NAME] [NAME ...]`` and the options that change an image."""
    parser.add_argument(
        "file",
        metavar="FILE[:NAME]",
        help="module with images or environments, or a uv script",
    )
    parser.add_argument(
        "names",
        metavar="NAME",
        nargs="*",
        default=(),  # without one, argparse calls it required
        help="variable or environment; by default all of the file",
    )
    parser.add_argument(
        "--platform",
        metavar="PLATFORM",
        action="extend",
        type=comma_separated,
        help="platform to build for, such as linux/arm64; repeat it, or use commas",
    )
    parser.add_argument(
        "--registry", metavar="REGISTRY", help="registry, such as ghcr.io/team"
    )
    parser.add_argument("--name", metavar="NAME", help="name of the image")


def selected(arguments: Namespace) -> tuple[NamedImage, ...]:
    """Return the images that the arguments choose.

    Raises:
        UsageError: one name was given for several images.
    """
    file, names = split_target(arguments.file)
    images = load_images(file, (*names, *arguments.names))
    if arguments.name and len(images) > 1:
        shown = ", ".join(item.name for item in images)
        raise UsageError(
            f"--name {arguments.name!r} for {len(images)} images: {shown}",
            hint=f"choose one: {arguments.file}:{images[0].name}",
        )
    return images


def settings_of(arguments: Namespace) -> Settings:
    """Return the settings, with those of the command line first."""
    from imagekit.settings import load_settings  # noqa: PLC0415  (not for --help)

    return load_settings(
        arguments={
            "builder": getattr(arguments, "builder", None),
            "registry": arguments.registry,
            "platforms": arguments.platform,
        }
    )


def image_options(arguments: Namespace) -> dict[str, Any]:
    """Return the fields of ``BuildOptions`` that change an image."""
    return {
        "platforms": tuple(arguments.platform) if arguments.platform else None,
        "registry": arguments.registry,
        "name": arguments.name,
    }
