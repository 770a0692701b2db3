"""Files and folders: what they hold goes along, and is copied where it is needed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from imagekit.digest import Digest
from imagekit.errors import StoreError
from imagekit.io import Dir, File
from imagekit.value_blobs import ValueBlobs
from imagekit.values.binary import blob_of, file_reference
from imagekit.values.codec import Codec, Json, Packing, document_bytes
from imagekit.values.misfit import Misfit, wanted
from imagekit.values.scalars import text_document, text_of
from imagekit.values.trees import (
    executable,
    tree_document,
    write_file,
    write_tree,
)


def _file_document(path: str, blobs: ValueBlobs) -> Json:
    return {
        "name": text_document(os.path.basename(path)),
        "content": file_reference(path, blobs),
        "executable": executable(path),
    }


def _folder_document(path: str, blobs: ValueBlobs) -> Json:
    name = os.path.basename(os.path.realpath(path)) or "root"
    return {"name": text_document(name), "tree": tree_document(path, blobs)}


def _made(document: Json, at: Packing) -> str:
    """Return the path of the copy that is made of *document*."""
    name = text_of(document["name"])
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise Misfit(f"wanted the name of a file, found {name!r}")
    blobs = at.kept("a file")
    try:
        path = os.path.join(at.new_folder(), name)
        if "tree" in document:
            write_tree(document["tree"], path, blobs)
        else:
            write_file(document, path, blobs)
    except OSError as error:
        raise StoreError(f"can't write a copy of {name!r}: {error}") from error
    return path


def _tree_digest(document: Json) -> Digest:
    return Digest.of(document_bytes(document["tree"]))


class _OnDisk(Codec):
    def describe(self, within: tuple[object, ...]) -> Json:
        """Return the name of the type."""
        del within
        return self.label


class FileCodec(_OnDisk):
    """:class:`imagekit.io.File`."""

    label = "File"

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the file's name and blob; the value learns its digest."""
        if type(value) is not File:
            raise wanted("File", value, hint="make one with File.from_local(path)")
        try:
            document = _file_document(value.path, to.kept("a File"))
        except OSError as error:
            raise _unreadable(error) from error
        object.__setattr__(value, "digest", blob_of(document["content"]))
        return {"$file": document}

    def decode(self, document: Json, at: Packing) -> File:
        """Return a copy."""
        inner = document["$file"]
        return File(_made(inner, at), blob_of(inner["content"]))


class DirCodec(_OnDisk):
    """:class:`imagekit.io.Dir`."""

    label = "Dir"

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the folder's entries; the value learns its digest."""
        if type(value) is not Dir:
            raise wanted("Dir", value, hint="make one with Dir.from_local(path)")
        try:
            document = _folder_document(value.path, to.kept("a Dir"))
        except OSError as error:
            raise _unreadable(error) from error
        object.__setattr__(value, "digest", _tree_digest(document))
        return {"$file": document}

    def decode(self, document: Json, at: Packing) -> Dir:
        """Return a copy."""
        inner = document["$file"]
        return Dir(_made(inner, at), _tree_digest(inner))


class PathCodec(_OnDisk):
    """``pathlib.Path``: the file or folder that is there."""

    label = "Path"

    def encode(self, value: Any, to: Packing) -> Json:
        """Return what the path leads to."""
        if not isinstance(value, Path):
            raise wanted("Path", value)
        path = os.path.abspath(value)
        make = _folder_document if os.path.isdir(path) else _file_document
        try:
            return {"$file": make(path, to.kept("a Path"))}
        except OSError as error:
            raise _unreadable(error) from error

    def decode(self, document: Json, at: Packing) -> Path:
        """Return the path of a copy."""
        return Path(_made(document["$file"], at))


def _unreadable(error: OSError) -> Misfit:
    return Misfit(
        f"can't read {error.filename!r}: {error.strerror}",
        hint="a path as input or output takes along what it leads to: write the file "
        "first, or pass its name as str",
    )
