"""Digests of the files and folders of this machine that requirements name."""

from __future__ import annotations

from pathlib import Path

from imagekit.digest import Digest
from imagekit.errors import SourceNotFoundError


class TreeDigests:
    """Digests of local projects, each walked once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def __call__(self, path: str) -> str:
        """Return the digest of the folder at *path*, without what is ignored."""
        if path not in self._known:
            from imagekit.ignore import DEFAULT  # noqa: PLC0415  (rarely needed)
            from imagekit.sources import walk  # noqa: PLC0415

            self._known[path] = walk(path, DEFAULT).digest
        return self._known[path]


def local_digest(path: Path, digests: TreeDigests) -> str:
    """Return a hash of the file or folder at *path*."""
    if path.is_dir():
        return digests(str(path))
    try:
        with path.open("rb") as file:
            return Digest.of_chunks(iter(lambda: file.read(1 << 20), b"")).hex
    except OSError as error:
        raise SourceNotFoundError(
            f"no file or folder at {str(path)!r}",
            hint="paths are relative to the file that names them",
        ) from error
