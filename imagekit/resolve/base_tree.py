"""The few files of an image that matter to imagekit, as its layers leave them.

Layers are read once, bottom first, and nothing of them is kept but links, folders near
the root, Python programs and C libraries; so memory stays flat.
"""

from __future__ import annotations

import io
import posixpath
import re
import tarfile
from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

from imagekit.errors import LayoutError
from imagekit.plan import Libc
from imagekit.records import dataclass, field

Kind: TypeAlias = Literal["folder", "link", "program", "libc", "venv"]
LibcName: TypeAlias = Literal["glibc", "musl"]

#: As many links as Linux follows in one path (path_resolution(7)).
_MAX_LINKS = 40
#: Folders below this depth tell nothing that is asked for.
_FOLDER_DEPTH = 4
#: The names of loaders stand in the first headers of a program (ELF, "PT_INTERP").
_HEAD = 4096
#: glibc's libc.so.6 has 2 MB, with debug symbols up to 20.
_LIBRARY_LIMIT = 32 << 20
_READ = 1 << 20

PROGRAM = re.compile(r"python3(?:\.(\d+))?")
_LIBRARY = re.compile(
    r"libc\.so\.6|libc-2\.\d+\.so|(?P<musl>ld-musl-[a-z0-9_]+\.so\.1|libc\.so)"
)
_GLIBC = re.compile(rb"GNU C Library \([^)]*\) [a-z]+ release version (\d+)\.(\d+)")
_MUSL = re.compile(rb"\0(1)\.(\d+)\.\d+[-+.\w]*\0")
_OPAQUE = ".wh..wh..opq"
_WHITEOUT = ".wh."


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A file that matters.

    Attributes:
        target: text of a link.
        loader: the C library that a program is linked to; None for a static one.
        libc: what a C library is.
    """

    kind: Kind
    target: str = ""
    loader: LibcName | None = None
    libc: Libc | None = None


@dataclass(slots=True)
class Tree:
    """Paths without a leading ``/``, and what they are."""

    nodes: dict[str, Node] = field(default_factory=dict)

    def apply(self, layer: Iterable[bytes]) -> None:
        """Put a layer on top: an uncompressed tar (image-spec, layer.md).

        Raises:
            LayoutError: the layer is not a tar archive.
        """
        changes = _Changes(self)
        source = io.BufferedReader(_Pieces(layer), _READ)
        try:
            with tarfile.open(fileobj=source, mode="r|", bufsize=_READ) as archive:
                for member in archive:
                    changes.add(archive, member)
                    # tarfile remembers every member; a layer may have a million.
                    archive.members = []  # type: ignore[attr-defined]  # typeshed omits it
            # The end of the archive may come before that of the blob, whose digest is
            # only checked when all of it was read.
            while source.read(_READ):
                pass
        except tarfile.TarError as error:
            raise LayoutError(f"a layer is not a tar archive: {error}") from error
        changes.merge()

    def resolve(self, path: str) -> str:
        """Return *path* without links, as seen from the image's root."""
        todo = path.split("/")[::-1]
        done: list[str] = []
        links = 0
        while todo:
            name = todo.pop()
            if name in ("", "."):
                continue
            if name == "..":
                del done[-1:]
                continue
            node = self.nodes.get("/".join((*done, name)))
            if node is None or node.kind != "link" or links == _MAX_LINKS:
                done.append(name)
                continue
            links += 1
            if node.target.startswith("/"):
                done.clear()
            todo.extend(node.target.split("/")[::-1])
        return "/".join(done)


class _Changes:
    """What one layer changes."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._lower = dict(tree.nodes)
        self._own: dict[str, Node] = {}
        self._gone: set[str] = set()
        self._emptied: set[str] = set()
        self._folder = ("", "")

    def add(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Take note of one entry."""
        folder, _, name = _normal(member.name).rpartition("/")
        folder = self._real_folder(folder)
        path = posixpath.join(folder, name)
        if name == _OPAQUE:
            self._emptied.add(folder)
        elif name.startswith(_WHITEOUT):
            self._gone.add(posixpath.join(folder, name.removeprefix(_WHITEOUT)))
        else:
            self._replace(path, folder=member.isdir())
            self._put(path, self._node(archive, member, path, name))

    def merge(self) -> None:
        """Apply the changes: what the layer removes first, then what it brings.

        A whiteout is about the layers below, wherever it stands in its own layer.
        """
        if self._gone or self._emptied:
            kept = {
                path: node for path, node in self._lower.items() if not self._lost(path)
            }
        else:
            kept = self._lower
        kept.update(self._own)
        self._tree.nodes = kept

    def _lost(self, path: str) -> bool:
        if path in self._gone:
            return True
        while path:
            path = path.rpartition("/")[0]
            if path in self._gone or path in self._emptied:
                return True
        return False

    def _replace(self, path: str, *, folder: bool) -> None:
        """Drop what lay at *path*: folders are joined, all else takes the place."""
        below = self._lower.get(path)
        if below is not None and not (folder and below.kind == "folder"):
            self._gone.add(path)

    def _put(self, path: str, node: Node | None) -> None:
        seen = self._tree.nodes
        if node is None:
            self._own.pop(path, None)
            seen.pop(path, None)
        else:
            # Entries that follow may go through this link.
            self._own[path] = seen[path] = node
            if node.kind == "link":
                self._folder = ("", "")

    def _real_folder(self, folder: str) -> str:
        """Return *folder* without links; entries of one folder stand together."""
        if self._folder[0] != folder:
            self._folder = (folder, self._tree.resolve(folder))
        return self._folder[1]

    def _node(
        self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: str, name: str
    ) -> Node | None:
        if member.isdir():
            near = bool(path) and path.count("/") < _FOLDER_DEPTH
            return Node(kind="folder") if near else None
        if member.issym():
            return Node(kind="link", target=member.linkname)
        if member.islnk():
            linked = self._tree.resolve(_normal(member.linkname))
            return self._tree.nodes.get(linked)
        if not member.isreg():
            return None
        if path == "opt/venv/pyvenv.cfg":
            return Node(kind="venv")
        if PROGRAM.fullmatch(name) and member.mode & 0o111:
            return _program(_content(archive, member, _HEAD))
        library = _LIBRARY.fullmatch(name)
        if library and member.size <= _LIBRARY_LIMIT:
            content = _content(archive, member, _LIBRARY_LIMIT)
            return _library(content, musl=bool(library["musl"]))
        return None


def _normal(name: str) -> str:
    return posixpath.normpath(f"/{name}").lstrip("/")


class _Pieces(io.RawIOBase):
    """Chunks as a file."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks: Iterator[bytes] = iter(chunks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed wants any buffer
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, limit: int) -> bytes:
    file = archive.extractfile(member)
    return file.read(limit) if file else b""


def _program(head: bytes) -> Node | None:
    """Return a Python program, or None for scripts that only call one."""
    if not head.startswith(b"\x7fELF"):
        return None
    if b"/ld-musl-" in head:
        return Node(kind="program", loader="musl")
    return Node(kind="program", loader="glibc" if b"/ld-linux" in head else None)


def _library(content: bytes, *, musl: bool) -> Node | None:
    found = (_MUSL if musl else _GLIBC).search(content)
    if found is None:
        return None
    version = (int(found[1]), int(found[2]))
    return Node(
        kind="libc", libc=Libc(name="musl" if musl else "glibc", version=version)
    )
