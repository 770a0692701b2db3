"""OCI documents: descriptors, manifests, indexes and image configs.

A document is its bytes: they are what is hashed, sent and stored. The functions here
make the bytes (canonical JSON, so equal documents have equal digests) or read them
into a view. Docker's schema 2 documents are read too, and never written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from imagekit.errors import LayoutError
from imagekit.oci.config import image_config
from imagekit.oci.descriptor import (
    CONFIG,
    CONFIG_TYPES,
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    INDEX,
    INDEX_TYPES,
    LAYER,
    LAYER_GZIP,
    LAYER_ZSTD,
    MANIFEST,
    MANIFEST_TYPES,
    Descriptor,
    annotation_faults,
    oci_media_type,
)
from imagekit.oci.document import canonical_json, read_json
from imagekit.records import dataclass

__all__ = [
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

# On entries of index.json: annotations.md, and what containerd adds for archives.
REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"

Annotations: TypeAlias = Mapping[str, str] | Sequence[tuple[str, str]]


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
            f"wanted a document of type {media_type!r}, found {found!r} inside"
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
    faults = tuple(annotation_faults(annotations, "document"))
    if faults:
        raise LayoutError("invalid annotations", faults)
    return tuple(sorted(annotations.items()))
