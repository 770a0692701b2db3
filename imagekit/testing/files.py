"""File trees of images: read out of layers, and written down by hand.

Nothing here is shared with a builder: layers are read with the standard library's
``tarfile``, and put on top of each other as the OCI image spec says (layer.md).
"""

from __future__ import annotations

import hashlib
import io
import posixpath
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from imagekit.oci.chunk_reader import ChunkReader

NodeType: TypeAlias = Literal["file", "directory", "symlink", "other"]

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
#: Contents up to this size are kept, to be looked into.
_KEPT = 1 << 16
# Linux follows as many links in one path (path_resolution(7)).
_MAX_LINKS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A file, folder or link of an image.

    Attributes:
        mode: permission bits; 0o777 for links, which have none.
        content: SHA-256 of a file, target of a link, else empty.
        data: bytes of a small file; None for others.
    """

    type: NodeType
    mode: int
    content: str = ""
    owner: tuple[int, int] = (0, 0)
    data: bytes | None = None

    @classmethod
    def file(cls, data: bytes, *, executable: bool = False) -> Node:
        """Return a file of root's."""
        return cls(
            type="file",
            mode=0o755 if executable else 0o644,
            content=hashlib.sha256(data, usedforsecurity=False).hexdigest(),
            data=data if len(data) <= _KEPT else None,
        )

    @classmethod
    def link(cls, target: str) -> Node:
        """Return a symbolic link."""
        return cls(type="symlink", mode=0o777, content=target)


FOLDER = Node(type="directory", mode=0o755)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerEntry:
    """An entry of a layer, as it stands there.

    Attributes:
        raw: its path as written, with what it begins with.
        path: the path without ``./`` in front and ``/`` at the end.
        hardlink: the path that it is a hard link to, or None.
        mtime: seconds since the epoch.
    """

    raw: str
    path: str
    node: Node
    mtime: float
    hardlink: str | None = None


def read_entries(chunks: Iterable[bytes], *, keep: bool = True) -> Iterator[LayerEntry]:
    """Yield the entries of an uncompressed layer.

    Args:
        chunks: the layer.
        keep: whether the bytes of small files are kept.

    Raises:
        tarfile.TarError: it is no tar archive.
    """
    reader = io.BufferedReader(ChunkReader(iter(chunks)), 1 << 18)
    with tarfile.open(fileobj=reader, mode="r|") as archive:
        for info in archive:
            yield LayerEntry(
                raw=info.name,
                path=_plain(info.name),
                node=_node(archive, info, keep=keep),
                mtime=info.mtime,
                hardlink=_plain(info.linkname) if info.islnk() else None,
            )
    while reader.read(1 << 18):
        pass  # tarfile stops at the end of the archive, which is not the layer's


def _plain(name: str) -> str:
    """Return a name in an archive without ``./`` in front; empty for the root."""
    return "" if name == "." else name.removeprefix("./").strip("/")


def _node(archive: tarfile.TarFile, info: tarfile.TarInfo, *, keep: bool) -> Node:
    keep = keep and info.size <= _KEPT
    owner = (info.uid, info.gid)
    mode = info.mode & 0o7777
    if info.isdir():
        return Node(type="directory", mode=mode, owner=owner)
    if info.issym():
        return Node(type="symlink", mode=0o777, content=info.linkname, owner=owner)
    if not (info.isfile() or info.islnk()):
        return Node(type="other", mode=mode, owner=owner)
    file = archive.extractfile(info) if info.isfile() else None
    hasher = hashlib.sha256(usedforsecurity=False)
    kept = b""
    while file is not None and (chunk := file.read(1 << 20)):
        hasher.update(chunk)
        if keep:
            kept += chunk
    return Node(
        type="file",
        mode=mode,
        content=hasher.hexdigest(),
        owner=owner,
        data=kept if keep else None,
    )


class FileTree:
    """Files of an image by path, without ``/`` in front. The root is not among them."""

    def __init__(self, nodes: Mapping[str, Node] | None = None) -> None:
        self.nodes: dict[str, Node] = dict(nodes or {})

    def copy(self) -> FileTree:
        """Return a tree that can be changed on its own."""
        return FileTree(self.nodes)

    def apply(self, entries: Iterable[LayerEntry]) -> None:
        """Put a layer on top; whiteouts hide what is below the layer only."""
        entries = list(entries)
        for entry in entries:
            folder, name = posixpath.split(entry.path)
            if name == _OPAQUE:
                self._remove_below(folder)
            elif name.startswith(_WHITEOUT):
                self.remove(posixpath.join(folder, name.removeprefix(_WHITEOUT)))
        for entry in entries:
            if posixpath.basename(entry.path).startswith(_WHITEOUT) or not entry.path:
                continue
            node = entry.node
            if entry.hardlink is not None:
                node = self.nodes.get(entry.hardlink, node)
            self.put(entry.path, node)

    def put(self, path: str, node: Node) -> None:
        """Place a node. Whatever it needs as folders becomes one, as in a layer."""
        for parent in _parents(path):
            if parent not in self.nodes or self.nodes[parent].type != "directory":
                self.remove(parent)
                self.nodes[parent] = FOLDER
        known = self.nodes.get(path)
        if known is not None and (known.type, node.type) != ("directory", "directory"):
            self.remove(path)
        self.nodes[path] = node

    def make_folder(self, path: str) -> str:
        """Make the folder *path* and those above; return where it really is.

        Links are followed; folders that are there stay as they are.
        """
        real = self.resolve(path)
        for folder in (*_parents(real), real):
            if folder:
                self.nodes.setdefault(folder, FOLDER)
        return real

    def resolve(self, path: str) -> str:
        """Return the path that the kernel finds for *path*, all links followed."""
        done: list[str] = []
        left = path.split("/")[::-1]
        followed = 0
        while left:
            part = left.pop()
            if part in ("", "."):
                continue
            if part == "..":
                del done[-1:]
                continue
            done.append(part)
            node = self.nodes.get("/".join(done))
            if node is None or node.type != "symlink":
                continue
            followed += 1
            if followed > _MAX_LINKS:
                raise ValueError(f"the links of {path!r} go round in circles")
            if node.content.startswith("/"):
                done = []
            else:
                done.pop()
            left += node.content.split("/")[::-1]
        return "/".join(done)

    def remove(self, path: str) -> None:
        """Take away a node and everything below it."""
        node = self.nodes.pop(path, None)
        if node is not None and node.type == "directory":
            self._remove_below(path)

    def _remove_below(self, folder: str) -> None:
        prefix = f"{folder}/" if folder else ""
        for path in [path for path in self.nodes if path.startswith(prefix)]:
            del self.nodes[path]


def differences(wanted: FileTree, found: FileTree) -> Iterator[str]:
    """Yield one line for each path in which the trees differ; times play no part."""
    for path in sorted({*wanted.nodes, *found.nodes}):
        one, other = wanted.nodes.get(path), found.nodes.get(path)
        if one is None or other is None:
            there = "is there, and should not be" if one is None else "is missing"
            yield f"{'/' + path!r} {there}"
        elif replace(one, data=None) != replace(other, data=None):
            yield f"{'/' + path!r}: wanted {_text(one)}, found {_text(other)}"


def _text(node: Node) -> str:
    text = f"a {node.type} {node.mode:04o}"
    if node.owner != (0, 0):
        text += f" of {node.owner[0]}:{node.owner[1]}"
    if node.type == "symlink":
        text += f" to {node.content!r}"
    elif node.type == "file":
        text += f" sha256:{node.content[:12]}"
    return text


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: number + 1]) for number in range(len(parts))]
