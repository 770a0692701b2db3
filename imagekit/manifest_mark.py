"""How the manifests that ``imagekit deploy`` has written are told from other files.

They name the version of the code: as a part of it, they would change it each time.
"""

from __future__ import annotations

import os
import posixpath

from imagekit.sources import Tree

#: The first line of each.
MARK = "# Written by 'imagekit deploy'."
_ENDING = ".yaml"


def is_manifest(path: str | os.PathLike[str]) -> bool:
    """Return whether imagekit wrote the file *path*.

    Raises:
        OSError: it can't be read.
    """
    with open(path, "rb") as file:
        return file.read(len(MARK)) == MARK.encode()


def without_manifests(tree: Tree) -> Tree:
    """Return *tree* without such files, and without folders that hold just them."""
    gone = {
        entry.path
        for entry in tree.files
        if entry.path.endswith(_ENDING) and is_manifest(entry.location)
    }
    if not gone:
        return tree
    kept = [entry for entry in tree.entries if entry.path not in gone]
    above = {name for path in gone for name in _above(path)}
    others = (entry.path for entry in kept if entry.path not in above)
    above -= {name for path in others for name in _above(path)}
    return Tree(entries=tuple(entry for entry in kept if entry.path not in above))


def _above(path: str) -> list[str]:
    found = []
    while path := posixpath.dirname(path):
        found.append(path)
    return found
