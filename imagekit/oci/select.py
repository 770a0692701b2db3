"""The image for one platform, out of a manifest or an index of several."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from imagekit.errors import LayoutError
from imagekit.oci.config import ImageConfig, read_config
from imagekit.oci.model import Descriptor, Index, Manifest, read_document
from imagekit.platform import Platform
from imagekit.records import dataclass

#: Gives the verified bytes of a manifest, index or config.
ReadDocument: TypeAlias = Callable[[Descriptor], bytes]

#: Variants that every machine of an architecture runs; images for others (``v3`` of
#: amd64) may stop with an illegal instruction.
_VARIANTS = {"amd64": (None, "v1"), "arm64": (None, "v8")}

#: Indexes within indexes, before it is a mistake or an attack.
_DEPTH = 4

#: What BuildKit writes on attestations, which stand in indexes like images.
_ATTESTATION = "vnd.docker.reference.type"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundImage:
    """An image and its documents.

    Attributes:
        descriptor: points to the manifest.
        config: view of *config_bytes*.
    """

    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig
    config_bytes: bytes


def find_image(
    root: Descriptor, platform: Platform, read: ReadDocument
) -> FoundImage | None:
    """Return the image for *platform*, or None where there is none.

    An index says in its descriptors what an image is for; an image on its own, or
    without a platform in the index, says it in its config. Attestations are no images.

    Raises:
        LayoutError: a document is invalid.
    """
    return _find(root, platform, read, _DEPTH)


def offered_platforms(root: Descriptor, read: ReadDocument) -> tuple[str, ...]:
    """Return the platforms that there are images for, such as ``linux/arm64/v8``."""
    return tuple(dict.fromkeys(_offered(root, read, _DEPTH)))


def suits(found: Platform, variant: str | None, wanted: Platform) -> bool:
    """Return whether an image for *found* runs on every machine of *wanted*."""
    allowed = _VARIANTS.get(wanted.architecture, (None,))
    return found == wanted and variant in allowed


def _find(
    root: Descriptor, platform: Platform, read: ReadDocument, depth: int
) -> FoundImage | None:
    content = read(root)
    view = read_document(content, root.media_type)
    if isinstance(view, Manifest):
        return _checked(root, view, platform, read)
    for descriptor in _candidates(view, platform, depth):
        found = _find(descriptor, platform, read, depth - 1)
        if found is not None:
            return found
    return None


def _candidates(view: Index, platform: Platform, depth: int) -> list[Descriptor]:
    """Return what may hold the image: named for the platform first, then unnamed."""
    if depth == 0:
        raise LayoutError(f"more than {_DEPTH} indexes within each other")
    named: list[Descriptor] = []
    unnamed: list[Descriptor] = []
    for descriptor in view.manifests:
        if not _holds_images(descriptor):
            continue
        if descriptor.platform is None:
            unnamed.append(descriptor)
        elif suits(descriptor.platform, descriptor.variant, platform):
            named.append(descriptor)
    return [*named, *unnamed]


def _checked(
    descriptor: Descriptor, view: Manifest, platform: Platform, read: ReadDocument
) -> FoundImage | None:
    content = read(view.config)
    config = read_config(content)
    if config.platform is None or not suits(config.platform, config.variant, platform):
        return None
    if len(config.diff_ids) != len(view.layers):
        raise LayoutError(
            f"the image {descriptor.digest} has {len(view.layers)} layers, "
            f"but {len(config.diff_ids)} diff_ids"
        )
    return FoundImage(
        descriptor=descriptor, manifest=view, config=config, config_bytes=content
    )


def _offered(root: Descriptor, read: ReadDocument, depth: int) -> list[str]:
    if root.platform is not None:
        return [_text(root.platform, root.variant)] if _holds_images(root) else []
    view = read_document(read(root), root.media_type)
    if isinstance(view, Manifest):
        config = read_config(read(view.config))
        return [_text(config.platform, config.variant)] if config.platform else []
    if depth == 0:
        raise LayoutError(f"more than {_DEPTH} indexes within each other")
    return [
        text
        for descriptor in view.manifests
        if _holds_images(descriptor)
        for text in _offered(descriptor, read, depth - 1)
    ]


def _holds_images(descriptor: Descriptor) -> bool:
    if descriptor.annotation(_ATTESTATION) is not None:
        return False
    if descriptor.platform is not None and descriptor.platform.os == "unknown":
        return False
    return descriptor.is_index or descriptor.is_manifest


def _text(platform: Platform, variant: str | None) -> str:
    return f"{platform}/{variant}" if variant else str(platform)
