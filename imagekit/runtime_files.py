"""The files of the running installation: the runtime that goes into images.

The layer holds the two packages as they are installed here, and nothing else: the
runtime needs only the standard library, so that no index has to be asked for it.
"""

from __future__ import annotations

import os

import imagekit
from imagekit import ignore, sources
from imagekit.errors import SourceNotFoundError
from imagekit.records import replace
from imagekit.sources import Tree

_PACKAGES = ("flyte", "imagekit")


def runtime_tree() -> Tree:
    """Return the packages of the running installation, below their names."""
    home = os.path.dirname(os.path.dirname(os.path.abspath(imagekit.__file__)))
    entries: list[sources.Entry] = []
    for package in _PACKAGES:
        folder = os.path.join(home, package)
        tree = sources.walk(folder, ignore.DEFAULT).below(package)
        # Installers disagree on executable bits; modules need none.
        entries.extend(replace(entry, executable=False) for entry in tree.entries)
    return Tree(entries=tuple(entries))


def checkout_fault() -> None:
    """Raise SourceNotFoundError unless imagekit runs from a source checkout."""
    home = os.path.dirname(os.path.dirname(os.path.abspath(imagekit.__file__)))
    if not os.path.isfile(os.path.join(home, "pyproject.toml")):
        raise SourceNotFoundError(
            f"with_local_v2() wants imagekit to run from a checkout, found {home!r}",
            hint="install the checkout with 'pip install -e .', or leave "
            "with_local_v2() out",
        )
