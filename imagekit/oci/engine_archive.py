"""Archives that engines write (``docker save``), taken apart into a content store."""

from __future__ import annotations

import tarfile
from typing import BinaryIO

from imagekit.digest import Digest
from imagekit.errors import BuilderUnavailableError, InvalidDigestError, LayoutError
from imagekit.oci.model import INDEX, Descriptor, read_index
from imagekit.store import Store

#: Records of images that were taken out of an engine, by id.
ENGINE_RECORDS = "engine"

_CHUNK = 1 << 20
_LARGEST_INDEX = 4 << 20
_BLOBS = "blobs/sha256/"


def store_archive(
    stream: BinaryIO, store: Store
) -> tuple[Descriptor, tuple[Digest, ...]]:
    """Put the blobs of an archive into *store*.

    Returns:
        what the archive's index names, and the digests of all blobs in it.

    Raises:
        LayoutError: the archive is invalid.
        HashMismatchError: a blob is not what its name says.
        BuilderUnavailableError: the archive is in the format before OCI layouts.
    """
    blobs: list[Digest] = []
    index: bytes | None = None
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=_CHUNK) as archive:
            for member in archive:
                if not member.isreg():
                    continue
                if member.name == "index.json" and member.size <= _LARGEST_INDEX:
                    file = archive.extractfile(member)
                    assert file is not None
                    index = file.read()
                elif member.name.startswith(_BLOBS):
                    blobs.append(_store_blob(archive, member, store))
    except tarfile.TarError as error:
        raise LayoutError(f"the engine's archive is not valid: {error}") from error
    if index is None:
        raise BuilderUnavailableError(
            "the engine writes archives that are no OCI layouts",
            hint="update it to Docker 25 or newer, or push the image to a registry",
        )
    images = read_index(index, INDEX).manifests
    if len({image.digest for image in images}) != 1:
        raise LayoutError(f"wanted one image in the engine's archive, found {images!r}")
    return images[0], tuple(blobs)


def _store_blob(
    archive: tarfile.TarFile, member: tarfile.TarInfo, store: Store
) -> Digest:
    name = member.name.removeprefix(_BLOBS)
    try:
        digest = Digest.parse(f"sha256:{name}")
    except InvalidDigestError as error:
        raise LayoutError(f"wanted a blob, found {member.name!r}") from error
    if store.has_blob(digest):
        return digest
    file = archive.extractfile(member)
    assert file is not None
    with store.write_blob() as writer:
        while chunk := file.read(_CHUNK):
            writer.write(chunk)
        writer.commit(digest)
    return digest
