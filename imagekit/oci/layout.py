"""OCI image layouts: images in a folder (image-layout.md)."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imagekit.digest import Digest
from imagekit.errors import HashMismatchError, LayoutError
from imagekit.oci.closure import OpenBlob, closure, verified
from imagekit.oci.document import canonical_json, read_json
from imagekit.oci.model import (
    INDEX,
    REF_NAME,
    Descriptor,
    Index,
    oci_media_type,
    read_index,
)
from imagekit.records import dataclass

#: Content of the file ``oci-layout``.
MARKER = canonical_json({"imageLayoutVersion": "1.0.0"})

#: How names of files begin that are being written. Not among the blobs, where tools
#: want digests only.
_TEMPORARY = ".imagekit-"


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout in the folder *root*.

    A layout that is only made, and not opened, gives blobs; so a content store, which
    has its blobs in the same place, can be read as one.
    """

    root: Path

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Layout:
        """Return the layout at *path*.

        Raises:
            LayoutError: there is none, or its index is invalid.
        """
        layout = cls(Path(path))
        marker = read_json(_read(layout.root / "oci-layout", layout.root), "oci-layout")
        version = marker.get("imageLayoutVersion")
        if version != "1.0.0":
            raise LayoutError(f"wanted imageLayoutVersion '1.0.0', found {version!r}")
        layout.index()
        return layout

    def index(self) -> Index:
        """Return a view of ``index.json``."""
        return read_index(_read(self.root / "index.json", self.root), INDEX)

    @property
    def images(self) -> tuple[Descriptor, ...]:
        """What ``index.json`` names: images, and indexes of images."""
        return tuple(
            item for item in self.index().manifests if item.is_manifest or item.is_index
        )

    def resolve(self, reference: str | None = None) -> Descriptor:
        """Return what a tag or digest names; without one, the only image.

        Raises:
            LayoutError: nothing or more than one thing is so named; the issues are
                what there is.
        """
        images = self.images
        names = tuple(_label(image) for image in images)
        if reference is None:
            if len({image.digest for image in images}) == 1:
                return images[0]
            found = f"{len(images)} images" if images else "no image"
            raise LayoutError(
                f"wanted one image in {str(self.root)!r}, found {found}", names
            )
        tag, _, digest = reference.rpartition("@")
        if not tag and not digest.startswith("sha256:"):
            tag, digest = digest, ""
        matches = [
            image
            for image in images
            if (not tag or image.annotation(REF_NAME) == tag)
            and (not digest or str(image.digest) == digest)
        ]
        if len({image.digest for image in matches}) == 1:
            return matches[0]
        found = "several" if matches else "none"
        raise LayoutError(
            f"wanted an image named {reference!r} in {str(self.root)!r}, found {found}",
            names,
        )

    def blob_path(self, digest: Digest) -> Path:
        """Return where the blob is or would be."""
        return self.root / "blobs" / "sha256" / digest.hex

    def has_blob(self, digest: Digest) -> bool:
        """Return whether the blob is here."""
        return self.blob_path(digest).is_file()

    def chunks(self, descriptor: Descriptor) -> Iterator[bytes]:
        """Yield the bytes of a blob; fail where they are not what they should be.

        Raises:
            LayoutError: it is not here, or damaged.
        """
        try:
            yield from verified(descriptor, self.blob_path(descriptor.digest))
        except OSError as error:
            raise LayoutError(
                f"no blob {descriptor.digest} in {str(self.root)!r}: {error.strerror}"
            ) from error
        except HashMismatchError as error:
            raise LayoutError(
                f"a damaged blob in {str(self.root)!r}: {error.message}"
            ) from error

    def read(self, descriptor: Descriptor) -> bytes:
        """Return the verified bytes of a small blob.

        Raises:
            LayoutError: it is not here, or damaged.
        """
        return b"".join(self.chunks(descriptor))


def write_layout(
    path: str | os.PathLike[str],
    root: Descriptor,
    open_blob: OpenBlob,
    *,
    tags: Sequence[str] = (),
) -> Layout:
    """Write an image, or an index of images, into the layout at *path*.

    The layout is made where there is none; what it holds already stays, but tags are
    taken over. Blobs come first and ``index.json`` last, by a rename, so a reader and
    a killed writer see the layout as it was or as it will be. Files are hard-linked
    where the file system allows it, else copied.

    Args:
        path: folder of the layout.
        root: the manifest or index.
        open_blob: gives the file or the bytes of each blob that *root* names.
        tags: names for it in ``index.json``.

    Raises:
        LayoutError: *path* is something else, or can't be written.
        HashMismatchError: *open_blob* gave wrong bytes.
    """
    layout = Layout(Path(path))
    with _disk_errors(layout.root):
        _prepare(layout.root)
        with _locked(layout.root):
            for leftover in layout.root.glob(f"{_TEMPORARY}*"):
                leftover.unlink()
            for descriptor in closure(root, open_blob):
                _place(layout, descriptor, open_blob)
            _replace(layout, "oci-layout", MARKER)
            document = _merged_index(layout.root, root, tags)
            _replace(layout, "index.json", canonical_json(document))
    return layout


def _label(descriptor: Descriptor) -> str:
    tag = descriptor.annotation(REF_NAME)
    return f"{tag}@{descriptor.digest}" if tag else str(descriptor.digest)


def _read(path: Path, root: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LayoutError(
            f"no OCI image layout at {str(root)!r}: "
            f"can't read {path.name!r}: {error.strerror}"
        ) from error


def _prepare(root: Path) -> None:
    if root.is_dir() and not (root / "oci-layout").exists():
        names = sorted(entry.name for entry in root.iterdir())
        # A writer that was killed leaves no more than this.
        others = [
            name
            for name in names
            if name != "blobs" and not name.startswith(_TEMPORARY)
        ]
        if others:
            raise LayoutError(
                f"wanted an OCI image layout or an empty folder at {str(root)!r}, "
                f"found {', '.join(map(repr, others[:3]))}"
            )
    (root / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)


def _place(layout: Layout, descriptor: Descriptor, open_blob: OpenBlob) -> None:
    target = layout.blob_path(descriptor.digest)
    if target.is_file() and target.stat().st_size == descriptor.size:
        return
    content = open_blob(descriptor)
    if isinstance(content, Path) and _linked(content, descriptor, target):
        return
    with _replacing(layout, target) as file:
        for chunk in verified(descriptor, content):
            file.write(chunk)


def _linked(source: Path, descriptor: Descriptor, target: Path) -> bool:
    """Hard-link a file of the store: its bytes were verified when it was written."""
    try:
        if source.stat().st_size != descriptor.size:
            return False
        target.unlink(missing_ok=True)
        target.hardlink_to(source)
    except OSError:
        # Another file system, or one without links: the caller copies.
        return False
    return True


def _merged_index(root: Path, image: Descriptor, tags: Sequence[str]) -> dict[str, Any]:
    """Return the index with *image* in it, and all other entries as they were."""
    try:
        document = read_json((root / "index.json").read_bytes(), "index.json")
    except FileNotFoundError:
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
    kept = [
        entry
        for entry in document.get("manifests") or []
        if not _superseded(entry, image, tags)
    ]
    base = {**image.to_json(), "mediaType": oci_media_type(image.media_type)}
    added = [{**base, "annotations": {REF_NAME: tag}} for tag in tags] or [base]
    return {**document, "manifests": [*kept, *added]}


def _superseded(entry: dict[str, Any], image: Descriptor, tags: Sequence[str]) -> bool:
    name = (entry.get("annotations") or {}).get(REF_NAME)
    if name is not None:
        return name in tags
    # An entry without a name is in the way only if it is the same image.
    return entry.get("digest") == str(image.digest)


def _replace(layout: Layout, name: str, content: bytes) -> None:
    with _replacing(layout, layout.root / name) as file:
        file.write(content)


@contextmanager
def _replacing(layout: Layout, path: Path) -> Iterator[Any]:
    """Give a file that takes the place of *path* once it is complete."""
    import tempfile  # noqa: PLC0415  (slow to import)

    descriptor, name = tempfile.mkstemp(dir=layout.root, prefix=_TEMPORARY)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Keep other writers of this layout out, so that no tag is lost."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _disk_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise LayoutError(f"can't write to {str(root)!r}: {reason}") from error
