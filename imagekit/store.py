"""The content store: blobs by digest, and small records that name them.

Layout, below the cache folder::

    blobs/sha256/<hex>          layers, configs, manifests
    wheels/<hex>/<filename>     fetched and built wheels, by the sha256 of the file
    records/<kind>/<key>.json   what was learned: layers by input key, bases, locks
    tmp/                        files being written
    lock                        held shared by builds, exclusively by ``gc``

Everything is written to ``tmp/`` and renamed, blobs before the records that name them.
So a killed build leaves whole files or nothing, and builds side by side are safe: they
write equal bytes under equal names.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Self

from imagekit.digest import Digest, Hash, sha256
from imagekit.errors import HashMismatchError, StoreError
from imagekit.records import dataclass

_CHUNK = 1 << 20


class BlobWriter:
    """Writes one blob: hashes while writing, and publishes it whole or not at all.

    Used as a context manager; a block that is left by an exception publishes nothing.
    """

    def __init__(self, folder: Path, temporary: Path) -> None:
        self._folder = folder
        self._temporary = temporary
        self._file: BinaryIO | None = None
        self._hash: Hash = sha256()
        self.size = 0

    def __enter__(self) -> Self:
        with _disk_errors(self._temporary):
            descriptor, self._name = _new_file(self._temporary, "blob")
        self._file = os.fdopen(descriptor, "wb")
        return self

    def write(self, data: bytes) -> None:
        """Add *data* to the blob."""
        assert self._file is not None
        with _disk_errors(self._name):
            self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    def commit(self, expected: Digest | None = None) -> Digest:
        """Publish the blob and return its digest.

        Raises:
            HashMismatchError: the bytes are not those of *expected*.
        """
        assert self._file is not None
        digest = Digest(self._hash.hexdigest())
        if expected is not None and digest != expected:
            raise HashMismatchError(f"wanted {expected}, found {digest}")
        with _disk_errors(self._name):
            self._file.close()
            self._name.chmod(0o644)
            self._name.replace(self._folder / digest.hex)
        return digest

    def __exit__(self, *_exc: object) -> None:
        assert self._file is not None
        with suppress(OSError):
            self._file.close()
        self._name.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Store:
    """A content store in *root*, made on first use."""

    root: Path

    def blob_path(self, digest: Digest) -> Path:
        """Return where the blob is or would be."""
        return self.root / "blobs" / "sha256" / digest.hex

    def has_blob(self, digest: Digest) -> bool:
        """Return whether the blob is here."""
        return self.blob_path(digest).exists()

    def read_blob(self, digest: Digest) -> bytes:
        """Return the bytes of a small blob, verified.

        Raises:
            StoreError: it is not here, or damaged.
        """
        try:
            data = self.blob_path(digest).read_bytes()
        except OSError as error:
            raise StoreError(f"no blob {digest} in the store: {error}") from error
        if Digest.of(data) != digest:
            raise StoreError(
                f"blob {digest} in the store is damaged",
                hint="run 'imagekit cache gc --layers' and build again",
            )
        return data

    def write_blob(self) -> BlobWriter:
        """Return a writer for a new blob."""
        folder = self.root / "blobs" / "sha256"
        return BlobWriter(self._made(folder), self.temporary())

    def add_blob(self, data: bytes) -> Digest:
        """Write *data* as a blob and return its digest."""
        digest = Digest.of(data)
        if not self.has_blob(digest):
            with self.write_blob() as writer:
                writer.write(data)
                writer.commit(digest)
        return digest

    def wheel_path(self, sha256_hex: str, filename: str) -> Path:
        """Return where the wheel is or would be."""
        return self.root / "wheels" / sha256_hex / filename

    def add_wheel(self, source: Path, sha256_hex: str, filename: str) -> Path:
        """Move the verified file *source* (in :meth:`temporary`) into the store."""
        target = self.wheel_path(sha256_hex, filename)
        with _disk_errors(target):
            self._made(target.parent)
            source.chmod(0o644)
            source.replace(target)
        return target

    def read_record(self, kind: str, key: str) -> Any | None:
        """Return a JSON record, or None where there is none (or a damaged one)."""
        path = self.root / "records" / kind / f"{key}.json"
        try:
            return json.loads(path.read_bytes())
        except (OSError, ValueError):
            return None

    def write_record(self, kind: str, key: str, value: Any) -> None:
        """Write a JSON record; what it names must be in the store already."""
        folder = self._made(self.root / "records" / kind)
        temporary = self.temporary()
        with _disk_errors(temporary):
            descriptor, name = _new_file(temporary, "record")
        try:
            with _disk_errors(folder), os.fdopen(descriptor, "w") as file:
                json.dump(value, file, sort_keys=True)
            with _disk_errors(folder):
                name.replace(folder / f"{key}.json")
        finally:
            name.unlink(missing_ok=True)

    def temporary(self) -> Path:
        """Return the folder for files being written; same file system as the rest."""
        return self._made(self.root / "tmp")

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Hold the store open for a build, so that no ``gc`` runs meanwhile."""
        with self._locked(fcntl.LOCK_SH):
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the store alone, waiting for builds to end."""
        with self._locked(fcntl.LOCK_EX):
            yield

    @contextmanager
    def _locked(self, mode: int) -> Iterator[None]:
        path = self._made(self.root) / "lock"
        with _disk_errors(path):
            file = path.open("a")
        with file:
            fcntl.flock(file, mode)
            try:
                yield
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)

    def _made(self, folder: Path) -> Path:
        with _disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder


def _new_file(folder: Path, prefix: str) -> tuple[int, Path]:
    """Make a file of the user's own; ``tempfile``, without all that it imports."""
    path = folder / f"{prefix}-{os.urandom(8).hex()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), path


@contextmanager
def full_disks(path: Path) -> Iterator[None]:
    """Turn what a full disk does to whoever writes below *path* into StoreError."""
    try:
        yield
    except OSError as error:
        if not _is_full(error):
            raise
        raise _unwritable(path, error) from error


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unwritable(path, error) from error


def _is_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _unwritable(path: Path, error: OSError) -> StoreError:
    if _is_full(error):
        return StoreError(
            f"can't write to {str(path)!r}: the disk is full",
            hint="free some space with 'imagekit cache gc', or set IMAGEKIT_CACHE_DIR "
            "to a folder with room",
        )
    return StoreError(
        f"can't write to {str(path)!r}: {error.strerror or error}",
        hint="set IMAGEKIT_CACHE_DIR to a folder that can be written",
    )
