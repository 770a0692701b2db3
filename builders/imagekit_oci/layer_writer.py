"""Writes a layer blob: a tar as gzip members, hashed on both sides while written.

Each payload has members of its own, and so has what is between two payloads (padding
and headers). A payload that is deflated already is copied, not compressed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Self

from imagekit.digest import Digest, Hash, sha256
from imagekit.oci import gzip_members, model, tar
from imagekit.plan import LayerDescriptor
from imagekit.store import Store

#: Version of the bytes that this package makes of given inputs. It is part of the
#: cache keys: any change of a layer's bytes needs another one.
FORMAT = 1

# Pieces are collected up to this size: hashing and writing then release the GIL for
# long enough that wheels in other threads get on.
_BATCH = 1 << 18


class LayerWriter:
    """Writes one layer into *store*, whole or not at all; a context manager.

    The caller gives the entries of the tar, in order: for each its header, then its
    payload if it has one.
    """

    def __init__(self, store: Store) -> None:
        self._writer = store.write_blob()
        self._diff_id: Hash = sha256()
        self._pending = bytearray()
        self._blob: list[bytes] = []
        self._blob_size = 0
        self._tar: list[bytes] = []
        self._tar_size = 0

    def __enter__(self) -> Self:
        self._writer.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._writer.__exit__(*exc)

    def small(self, data: bytes) -> None:
        """Add a header. It is written together with what is small beside it."""
        self._pending += data

    def copy(
        self, pieces: Iterable[tuple[bytes, bytes]], *, crc: int, size: int
    ) -> None:
        """Add a payload from *pieces* of a raw deflate stream.

        Args:
            pieces: bytes of the stream and bytes that they inflate to. The two need
                not belong together piece by piece.
            crc: CRC-32 of all the inflated bytes; checked by who gives the pieces.
            size: number of the inflated bytes; checked likewise.
        """
        self._end_small()
        self._write(gzip_members.HEADER)
        for deflated, inflated in pieces:
            self._write(deflated)
            self._digest(inflated)
        self._write(gzip_members.trailer(crc, size))
        self._pending += tar.padding(size)

    def large(self, chunks: Iterable[bytes]) -> int:
        """Add a payload of any size that is not deflated; return its size.

        It is stored, in members of a fixed size.
        """
        self._end_small()
        size = 0
        for piece in _pieces(chunks):
            self._write(gzip_members.stored(piece))
            self._digest(piece)
            size += len(piece)
        self._pending += tar.padding(size)
        return size

    def commit(self) -> LayerDescriptor:
        """End the archive, publish the blob and return its descriptor."""
        self._pending += tar.END
        self._end_small()
        self._flush_blob()
        self._flush_tar()
        digest = self._writer.commit()
        return LayerDescriptor(
            media_type=model.LAYER_GZIP,
            digest=digest,
            size=self._writer.size,
            diff_id=Digest(self._diff_id.hexdigest()),
        )

    def _end_small(self) -> None:
        if self._pending:
            data = bytes(self._pending)
            self._pending.clear()
            self._write(gzip_members.packed(data))
            self._digest(data)

    def _write(self, data: bytes) -> None:
        self._blob.append(data)
        self._blob_size += len(data)
        if self._blob_size > _BATCH:
            self._flush_blob()

    def _digest(self, data: bytes) -> None:
        self._tar.append(data)
        self._tar_size += len(data)
        if self._tar_size > _BATCH:
            self._flush_tar()

    def _flush_blob(self) -> None:
        self._writer.write(b"".join(self._blob))
        self._blob.clear()
        self._blob_size = 0

    def _flush_tar(self) -> None:
        self._diff_id.update(b"".join(self._tar))
        self._tar.clear()
        self._tar_size = 0


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield *chunks* cut anew, so that the cuts say nothing about who gave them."""
    limit = gzip_members.STORED_LIMIT
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        while len(buffer) >= limit:
            yield bytes(buffer[:limit])
            del buffer[:limit]
    if buffer:
        yield bytes(buffer)
