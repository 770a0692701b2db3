"""Reads layers back, with the standard library alone."""

from __future__ import annotations

import gzip
import io
import tarfile

from imagekit.digest import Digest
from imagekit.plan import LayerDescriptor
from imagekit.store import Store


def tar_bytes(store: Store, layer: LayerDescriptor) -> bytes:
    """Return the tar of *layer*, once its descriptor has proved right."""
    blob = store.read_blob(layer.digest)
    assert len(blob) == layer.size
    assert layer.media_type == "application/vnd.oci.image.layer.v1.tar+gzip"
    tar = gzip.decompress(blob)
    assert Digest.of(tar) == layer.diff_id
    return tar


def entries(store: Store, layer: LayerDescriptor) -> dict[str, tarfile.TarInfo]:
    """Return the entries of *layer* by path, in order."""
    with tarfile.open(fileobj=io.BytesIO(tar_bytes(store, layer))) as tar:
        return {info.name: info for info in tar}


def contents(store: Store, layer: LayerDescriptor) -> dict[str, bytes]:
    """Return the bytes of the files of *layer* by path."""
    with tarfile.open(fileobj=io.BytesIO(tar_bytes(store, layer))) as tar:
        return {
            info.name: file.read()
            for info in tar
            if info.isfile() and (file := tar.extractfile(info)) is not None
        }


def rebuilt(tar: bytes) -> bytes:
    """Return *tar* as the standard library writes it: entry by entry, PAX."""
    output = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(tar)) as source,
        tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as target,
    ):
        for info in source:
            made = tarfile.TarInfo(info.name)
            for field in ("size", "mode", "mtime", "type", "linkname"):
                setattr(made, field, getattr(info, field))
            target.addfile(made, source.extractfile(info) if info.isfile() else None)
    return output.getvalue()
