"""Where entries go in a layer: folders in front of files, around links of the base."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping

from imagekit.errors import BuildFailedError
from imagekit.oci.tar import path_bytes

#: Folders that bases bring along (FHS 3.0), some with modes and owners of their own. A
#: layer must not have entries for them: those would replace mode and owner.
BASE_FOLDERS = frozenset(
    """
    bin boot dev etc home lib lib32 lib64 libx32 media mnt opt proc root run sbin srv
    sys tmp usr usr/bin usr/games usr/include usr/lib usr/lib64 usr/libexec usr/local
    usr/local/bin usr/local/etc usr/local/include usr/local/lib usr/local/sbin
    usr/local/share usr/local/src usr/sbin usr/share usr/src var var/backups var/cache
    var/empty var/lib var/local var/lock var/log var/mail var/opt var/run var/spool
    var/tmp
    """.split()  # noqa: SIM905  (a name a line would be a page)
)

# Linux follows as many links in one path (path_resolution(7)).
_MAX_LINKS = 40


class Links:
    """Symbolic links of a base, which entries go around rather than replace.

    Args:
        links: absolute path of each link to its target (``/lib`` to ``usr/lib``).
    """

    def __init__(self, links: Mapping[str, str] | Iterable[tuple[str, str]]) -> None:
        self._links = {path.strip("/"): target for path, target in dict(links).items()}
        self._known: dict[str, str] = {}

    def __contains__(self, path: str) -> bool:
        return path.strip("/") in self._links

    def folder(self, path: str) -> str:
        """Return the folder that *path* leads to, without slashes at its ends.

        Raises:
            BuildFailedError: the links go round in circles.
        """
        known = self._known.get(path)
        if known is None:
            known = self._known[path] = self._follow(path)
        return known

    def _follow(self, path: str) -> str:
        done = ""
        todo = _parts(path)
        followed = 0
        while todo:
            part = todo.pop()
            if part == "..":
                done = posixpath.dirname(done)
                continue
            done = f"{done}/{part}" if done else part
            target = self._links.get(done)
            if target is None:
                continue
            followed += 1
            if followed > _MAX_LINKS:
                raise BuildFailedError(
                    f"the base's links make {path!r} endless",
                    hint="copy to another folder, or use another base",
                )
            done = "" if target.startswith("/") else posixpath.dirname(done)
            todo += _parts(target)
        return done

    def file(self, path: str) -> str:
        """Return where a file or link named *path* goes, without a leading slash.

        Raises:
            BuildFailedError: a link of the base has that name.
        """
        folder, name = posixpath.split(path)
        folder = self.folder(folder)
        resolved = f"{folder}/{name}" if folder else name
        if resolved in self._links:
            raise BuildFailedError(
                f"'/{resolved}' is a symbolic link of the base to "
                f"{self._links[resolved]!r}; no file can take its place",
                hint="copy to another path",
            )
        return resolved


def _parts(path: str) -> list[str]:
    """Return the components of *path*, the last one first."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def folders_of(paths: Iterable[str], *, below: str) -> set[str]:
    """Return the folders that hold *paths*: those below the folder *below*."""
    found: set[str] = set()
    for path in paths:
        folder = path[: max(0, path.rfind("/"))]
        while len(folder) > len(below) and folder not in found:
            found.add(folder)
            folder = folder[: max(0, folder.rfind("/"))]
    return found


def sort_key(path: str) -> bytes:
    """Return what layers are sorted by: a folder comes before what it holds."""
    return path_bytes(path)
