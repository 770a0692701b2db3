"""All blobs that belong to an image or index, found by following its descriptors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from imagekit.digest import Digest, sha256
from imagekit.errors import HashMismatchError
from imagekit.oci.model import Descriptor, Manifest, read_document

#: The bytes of a blob: a file, or pieces from elsewhere.
Content: TypeAlias = Path | Iterable[bytes]
#: Gives the content of a blob.
OpenBlob: TypeAlias = Callable[[Descriptor], Content]

_CHUNK = 1 << 20


def closure(root: Descriptor, open_blob: OpenBlob) -> Iterator[Descriptor]:
    """Yield *root* and all that it names, each blob once, parts before the whole.

    Raises:
        LayoutError: a manifest or index is invalid.
        HashMismatchError: a manifest or index is not what its descriptor says.
    """
    yield from _closure(root, open_blob, set())


def _closure(
    root: Descriptor, open_blob: OpenBlob, seen: set[Digest]
) -> Iterator[Descriptor]:
    if root.digest in seen:
        return
    seen.add(root.digest)
    if root.is_index or root.is_manifest:
        view = read_document(read_small(root, open_blob), root.media_type)
        if isinstance(view, Manifest):
            parts: tuple[Descriptor, ...] = (view.config, *view.layers)
        else:
            parts = view.manifests
        for part in parts:
            yield from _closure(part, open_blob, seen)
    yield root


def read_small(descriptor: Descriptor, open_blob: OpenBlob) -> bytes:
    """Return the verified bytes of a document."""
    return b"".join(verified(descriptor, open_blob(descriptor)))


def verified(descriptor: Descriptor, content: Content) -> Iterator[bytes]:
    """Yield the bytes of a blob, and fail at the end if they are not the right ones.

    Raises:
        HashMismatchError: size or digest is not what the descriptor says.
    """
    hasher, size = sha256(), 0
    for chunk in chunks(content):
        size += len(chunk)
        if size > descriptor.size:
            break
        hasher.update(chunk)
        yield chunk
    if size != descriptor.size:
        found = "more" if size > descriptor.size else f"{size}"
        raise HashMismatchError(
            f"wanted {descriptor.size} bytes of {descriptor.digest}, found {found}"
        )
    digest = Digest(hasher.hexdigest())
    if digest != descriptor.digest:
        raise HashMismatchError(f"wanted {descriptor.digest}, found {digest}")


def chunks(content: Content) -> Iterator[bytes]:
    """Yield the bytes of *content* in pieces of bounded size."""
    if not isinstance(content, Path):
        yield from content
        return
    with content.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
