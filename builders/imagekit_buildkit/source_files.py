"""Where files of a tree go: as the embedded builder places them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from imagekit.base_paths import BASE_FOLDERS, Links, folders_of
from imagekit.errors import BuildFailedError, UnsupportedLayerError
from imagekit.records import replace
from imagekit.sources import Entry, Tree

# How layers delete files (OCI layer.md, "Whiteouts").
_WHITEOUT = re.compile(r"(?:^|/)\.wh\.")


def placed(
    tree: Tree, destination: str, links: Iterable[tuple[str, str]]
) -> tuple[Tree, str]:
    """Return *tree* and where it is copied to, so that no link of the base is hit.

    A base's links are followed by what is copied below them. BuildKit follows those in
    the path of the destination; where some lie below it, the files are moved to where
    they lead.

    Raises:
        BuildFailedError: a file would take the place of a link of the base.
        UnsupportedLayerError: BuildKit can't be given a file of that name.
    """
    _check(tree)
    known = Links(links)
    root = known.folder(destination)
    below = f"{root}/" if root else ""
    inside = {path.strip("/") for path, _ in links}
    paths = {f"{below}{entry.path}" for entry in tree.entries}
    if not inside.intersection({*paths, *folders_of(paths, below=root)}):
        return tree, destination
    moved: dict[str, Entry] = {}
    for entry in tree.entries:
        path = f"{below}{entry.path}"
        target = known.folder(path) if _is_folder(entry) else known.file(path)
        if target in moved and not (_is_folder(entry) and _is_folder(moved[target])):
            raise BuildFailedError(
                f"{moved[target].path!r} and {entry.path!r} are the same path in the "
                f"image, '/{target}', by the links of the base",
                hint="copy them in two layers, or leave one out",
            )
        moved.setdefault(target, entry)
    for folder in folders_of(moved, below=""):
        moved.setdefault(folder, Entry(path=folder, type="directory"))
    entries = (replace(entry, path=path) for path, entry in moved.items())
    ordered = sorted(entries, key=lambda entry: entry.path.encode())
    return Tree(entries=tuple(ordered)), "/"


class OwnFolders:
    """The folders that a plan makes itself, as root's, 0755.

    A linked copy (``COPY --link``) sets mode and owner of all folders in its path. So
    it is right only where these are known to be what it sets.
    """

    def __init__(self) -> None:
        self._made: set[str] = set()

    def add(self, path: str) -> None:
        """Take note that the plan makes the folder *path*."""
        self._made.add(path.strip("/"))

    def __contains__(self, path: str) -> bool:
        parts = path.strip("/").split("/")
        above = ("/".join(parts[:count]) for count in range(1, len(parts)))
        return path.strip("/") in self._made and all(
            folder in self._made or folder in _PLAIN for folder in above
        )


#: Folders that are root's, 0755, wherever they are (FHS 3.0).
_PLAIN = frozenset(("home", "mnt", "opt", "srv", "usr"))


def is_base_folder(path: str) -> bool:
    """Return whether bases bring *path* along, with a mode and owner of its own."""
    return path == "/" or path.strip("/") in BASE_FOLDERS


def _is_folder(entry: Entry) -> bool:
    return entry.type == "directory"


def _check(tree: Tree) -> None:
    for entry in tree.entries:
        if _WHITEOUT.search(entry.path):
            raise BuildFailedError(
                f"{entry.path!r} would delete a file of the image: names that begin "
                "with '.wh.' mean that in layers",
                hint="rename it, or name it in the .dockerignore file",
            )
        try:
            f"{entry.path}{entry.target}".encode()
        except UnicodeEncodeError as error:
            raise UnsupportedLayerError(
                f"BuildKit takes names in UTF-8 only, found {entry.path!r}",
                hint="rename it, or name it in the .dockerignore file",
            ) from error
