"""A layer with no time stamp after a given one, compressed in a reproducible way."""

from __future__ import annotations

import io
import tarfile
import zlib
from typing import IO

from imagekit.digest import Digest, sha256
from imagekit.oci.model import LAYER_GZIP
from imagekit.plan import LayerDescriptor
from imagekit.store import BlobWriter, Store

_BUFFER = 1 << 20
#: Time stamps that say when the layer was made, and fractions of seconds.
_TIMES = ("mtime", "atime", "ctime", "LIBARCHIVE.creationtime")


def clamped_layer(
    head: bytes, rest: IO[bytes], created: int, store: Store
) -> tuple[LayerDescriptor, bool]:
    """Write the tar *head* + *rest* as a layer into *store*.

    Args:
        head: the first bytes, which were read already.
        rest: all that follows.
        created: the latest time stamp that a file may have, in seconds.
        store: receives the blob.

    Returns:
        the layer, and whether the store had it before.
    """
    with store.write_blob() as writer:
        output = _Layer(writer)
        with (
            tarfile.open(
                fileobj=_Joined(head, rest), mode="r|", bufsize=_BUFFER
            ) as old,
            tarfile.open(
                fileobj=output, mode="w|", bufsize=_BUFFER, format=tarfile.PAX_FORMAT
            ) as new,
        ):
            for member in old:
                member.mtime = min(int(member.mtime), created)
                member.pax_headers = {
                    name: text
                    for name, text in member.pax_headers.items()
                    if name not in _TIMES
                }
                new.addfile(member, old.extractfile(member) if member.isreg() else None)
        layer = output.end()
        known = store.has_blob(layer.digest)
        writer.commit(layer.digest)
    return layer, known


class _Joined(io.RawIOBase):
    """*head* and then *rest*, as one stream."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        head, self._head = self._head, b""
        return head + self._rest.read(size - len(head) if size >= 0 else -1)


class _Layer(io.RawIOBase):
    """Compresses and hashes what is written."""

    def __init__(self, writer: BlobWriter) -> None:
        self._writer = writer
        self._diff_id = sha256()
        self._digest = sha256()
        # With a header of zlib's own: no name and no time in it.
        self._gzip = zlib.compressobj(6, zlib.DEFLATED, 31)

    def writable(self) -> bool:
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override]  # bytes only
        self._diff_id.update(data)
        self._add(self._gzip.compress(data))
        return len(data)

    def end(self) -> LayerDescriptor:
        self._add(self._gzip.flush())
        return LayerDescriptor(
            media_type=LAYER_GZIP,
            digest=Digest(self._digest.hexdigest()),
            size=self._writer.size,
            diff_id=Digest(self._diff_id.hexdigest()),
        )

    def _add(self, data: bytes) -> None:
        self._digest.update(data)
        self._writer.write(data)
