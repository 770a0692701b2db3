"""Checks that what a tag of a registry stands for is there, every byte of it."""

from __future__ import annotations

from collections.abc import Iterable

from imagekit.digest import Digest
from imagekit.oci.closure import closure
from imagekit.oci.model import Descriptor
from imagekit.oci.registry import Repository
from imagekit.oci.validate import check_image


def pulled(
    repository: Repository, reference: str, *, known: frozenset[Digest] = frozenset()
) -> Digest | None:
    """Pull all that a tag stands for and check it; return its digest.

    None only where there is no such tag. Of *known* blobs, such as the big layers of a
    base, it is only asked whether the repository has them.
    """
    repository = repository.direct()
    found = repository.get_manifest(reference)
    if found is None:
        return None

    def content(descriptor: Descriptor) -> Iterable[bytes]:
        if descriptor.is_manifest or descriptor.is_index:
            manifest = repository.get_manifest(str(descriptor.digest))
            assert manifest is not None, f"no manifest {descriptor.digest}"
            return [manifest.content]
        return repository.read_blob(descriptor.digest)

    root = Descriptor.of(found.content, found.media_type)
    check_image(root, content, layers=False)
    for descriptor in closure(root, content):
        if descriptor.digest in known:
            assert repository.has_blob(descriptor.digest)
        elif not (descriptor.is_manifest or descriptor.is_index):
            read = sum(map(len, repository.read_blob(descriptor.digest)))
            assert read == descriptor.size
    return found.digest
