"""Layers of files from disk, checked against the hashes that named the image.

There are entries for what the tree holds, and none for the destination or the folders
above it: if the base has them, they keep their modes and owners, as with ``COPY``; if
it has not, they come to be as root's, 0755.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import ClassVar, TypeAlias

from imagekit.base_paths import BASE_FOLDERS, Links, sort_key
from imagekit.canonical import fingerprint
from imagekit.errors import BuildFailedError
from imagekit.oci import tar
from imagekit.plan import LayerDescriptor
from imagekit.records import dataclass
from imagekit.source_reading import checked_bytes
from imagekit.sources import Entry, Tree
from imagekit.store import Store
from imagekit_oci.layer_writer import FORMAT, LayerWriter

LinkTable: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]

_FILE = 0o644
_EXECUTABLE = 0o755
_LINK = 0o777
# How layers delete files (OCI layer.md, "Whiteouts").
_WHITEOUT = re.compile(r"(?:^|/)\.wh\.")


def write_tree_layer(
    store: Store, tree: Tree, destination: str, *, mtime: int, links: LinkTable = ()
) -> LayerDescriptor:
    """Write a layer that holds *tree* in the folder *destination*.

    Args:
        store: where the blob goes.
        tree: what to copy. If it is empty, the layer makes the folder.
        destination: absolute path in the image.
        mtime: time stamp of all entries, in seconds since the epoch.
        links: symbolic links of the base; entries go where they lead to.

    Raises:
        SourceChangedError: a file is not what it was when the tree was hashed.
        SourceUnreadableError: a file can't be read.
        BuildFailedError: an entry can't be in a layer.
        StoreError: the blob can't be written.
    """
    with LayerWriter(store) as layer:
        for path, entry in sorted(
            _placed(tree, destination, Links(links)).items(),
            key=lambda item: sort_key(item[0]),
        ):
            _add(layer, path, entry, mtime)
        return layer.commit()


def tree_layer_key(
    tree: Tree, destination: str, *, mtime: int, links: LinkTable = ()
) -> str:
    """Return the key of what :func:`write_tree_layer` makes of these inputs."""
    value = _Inputs(
        format=FORMAT,
        tree=tree.digest,
        destination=destination,
        mtime=mtime,
        links=tuple(sorted(dict(links).items())),
    )
    return fingerprint("tree-layer", value)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inputs:
    """What decides the bytes of a layer of files."""

    kind: ClassVar[str] = "tree-layer"

    format: int
    tree: str
    destination: str
    mtime: int
    links: tuple[tuple[str, str], ...]


def _placed(tree: Tree, destination: str, links: Links) -> dict[str, Entry]:
    """Return the entries by where they go."""
    root = links.folder(destination)
    if not tree.entries:
        empty = Entry(path="", type="directory")
        return {} if root in BASE_FOLDERS or not root else {root: empty}
    placed: dict[str, Entry] = {}
    for entry in tree.entries:
        path = f"{root}/{entry.path}" if root else entry.path
        if _WHITEOUT.search(entry.path):
            raise BuildFailedError(
                f"{entry.path!r} would delete a file of the image: names that begin "
                "with '.wh.' mean that in layers",
                hint="rename it, or name it in the .dockerignore file",
            )
        if entry.type == "directory":
            target = links.folder(path)
            if target in BASE_FOLDERS or path in links:
                continue
        else:
            target = links.file(path)
        if target in placed:
            raise BuildFailedError(
                f"{placed[target].path!r} and {entry.path!r} are the same path in the "
                f"image, '/{target}', by the links of the base",
                hint="copy them in two layers, or leave one out",
            )
        placed[target] = entry
    return placed


def _add(layer: LayerWriter, path: str, entry: Entry, mtime: int) -> None:
    match entry.type:
        case "directory":
            layer.small(tar.header(path, type="5", mode=_EXECUTABLE, mtime=mtime))
        case "symlink":
            assert entry.target is not None
            layer.small(
                tar.header(
                    path, type="2", mode=_LINK, mtime=mtime, linkname=entry.target
                )
            )
        case "file":
            mode = _EXECUTABLE if entry.executable else _FILE
            size = entry.size
            layer.small(tar.header(path, type="0", mode=mode, size=size, mtime=mtime))
            layer.large(checked_bytes(entry))
