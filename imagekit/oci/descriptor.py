"""Descriptors: what points to a blob, and the media types that it may name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from imagekit.digest import Digest
from imagekit.errors import InvalidDigestError, LayoutError
from imagekit.platform import Platform
from imagekit.records import dataclass

# image-spec, media-types.md.
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_MANIFEST_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"

MANIFEST_TYPES = frozenset({MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES = frozenset({INDEX, DOCKER_MANIFEST_LIST})
CONFIG_TYPES = frozenset({CONFIG, DOCKER_CONFIG})

# media-types.md, "Compatibility Matrix": these differ by name only.
_OCI_TYPES = {
    DOCKER_MANIFEST: MANIFEST,
    DOCKER_MANIFEST_LIST: INDEX,
    DOCKER_CONFIG: CONFIG,
    DOCKER_LAYER: LAYER,
    DOCKER_LAYER_GZIP: LAYER_GZIP,
}


def oci_media_type(media_type: str) -> str:
    """Return the OCI name of a media type that Docker names otherwise."""
    return _OCI_TYPES.get(media_type, media_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What points to a blob (descriptor.md).

    Attributes:
        size: bytes of the blob.
        platform: what the image is for, where an index says so.
        variant: the CPU variant, such as ``v8``, where an index says so.
    """

    media_type: str
    digest: Digest
    size: int
    annotations: tuple[tuple[str, str], ...] = ()
    platform: Platform | None = None
    variant: str | None = None

    @classmethod
    def of(
        cls, content: bytes, media_type: str, *, platform: Platform | None = None
    ) -> Descriptor:
        """Return the descriptor of a blob."""
        return cls(
            media_type=media_type,
            digest=Digest.of(content),
            size=len(content),
            platform=platform,
        )

    @property
    def is_index(self) -> bool:
        """Whether the blob is an index."""
        return self.media_type in INDEX_TYPES

    @property
    def is_manifest(self) -> bool:
        """Whether the blob is the manifest of an image."""
        return self.media_type in MANIFEST_TYPES

    def annotation(self, name: str) -> str | None:
        """Return the annotation *name*, or None."""
        return dict(self.annotations).get(name)

    def to_json(self) -> dict[str, Any]:
        """Return the descriptor as a JSON object."""
        document: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        if self.platform is not None:
            document["platform"] = {
                "os": self.platform.os,
                "architecture": self.platform.architecture,
            } | ({"variant": self.variant} if self.variant else {})
        return document

    @classmethod
    def from_json(cls, document: Any, where: str = "descriptor") -> Descriptor:
        """Return the descriptor that a JSON object writes.

        Raises:
            LayoutError: it is not one; *where* says which.
        """
        faults = tuple(_descriptor_faults(document, where))
        if faults:
            raise LayoutError(f"invalid {where}", faults)
        annotations = document.get("annotations") or {}
        platform = document.get("platform") or {}
        return cls(
            media_type=document["mediaType"],
            digest=Digest.parse(document["digest"]),
            size=document["size"],
            annotations=tuple(sorted(annotations.items())),
            platform=Platform(platform["os"], platform["architecture"])
            if platform
            else None,
            variant=platform.get("variant") or None,
        )


def _descriptor_faults(document: Any, where: str) -> Iterable[str]:
    if not isinstance(document, dict):
        yield f"{where}: wanted a descriptor, found {document!r}"
        return
    media_type, size = document.get("mediaType"), document.get("size")
    if not isinstance(media_type, str) or not media_type:
        yield f"{where}: wanted a mediaType, found {media_type!r}"
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        yield f"{where}: wanted a size in bytes, found {size!r}"
    try:
        Digest.parse(str(document.get("digest")))
    except InvalidDigestError as error:
        yield f"{where}: {error.message}"
    yield from annotation_faults(document.get("annotations") or {}, where)
    platform = document.get("platform") or {}
    if platform and not (
        isinstance(platform, dict)
        and isinstance(platform.get("os"), str)
        and isinstance(platform.get("architecture"), str)
    ):
        yield f"{where}: wanted a platform with os and architecture, found {platform!r}"


def annotation_faults(annotations: Any, where: str) -> Iterable[str]:
    """Yield what is wrong with the annotations of *where*."""
    if not isinstance(annotations, dict) or not all(
        isinstance(value, str) for value in annotations.values()
    ):
        yield f"{where}: wanted annotations from text to text, found {annotations!r}"
