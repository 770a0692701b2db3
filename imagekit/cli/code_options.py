"""The options that say which code goes along, and what version it is."""

from __future__ import annotations

from imagekit.cli.usage import Parser, UsageError


def add_code_options(parser: Parser, *, version: str, copy_style: str) -> None:
    """Add ``--version`` and ``--copy-style``, whose help is given."""
    parser.add_argument("--version", metavar="VERSION", help=version)
    parser.add_argument(
        "--copy-style",
        choices=("loaded_modules", "all", "none"),
        default="loaded_modules",
        help=f"{copy_style} (default: loaded_modules)",
    )


def check_code_options(copy_style: str, version: str | None) -> None:
    """Check that the code has a version.

    Raises:
        UsageError: nothing is copied, and no version is given.
    """
    if copy_style == "none" and version is None:
        raise UsageError(
            "--copy-style none copies no code: what version is it?",
            hint="give --version too, or another --copy-style",
        )
