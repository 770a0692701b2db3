"""The local engine: images go into it, and come out of it as bases.

Only what the engine lacks is sent. An image that it has under the same id is not sent
at all (mechanisms of the two image stores: the id is the digest of the manifest or
index in containerd's store, that of the config in the classic store). Of another image,
layers are left out of the archive if the engine has them:

* the classic store takes a layer from its own if the layers up to it are those of an
  image that it has, whatever the archive holds; ids of the uncompressed layers tell;
* containerd's store keeps blobs by digest, so those of its manifests are there.

If a layer turns out to be missing after all, the engine says so and gets everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import BinaryIO

from imagekit.digest import Digest
from imagekit.errors import BaseNotFoundError, BuildFailedError, LayoutError
from imagekit.oci.archive import Sent, write_archive
from imagekit.oci.closure import OpenBlob, closure, read_small
from imagekit.oci.docker import Docker
from imagekit.oci.engine_archive import ENGINE_RECORDS, store_archive
from imagekit.oci.model import Descriptor, Manifest, read_document
from imagekit.oci.select import FoundImage, find_image, suits
from imagekit.platform import Platform
from imagekit.progress import Note, Progress, silent
from imagekit.records import dataclass
from imagekit.reference import Reference
from imagekit.store import Store


def _nothing_known(_digest: Digest) -> bytes | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a load did.

    Attributes:
        id: the image's id in the engine.
        sent: bytes of the blobs that were sent; 0 if the engine had the image.
        omitted: bytes of the blobs that the engine had.
    """

    id: Digest
    sent: int = 0
    omitted: int = 0


def load(
    root: Descriptor,
    open_blob: OpenBlob,
    *,
    names: Sequence[Reference],
    platform: Platform,
    progress: Progress = silent,
    known: Callable[[Digest], bytes | None] = _nothing_known,
    docker: Docker | None = None,
) -> Loaded:
    """Bring an image, or an index of images, into the local engine.

    Args:
        root: the manifest or index.
        open_blob: gives the bytes of each blob that *root* names.
        names: what the image is to be called.
        platform: the image that a classic store gets, out of an index.
        progress: receives notes.
        known: gives the bytes of a manifest that was made here earlier, or None; so
            it is known which blobs the engine has.
        docker: the command that reaches the engine.

    Raises:
        BuilderUnavailableError: there is no engine.
        BuildFailedError: the engine refused the image.
        LayoutError: the image is invalid, or has nothing for *platform*.
    """
    docker = docker or Docker()
    chosen = find_image(root, platform, partial(read_small, open_blob=open_blob))
    if chosen is None:
        raise LayoutError(f"wanted an image for {platform} in {root.digest}")
    # Most often it is there already; one command says so, whichever store it has.
    named = {docker.image_id(str(name)) for name in names}
    for digest, document in (
        (root.digest, root),
        (chosen.manifest.config.digest, chosen.descriptor),
    ):
        if named == {digest}:
            return Loaded(id=digest, omitted=_size(document, open_blob))
    containerd = docker.has_containerd_store()
    if not containerd:
        root = chosen.descriptor
    wanted = root.digest if containerd else chosen.manifest.config.digest
    if docker.image_id(str(wanted)) == wanted:
        _name(docker, wanted, names)
        return Loaded(id=wanted, omitted=_size(root, open_blob))
    omit = (
        _blobs_there(docker, platform, known)
        if containerd
        else _layers_there(docker, chosen)
    )
    sent = _send(
        docker,
        root,
        open_blob,
        names=names,
        platform=platform,
        omit=omit,
        note=progress,
    )
    _name(docker, wanted, names)
    return Loaded(id=wanted, sent=sent.size, omitted=sent.omitted)


def export_image(
    name: str, store: Store, *, docker: Docker | None = None
) -> Descriptor:
    """Bring an image of the local engine into *store*, and return what its name means.

    Args:
        name: its name in the engine.
        store: receives its manifests, configs and layers, as the engine has them.
        docker: the command that reaches the engine.

    Raises:
        BaseNotFoundError: the engine has no such image.
        BuilderUnavailableError: there is no engine, or it is too old.
        LayoutError: what the engine gave is invalid.
    """
    docker = docker or Docker()
    found = docker.image_id(name)
    if found is None:
        raise BaseNotFoundError(
            f"the local engine has no image {name!r}",
            hint=f"bring it there with 'docker pull {name}', or build it",
        )
    record = store.read_record(ENGINE_RECORDS, found.hex)
    if record is not None and all(
        store.has_blob(Digest(blob)) for blob in record["blobs"]
    ):
        return Descriptor.from_json(record["image"])
    # By id: the name may have come to mean another image by now.
    with docker.save(str(found)) as stream:
        image, blobs = store_archive(stream, store)
    value = {"image": image.to_json(), "blobs": [blob.hex for blob in blobs]}
    store.write_record(ENGINE_RECORDS, found.hex, value)
    return image


def _send(
    docker: Docker,
    root: Descriptor,
    open_blob: OpenBlob,
    *,
    names: Sequence[Reference],
    platform: Platform,
    omit: frozenset[Digest],
    note: Progress,
) -> Sent:
    sent: list[Sent] = []

    def write(output: BinaryIO) -> None:
        sent.append(
            write_archive(
                output, root, open_blob, names=names, platform=platform, omit=omit
            )
        )

    try:
        docker.load(write)
    except BuildFailedError as error:
        if not omit:
            raise
        note(Note(f"sending the whole image to the engine: {error.message}"))
        omit = frozenset()
        docker.load(write)
    return sent[-1]


def _name(docker: Docker, image: Digest, names: Sequence[Reference]) -> None:
    """Give the image its names, and make sure that they mean it."""
    for name in names:
        if docker.image_id(str(name)) != image:
            docker.tag(image, str(name))


def _layers_there(docker: Docker, image: FoundImage) -> frozenset[Digest]:
    """Return the blobs of the layers that the classic store has below it."""
    wanted = tuple(map(str, image.config.diff_ids))
    shared = max(
        (_common(wanted, layers) for layers in docker.images().values()), default=0
    )
    return frozenset(layer.digest for layer in image.manifest.layers[:shared])


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many items both begin with."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count


def _blobs_there(
    docker: Docker, platform: Platform, known: Callable[[Digest], bytes | None]
) -> frozenset[Digest]:
    """Return the layers of the manifests that containerd's store has."""
    return frozenset(
        layer
        for image in docker.images()
        for layer in _layers_of(image, platform, known)
    )


def _layers_of(
    image: Digest, platform: Platform, known: Callable[[Digest], bytes | None]
) -> Iterator[Digest]:
    content = known(image)
    if content is None:
        return
    view = read_document(content)
    if isinstance(view, Manifest):
        yield from (layer.digest for layer in view.layers)
        return
    for entry in view.manifests:
        # An engine may have one platform of an index only: its own.
        if entry.platform and suits(entry.platform, entry.variant, platform):
            yield from _layers_of(entry.digest, platform, known)


def _size(root: Descriptor, open_blob: OpenBlob) -> int:
    return sum(descriptor.size for descriptor in closure(root, open_blob))
