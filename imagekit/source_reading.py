"""Reads files of a tree again, checked against the hashes that named the image."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

from imagekit.errors import SourceChangedError, SourceUnreadableError
from imagekit.sources import Entry

_CHUNK = 1 << 20
# O_NONBLOCK: a named pipe that took the place of a file must not stop the build.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def checked_bytes(entry: Entry) -> Iterator[bytes]:
    """Yield the bytes of a file, in bounded pieces, if they are what was hashed.

    Raises:
        SourceChangedError: they are not, or the file has gone.
        SourceUnreadableError: it can't be read.
    """
    digest = hashlib.sha256(usedforsecurity=False)
    size = 0
    for chunk in _read(entry):
        size += len(chunk)
        if size > entry.size:
            break
        digest.update(chunk)
        yield chunk
    if size != entry.size or digest.hexdigest() != entry.sha256:
        raise SourceChangedError(
            f"{entry.location!r} changed during the build",
            hint="build again when nothing writes to it",
        )


def _read(entry: Entry) -> Iterator[bytes]:
    try:
        descriptor = os.open(entry.location, _FLAGS)
        with open(descriptor, "rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except PermissionError as error:
        raise SourceUnreadableError(
            f"can't read {entry.location!r}: {error.strerror}",
            hint="make it readable, or name it in the .dockerignore file",
        ) from error
    except OSError as error:
        raise SourceChangedError(
            f"{entry.location!r} changed during the build: {error.strerror}",
            hint="build again when nothing writes to it",
        ) from error
