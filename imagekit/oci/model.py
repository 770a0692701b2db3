"""OCI documents: descriptors, manifests, indexes and image configs.

A document is its bytes: they are what is hashed, sent and stored. The functions here
make the bytes (canonical JSON, so equal documents have equal digests) or read them
into a view. Docker's schema 2 documents are read too, and never written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from imagekit.digest import Digest
from imagekit.errors import InvalidDigestError, LayoutError
from imagekit.oci.config import image_config
from imagekit.oci.document import canonical_json, read_json
from imagekit.platform import Platform

__all__ = [
    "BASE_DIGEST",
    "BASE_NAME",
    "CONFIG",
    "CONFIG_TYPES",
    "CONTAINERD_NAME",
    "DOCKER_CONFIG",
    "DOCKER_LAYER",
    "DOCKER_LAYER_GZIP",
    "DOCKER_MANIFEST",
    "DOCKER_MANIFEST_LIST",
    "INDEX",
    "INDEX_TYPES",
    "LAYER",
    "LAYER_GZIP",
    "LAYER_ZSTD",
    "MANIFEST",
    "MANIFEST_TYPES",
    "REF_NAME",
    "Descriptor",
    "Index",
    "Manifest",
    "canonical_json",
    "image_config",
    "index",
    "manifest",
    "oci_media_type",
    "read_document",
    "read_index",
    "read_manifest",
]

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

# annotations.md, and what containerd adds to it for archives.
REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
BASE_NAME = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"

Annotations: TypeAlias = Mapping[str, str] | Sequence[tuple[str, str]]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A view of the manifest of one image (manifest.md)."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """A view of an index of images (image-index.md)."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: tuple[tuple[str, str], ...] = ()


def manifest(
    config: Descriptor, layers: Sequence[Descriptor], annotations: Annotations = ()
) -> bytes:
    """Return the manifest of an image."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.to_json(),
        "layers": [layer.to_json() for layer in layers],
    }
    if annotations:
        document["annotations"] = dict(annotations)
    return canonical_json(document)


def index(manifests: Sequence[Descriptor], annotations: Annotations = ()) -> bytes:
    """Return an index of images, in the order given."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [descriptor.to_json() for descriptor in manifests],
    }
    if annotations:
        document["annotations"] = dict(annotations)
    return canonical_json(document)


def read_document(content: bytes, media_type: str | None = None) -> Manifest | Index:
    """Return a view of a manifest or index.

    Args:
        content: the bytes.
        media_type: what the descriptor or the registry said that they are.

    Raises:
        LayoutError: they are neither, or not what *media_type* says.
    """
    document = read_json(content, "manifest")
    found = document.get("mediaType") or media_type or _guess(document)
    # manifest.md, "mediaType": a document that can be read as both is an attack
    # (CVE-2021-41190), and so is one that is not what its descriptor says.
    if media_type and oci_media_type(found) != oci_media_type(media_type):
        raise LayoutError(
            f"wanted a document of type {media_type!r}, found {found!r} in its mediaType"
        )
    if "manifests" in document and ("layers" in document or "config" in document):
        raise LayoutError("a document has the fields of a manifest and of an index")
    if document.get("schemaVersion") != 2:  # noqa: PLR2004  (of the two specs)
        raise LayoutError(
            f"wanted schemaVersion 2, found {document.get('schemaVersion')!r}"
        )
    if found in MANIFEST_TYPES:
        return _manifest_view(document, found)
    if found in INDEX_TYPES:
        return _index_view(document, found)
    raise LayoutError(f"wanted an image manifest or index, found a {found!r}")


def read_manifest(content: bytes, media_type: str | None = None) -> Manifest:
    """Return a view of a manifest.

    Raises:
        LayoutError: the bytes are not the manifest of an image.
    """
    view = read_document(content, media_type)
    if not isinstance(view, Manifest):
        raise LayoutError("wanted the manifest of an image, found an index")
    return view


def read_index(content: bytes, media_type: str | None = None) -> Index:
    """Return a view of an index.

    Raises:
        LayoutError: the bytes are not an index.
    """
    view = read_document(content, media_type)
    if not isinstance(view, Index):
        raise LayoutError("wanted an index, found the manifest of an image")
    return view


def _guess(document: dict[str, Any]) -> str:
    """Name a document without mediaType, which both specs allow in old documents."""
    if "manifests" in document:
        return INDEX
    return MANIFEST if "config" in document else "document without mediaType"


def _manifest_view(document: dict[str, Any], media_type: str) -> Manifest:
    layers = _list(document, "layers")
    return Manifest(
        media_type=media_type,
        config=Descriptor.from_json(document.get("config"), "config"),
        layers=tuple(
            Descriptor.from_json(layer, f"layers[{number}]")
            for number, layer in enumerate(layers)
        ),
        annotations=_annotations(document),
    )


def _index_view(document: dict[str, Any], media_type: str) -> Index:
    manifests = _list(document, "manifests")
    return Index(
        media_type=media_type,
        manifests=tuple(
            Descriptor.from_json(item, f"manifests[{number}]")
            for number, item in enumerate(manifests)
        ),
        annotations=_annotations(document),
    )


def _list(document: dict[str, Any], name: str) -> list[Any]:
    value = document.get(name)
    if not isinstance(value, list):
        raise LayoutError(f"wanted a list as {name!r}, found {value!r}")
    return value


def _annotations(document: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    annotations = document.get("annotations") or {}
    faults = tuple(_annotation_faults(annotations, "document"))
    if faults:
        raise LayoutError("invalid annotations", faults)
    return tuple(sorted(annotations.items()))


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
    yield from _annotation_faults(document.get("annotations") or {}, where)
    platform = document.get("platform") or {}
    if platform and not (
        isinstance(platform, dict)
        and isinstance(platform.get("os"), str)
        and isinstance(platform.get("architecture"), str)
    ):
        yield f"{where}: wanted a platform with os and architecture, found {platform!r}"


def _annotation_faults(annotations: Any, where: str) -> Iterable[str]:
    if not isinstance(annotations, dict) or not all(
        isinstance(value, str) for value in annotations.values()
    ):
        yield f"{where}: wanted annotations from text to text, found {annotations!r}"
