"""The result as an OCI layout, which BuildKit writes, brought into the store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imagekit.digest import Digest
from imagekit.errors import HashMismatchError, LayoutError
from imagekit.oci import model
from imagekit.oci.closure import verified
from imagekit.oci.layout import Layout
from imagekit.oci.select import FoundImage, find_image
from imagekit.plan import BaseImage, LayerDescriptor
from imagekit.platform import Platform
from imagekit.store import Store
from imagekit_buildkit.made import Made, diff_ids_above

#: Layers as gzip, their time stamps not after SOURCE_DATE_EPOCH, in a folder.
OUTPUT = (
    "type=oci,tar=false,dest=output,rewrite-timestamp=true,oci-mediatypes=true,"
    "compression=gzip"
)


def prepare(folder: Path, base: BaseImage | None) -> None:
    """Keep BuildKit from sending the layers of *base*, which are known.

    It sends no blob whose name is there already, whatever the file holds; and nobody
    reads these.
    """
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for layer in base.layers if base else ():
        with (blobs / layer.digest.hex).open("wb") as file:
            file.truncate(layer.size)


def read_export(
    folder: Path, platform: Platform, base: BaseImage | None, store: Store
) -> Made:
    """Bring the image for *platform* in *folder* into *store*.

    Raises:
        LayoutError: it is invalid.
        BuildFailedError: it is not on top of *base*.
    """
    layout = Layout.open(folder)
    image = exported_image(layout, platform)
    below = base.layers if base else ()
    diff_ids = diff_ids_above(image.config_bytes, base)
    above = image.manifest.layers[len(below) :]
    reused = frozenset(layer.digest for layer in above if store.has_blob(layer.digest))
    for layer in above:
        if layer.digest not in reused:
            _keep(layout, layer, store)
    return Made(
        config=image.config_bytes,
        base=below,
        layers=_described(above, diff_ids),
        reused=reused,
    )


def exported_image(layout: Layout, platform: Platform) -> FoundImage:
    """Return the image for *platform*; attestations beside it are no images.

    Raises:
        LayoutError: there is none.
    """
    image = find_image(layout.resolve(), platform, layout.read)
    if image is None:
        raise LayoutError(f"wanted an image for {platform} from BuildKit, found none")
    return image


def _described(
    layers: Sequence[model.Descriptor], diff_ids: Sequence[Digest]
) -> tuple[LayerDescriptor, ...]:
    return tuple(
        LayerDescriptor(
            media_type=model.oci_media_type(layer.media_type),
            digest=layer.digest,
            size=layer.size,
            diff_id=diff_id,
        )
        for layer, diff_id in zip(layers, diff_ids, strict=True)
    )


def _keep(layout: Layout, blob: model.Descriptor, store: Store) -> None:
    """Copy a blob into the store, verified."""
    with store.write_blob() as writer:
        try:
            for chunk in verified(blob, layout.blob_path(blob.digest)):
                writer.write(chunk)
        except (OSError, HashMismatchError) as error:
            raise LayoutError(f"BuildKit's output is damaged: {error}") from error
        writer.commit(blob.digest)
