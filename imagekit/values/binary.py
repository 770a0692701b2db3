"""Bytes in documents: the few as text, the many as blobs."""

from __future__ import annotations

import base64
from typing import Any

from imagekit.digest import Digest
from imagekit.value_blobs import ValueBlobs
from imagekit.values.codec import Json, Packing

#: Bytes up to which a blob is not worth a file.
_INLINE = 4096


def binary(data: bytes, to: Packing) -> Json:
    """Return the document of *data*."""
    if to.blobs is None or len(data) <= _INLINE:
        return base64.b64encode(data).decode("ascii")
    return reference(to.blobs.put_bytes(data), len(data))


def binary_of(document: Json, at: Packing) -> bytes:
    """Return the bytes of *document*."""
    if isinstance(document, str):
        return base64.b64decode(document, validate=True)
    return at.kept("a blob").read(blob_of(document))


def reference(digest: Digest, size: int) -> Json:
    """Return the document that refers to a blob."""
    return {"$blob": str(digest), "size": size}


def file_reference(path: str, blobs: ValueBlobs) -> Json:
    """Keep the file *path* as a blob, and return the document that refers to it."""
    digest = blobs.put_file(path)
    return reference(digest, blobs.path(digest).stat().st_size)


def blob_of(document: Any) -> Digest:
    """Return the blob that *document* refers to."""
    return Digest.parse(document["$blob"])
