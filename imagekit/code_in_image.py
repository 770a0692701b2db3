"""Where images have code that their own layers copied into them.

With ``copy_style="none"`` no code is sent: it came with the image, by
``with_source_folder()`` say. Its modules are found where that put them.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator

from imagekit.image import Image
from imagekit.layers import DebianBase, SourceFile, SourceFolder, WorkDir
from imagekit.resolve.planning import HOME


def paths_in_image(image: Image, folders: Iterable[str]) -> tuple[str, ...]:
    """Return the folders of *image* that hold what is in *folders* on this machine.

    Args:
        image: only what its layers copy is known, and of images that are there already
            only what is copied to absolute paths.
        folders: absolute paths of folders that modules are imported from.
    """
    copies = list(_copies(image))
    found: dict[str, None] = {}
    for folder in folders:
        for local, inside in copies:
            place = _place(os.path.normpath(folder), local, inside)
            if place is not None:
                found[place] = None
    return tuple(found)


def _copies(image: Image) -> Iterator[tuple[str, str]]:
    """Yield folders of this machine, and where the image has them."""
    workdir = HOME if isinstance(image.base, DebianBase) else None
    for layer in image.layers:
        match layer:
            case WorkDir():
                workdir = _joined(workdir, layer.path)
            case SourceFolder():
                inside = _joined(workdir, layer.dst)
                local = layer.src.location
                if inside is not None and not layer.copy_contents_only:
                    inside = posixpath.join(inside, os.path.basename(local))
                if inside is not None:
                    yield local, inside
            case SourceFile():
                folder, name = os.path.split(layer.src.location)
                dst, last = posixpath.split(layer.dst)
                if last in ("", ".", ".."):
                    dst, last = layer.dst, name
                inside = _joined(workdir, dst)
                if inside is not None and last == name:
                    yield folder, inside
            case _:
                pass  # it copies nothing of the user's


def _joined(workdir: str | None, path: str) -> str | None:
    if posixpath.isabs(path):
        return posixpath.normpath(path)
    return None if workdir is None else posixpath.normpath(f"{workdir}/{path}")


def _place(folder: str, local: str, inside: str) -> str | None:
    """Return where the image has *folder*, if *local* is *inside* of it."""
    if folder == local or folder.startswith(local.rstrip(os.sep) + os.sep):
        return posixpath.normpath(
            posixpath.join(inside, os.path.relpath(folder, local).replace(os.sep, "/"))
        )
    if local.startswith(folder.rstrip(os.sep) + os.sep):
        # A package was copied, and modules are imported from the folder that it is in.
        below = os.path.relpath(local, folder).replace(os.sep, "/")
        if inside.endswith(f"/{below}"):
            return inside[: -len(below) - 1] or "/"
    return None
