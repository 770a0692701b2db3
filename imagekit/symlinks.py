"""Symbolic links of a tree: whether they stay inside it.

A link that leaves its folder means something else on every machine, or nothing, and in
an image it would point at files of the base.
"""

from __future__ import annotations

from collections.abc import Mapping

from imagekit.errors import SourceEscapesError

#: Linux follows as many links in one path (path_resolution(7)).
_MAX_LINKS = 40


def check_links(links: Mapping[str, str], root: str) -> None:
    """Check the links of the tree *root*, given as path to target.

    A link that dangles within the tree, or runs in circles, is fine.

    Raises:
        SourceEscapesError: one leads out, whichever way it takes through the tree.
    """
    for path, target in links.items():
        if _escapes(path, links):
            raise SourceEscapesError(
                f"symbolic link {path!r} in {root!r} leaves the folder: its target is "
                f"{target!r}",
                hint="make it relative and keep it inside the folder, replace it by "
                "what it points to, or put it into the ignore file",
            )


def _escapes(path: str, links: Mapping[str, str]) -> bool:
    """Return whether the link at *path* leads out, as the kernel would follow it."""
    at: list[str] = []
    left = path.split("/")[::-1]
    followed = 0
    while left and followed <= _MAX_LINKS:
        part = left.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not at:
                return True
            at.pop()
            continue
        at.append(part)
        target = links.get("/".join(at))
        if target is None:
            continue
        if target.startswith("/"):
            return True
        followed += 1
        at.pop()
        left.extend(target.split("/")[::-1])
    return False
