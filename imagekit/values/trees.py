"""Folders as documents: what is in them, by relative path."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from imagekit.errors import SourceEscapesError
from imagekit.symlinks import check_links
from imagekit.value_blobs import ValueBlobs
from imagekit.values.binary import blob_of, file_reference
from imagekit.values.codec import Json
from imagekit.values.misfit import Misfit
from imagekit.values.scalars import text_document, text_of


def tree_document(root: str, blobs: ValueBlobs) -> list[Json]:
    """Return the entries of the folder *root*, sorted.

    Raises:
        Misfit: it has something else than files, folders and links inside of it.
    """
    entries: list[Json] = []
    links: dict[str, str] = {}
    for path, item in _walk(root, ""):
        name = text_document(path)
        if item.is_symlink():
            links[path] = os.readlink(item.path)
            entries.append({"link": name, "to": text_document(links[path])})
        elif item.is_dir(follow_symlinks=False):
            entries.append({"folder": name})
        elif item.is_file(follow_symlinks=False):
            entries.append(
                {
                    "file": name,
                    "content": file_reference(item.path, blobs),
                    "executable": executable(item.path),
                }
            )
        else:
            raise Misfit(f"{item.path!r} is no file, folder or symbolic link")
    _check_links(links, root)
    return entries


def _walk(folder: str, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(folder) as found:
        items = sorted(found, key=lambda item: item.name)
    for item in items:
        path = f"{prefix}{item.name}"
        yield path, item
        if item.is_dir(follow_symlinks=False):
            yield from _walk(item.path, f"{path}/")


def write_tree(entries: list[Json], root: str, blobs: ValueBlobs) -> None:
    """Make the folder *root* of the entries of a document.

    Raises:
        Misfit: one would be outside of it.
    """
    os.mkdir(root)
    links = {
        text_of(entry["link"]): text_of(entry["to"])
        for entry in entries
        if "link" in entry
    }
    _check_links(links, root)
    for entry in entries:
        if "folder" in entry:
            os.mkdir(_inside(root, text_of(entry["folder"])))
        elif "file" in entry:
            path = _inside(root, text_of(entry["file"]))
            write_file(entry, path, blobs)
    # Last, so that nothing is written through one.
    for name, target in links.items():
        os.symlink(target, _inside(root, name))


def write_file(entry: Json, path: str, blobs: ValueBlobs) -> None:
    """Make the file *path* of the entry of a document."""
    blobs.copy(blob_of(entry["content"]), path)
    if entry["executable"]:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        # Where it may be read, as umask left it.
        os.chmod(path, mode | (mode & 0o444) >> 2)


def executable(path: str) -> bool:
    """Return whether the owner may run the file."""
    return bool(os.stat(path).st_mode & stat.S_IXUSR)


def _inside(root: str, name: str) -> str:
    parts = name.split("/")
    if not all(part not in ("", ".", "..") and "\0" not in part for part in parts):
        raise Misfit(f"the path {name!r} leaves its folder")
    return f"{root}/{name}"


def _check_links(links: dict[str, str], root: str) -> None:
    try:
        check_links(links, root)
    except SourceEscapesError as error:
        raise Misfit(error.message, hint=error.hint) from error
