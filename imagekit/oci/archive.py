"""Tar archives of images, as ``docker load`` and other tools read them.

The archive is an OCI image layout (image-layout.md) in which ``index.json`` names the
images as containerd wants it. A ``manifest.json`` beside it is for engines with the
classic image store, which know no other; it names the blobs of the same layout. Equal
images give equal bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Protocol

from imagekit.digest import Digest
from imagekit.oci.closure import OpenBlob, closure, read_small, verified
from imagekit.oci.document import canonical_json
from imagekit.oci.layout import MARKER
from imagekit.oci.model import CONTAINERD_NAME, REF_NAME, Descriptor, index
from imagekit.oci.select import FoundImage, find_image
from imagekit.oci.tar import END, header, padding
from imagekit.platform import Platform
from imagekit.records import dataclass, replace
from imagekit.reference import Reference


class Output(Protocol):
    """Where an archive goes: a file, or a pipe."""

    def write(self, data: bytes, /) -> object:
        """Take *data*, all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What was written.

    Attributes:
        size: bytes of the blobs in the archive.
        omitted: bytes of the blobs that were left out.
    """

    size: int
    omitted: int


def write_archive(
    output: Output,
    root: Descriptor,
    open_blob: OpenBlob,
    *,
    names: Sequence[Reference],
    platform: Platform,
    omit: Collection[Digest] = (),
) -> Sent:
    """Write the archive of an image, or of an index of images, to *output*.

    Args:
        output: receives the archive, piece by piece.
        root: the manifest or index.
        open_blob: gives the bytes of each blob that *root* names.
        names: what the image is to be called, with tags.
        platform: the image that a classic engine gets, out of an index.
        omit: blobs to leave out, for a reader that has them.

    Raises:
        LayoutError: a document is invalid.
        HashMismatchError: *open_blob* gave wrong bytes.
    """
    _write_file(output, "oci-layout", MARKER)
    _write_file(output, "index.json", _index(root, names))
    chosen = find_image(
        root, platform, lambda descriptor: read_small(descriptor, open_blob)
    )
    if chosen is not None:
        _write_file(output, "manifest.json", _docker_manifest(chosen, names))
    for folder in ("blobs", "blobs/sha256"):
        output.write(header(folder, type="5", mode=0o755, mtime=0))
    size = omitted = 0
    for descriptor in closure(root, open_blob):
        if descriptor.digest in omit:
            omitted += descriptor.size
            continue
        _write_blob(output, descriptor, open_blob)
        size += descriptor.size
    output.write(END)
    return Sent(size=size, omitted=omitted)


def save_archive(
    path: Path,
    root: Descriptor,
    open_blob: OpenBlob,
    *,
    names: Sequence[Reference],
    platform: Platform,
) -> Sent:
    """Write the archive to the file *path*, which appears whole or not at all.

    Raises:
        OSError: the file can't be written.
        LayoutError: a document is invalid.
        HashMismatchError: *open_blob* gave wrong bytes.
    """
    import tempfile  # noqa: PLC0415  (slow to import)

    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        temporary = Path(file.name)
        try:
            sent = write_archive(file, root, open_blob, names=names, platform=platform)
            file.close()
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return sent


def _index(root: Descriptor, names: Sequence[Reference]) -> bytes:
    entries = [
        replace(
            root,
            annotations=(
                (CONTAINERD_NAME, str(name)),
                (REF_NAME, name.tag or "latest"),
            ),
        )
        for name in names
    ]
    return index(entries or [replace(root, annotations=())])


def _docker_manifest(image: FoundImage, names: Sequence[Reference]) -> bytes:
    """Return what ``docker save`` writes; the engine's source defines the format."""
    document: list[dict[str, Any]] = [
        {
            "Config": _path(image.manifest.config.digest),
            "RepoTags": [_familiar(name) for name in names],
            "Layers": [_path(layer.digest) for layer in image.manifest.layers],
        }
    ]
    return canonical_json(document)


def _familiar(name: Reference) -> str:
    """Return the name as the classic store writes it: short for Docker Hub's."""
    text = str(name)
    return text.removeprefix("docker.io/library/").removeprefix("docker.io/")


def _path(digest: Digest) -> str:
    return f"blobs/sha256/{digest.hex}"


def _write_file(output: Output, path: str, content: bytes) -> None:
    output.write(header(path, type="0", mode=0o644, mtime=0, size=len(content)))
    output.write(content + padding(len(content)))


def _write_blob(output: Output, descriptor: Descriptor, open_blob: OpenBlob) -> None:
    path, size = _path(descriptor.digest), descriptor.size
    output.write(header(path, type="0", mode=0o644, mtime=0, size=size))
    for chunk in verified(descriptor, open_blob(descriptor)):
        output.write(chunk)
    output.write(padding(size))
