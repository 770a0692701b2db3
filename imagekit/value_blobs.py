"""The folder where the large parts of tasks' inputs and outputs are kept.

::

    ab/abcdef…     the blob with that SHA-256
    partial/       files being written

A blob is written under another name and renamed, so that one that can be seen is whole,
whenever its writer was killed. What is read is checked: the folder may be shared with
containers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from imagekit.digest import Digest, Hash, sha256
from imagekit.errors import StoreError

_CHUNK = 1 << 20


class ByteSink(Protocol):
    """Takes bytes that make up a blob."""

    def write(self, data: bytes, /) -> int:
        """Add *data*, and return how much it is."""


class _HashingFile:
    """Writes to a file, and hashes what it writes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.hash: Hash = sha256()

    def write(self, data: bytes, /) -> int:
        self.hash.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            raise StoreError(f"can't write a blob: {error}") from error


class ValueBlobs:
    """Files named by what they hold.

    Safe to share between threads, processes and containers.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def put_bytes(self, data: bytes) -> Digest:
        """Keep *data*, and return its digest."""
        digest = Digest.of(data)
        if not self.has(digest):
            self.put(lambda sink: sink.write(data))
        return digest

    def put_file(self, path: str | os.PathLike[str]) -> Digest:
        """Keep what the file *path* holds now, and return its digest.

        Raises:
            OSError: it can't be read.
        """
        with open(path, "rb") as source:
            return self.put(lambda sink: _copy(source, sink))

    def put(self, write: Callable[[ByteSink], object]) -> Digest:
        """Keep what *write* writes, and return its digest.

        Raises:
            StoreError: the folder can't be written.
        """
        partial = self._partial()
        try:
            with _opened(partial) as file:
                hashing = _HashingFile(file)
                write(hashing)
            digest = Digest(hashing.hash.hexdigest())
            target = self.path(digest)
            try:
                target.parent.mkdir(exist_ok=True)
                os.replace(partial, target)
            except OSError as error:
                raise StoreError(f"can't write to {self.folder}: {error}") from error
        finally:
            partial.unlink(missing_ok=True)
        return digest

    def path(self, digest: Digest) -> Path:
        """Return where the blob is, if it is there at all."""
        return self.folder / digest.hex[:2] / digest.hex

    def has(self, digest: Digest) -> bool:
        """Return whether the blob is there."""
        return self.path(digest).is_file()

    def read(self, digest: Digest) -> bytes:
        """Return the bytes of a blob.

        Raises:
            StoreError: it is not there, or damaged.
        """
        return b"".join(self.chunks(digest))

    def copy(self, digest: Digest, path: str | os.PathLike[str]) -> None:
        """Write a blob to *path*, which must not exist yet.

        Raises:
            StoreError: it is not there, or damaged.
            OSError: *path* can't be written.
        """
        with open(path, "xb") as file:
            file.writelines(self.chunks(digest))

    def chunks(self, digest: Digest) -> Iterator[bytes]:
        """Yield the bytes of a blob; the last step checks them all.

        Raises:
            StoreError: it is not there, or damaged.
        """
        hasher = sha256()
        try:
            with open(self.path(digest), "rb") as file:
                while chunk := file.read(_CHUNK):
                    hasher.update(chunk)
                    yield chunk
        except OSError as error:
            raise StoreError(f"can't read blob {digest}: {error}") from error
        if hasher.hexdigest() != digest.hex:
            raise StoreError(
                f"blob {digest} in {self.folder} is damaged",
                hint=f"remove {self.path(digest)}",
            )

    def _partial(self) -> Path:
        folder = self.folder / "partial"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"can't write to {self.folder}: {error}") from error
        return folder / os.urandom(16).hex()


def _opened(path: Path) -> BinaryIO:
    try:
        return open(path, "xb")
    except OSError as error:
        raise StoreError(f"can't write to {path.parent}: {error}") from error


def _copy(source: BinaryIO, sink: ByteSink) -> None:
    while chunk := source.read(_CHUNK):
        sink.write(chunk)
