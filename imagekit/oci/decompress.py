"""Layers as the tar archives that they are: decompressed while they stream."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from imagekit.errors import LayoutError
from imagekit.oci.model import LAYER, LAYER_GZIP, LAYER_ZSTD, oci_media_type

#: Bytes that one step may give, so that memory stays flat whatever the ratio.
_PIECE = 1 << 20
_ZSTD_INPUT = 1 << 16
_ZSTD_HINT = "use Python 3.14, which reads zstd, or install the package 'zstandard'"


def decompressed(chunks: Iterable[bytes], media_type: str) -> Iterator[bytes]:
    """Yield the uncompressed bytes of a layer.

    Args:
        chunks: the blob.
        media_type: of the layer, OCI's or Docker's.

    Raises:
        LayoutError: the blob is damaged or cut off, or of a kind that can't be read
            here.
    """
    kind = oci_media_type(media_type)
    if kind == LAYER:
        yield from chunks
    elif kind == LAYER_GZIP:
        yield from _inflated(chunks)
    elif kind == LAYER_ZSTD:
        yield from _zstd(chunks)
    else:
        raise LayoutError(f"can't read a layer of type {media_type!r}")


def _inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the members of a gzip file, one after the other (RFC 1952, 2.2)."""
    module = _zlib()
    stream: Any = None
    rest = iter(chunks)
    for chunk in rest:
        data = chunk
        while data:
            if stream is None:
                stream = module.decompressobj(31)
            try:
                piece = stream.decompress(data, _PIECE)
            except module.error as error:
                _read_out(rest)
                raise LayoutError(f"a layer is not valid gzip: {error}") from error
            if piece:
                yield piece
            if stream.eof:
                # Some writers pad the end with zeros, which are no member.
                data, stream = stream.unused_data.lstrip(b"\0"), None
            else:
                data = stream.unconsumed_tail
    if stream is not None:
        raise LayoutError("a layer ends in the middle of its gzip data")


def _read_out(chunks: Iterator[bytes]) -> None:
    """Read the rest of a blob that is damaged: if it came so, its end says so."""
    for _ in chunks:
        pass


def _zlib() -> Any:
    """Return igzip where it is installed: several times faster, same interface."""
    try:
        return importlib.import_module("isal.isal_zlib")
    except ImportError:
        return importlib.import_module("zlib")


def _zstd(chunks: Iterable[bytes]) -> Iterator[bytes]:
    new, failure = _zstd_decompressor()
    stream: Any = None
    rest = iter(chunks)
    for chunk in rest:
        data = chunk
        while data:
            if stream is None:
                stream = new()
            try:
                # Not every version can limit what comes out; little input does.
                piece = stream.decompress(data[:_ZSTD_INPUT])
            except failure as error:
                _read_out(rest)
                raise LayoutError(f"a layer is not valid zstd: {error}") from error
            if piece:
                yield piece
            data = data[_ZSTD_INPUT:]
            if stream.eof:
                data, stream = stream.unused_data + data, None
    if stream is not None:
        raise LayoutError("a layer ends in the middle of its zstd data")


def _zstd_decompressor() -> tuple[Callable[[], Any], type[Exception]]:
    """Return what makes a decompressor of one frame, and the error that it raises."""
    for name in ("compression.zstd", "zstandard"):
        try:
            module: Any = importlib.import_module(name)
        except ImportError:
            continue
        if name == "zstandard":
            return module.ZstdDecompressor().decompressobj, module.ZstdError
        return module.ZstdDecompressor, module.ZstdError
    error = LayoutError(
        "can't read a layer that is compressed with zstd on this Python"
    )
    error.hint = _ZSTD_HINT
    raise error
