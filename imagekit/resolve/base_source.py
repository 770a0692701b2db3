"""Where base images come from: a registry, an OCI layout, the local engine.

Opening a base pins it: one request tells what a tag means. Manifests and configs are
then read from the store where it has them, and kept there otherwise. Layers are never
kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import assert_never

from imagekit.errors import BaseNotFoundError, LayoutError
from imagekit.layers import ImageBase, LayoutBase
from imagekit.oci.layout import Layout
from imagekit.oci.model import Descriptor, read_document
from imagekit.oci.registry import ManifestContent, Registries, Repository
from imagekit.oci.select import ReadDocument
from imagekit.plan import BlobSource, LayoutSource, RegistrySource
from imagekit.records import dataclass
from imagekit.reference import Reference
from imagekit.store import Store

#: How a reference says that the image is in the local engine, as skopeo writes it.
_ENGINE = "docker-daemon:"
#: Far above any config; what is larger is no document, and is not held in memory.
_LARGEST_DOCUMENT = 32 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBase:
    """A pinned base, for one platform or several.

    Attributes:
        name: the reference as people know it.
        repository: registry and repository without tag; None for other sources.
        tag: the tag that was asked for, or None.
        root: its manifest or index.
        source: where its blobs are.
        read: gives its documents.
        layer: begins to give the bytes of a layer.
    """

    name: str
    root: Descriptor
    source: BlobSource
    read: ReadDocument
    layer: Callable[[Descriptor], Iterator[bytes]]
    repository: str | None = None
    tag: str | None = None


def open_base(
    base: ImageBase | LayoutBase, *, registries: Registries, store: Store
) -> OpenBase:
    """Return *base*, pinned.

    Raises:
        BaseNotFoundError: there is no such image.
        RegistryError: the registry refused, or could not be reached.
        BuilderUnavailableError: it should be in the local engine, and there is none.
    """
    match base:
        case LayoutBase():
            return _open_layout(base)
        case ImageBase(reference=text) if text.startswith(_ENGINE):
            return _open_engine(text.removeprefix(_ENGINE), store)
        case ImageBase(reference=text):
            return _open_registry(Reference.parse(text), registries, store)
        case _:
            assert_never(base)


def _open_layout(base: LayoutBase) -> OpenBase:
    path = base.path.location
    try:
        layout = Layout.open(path)
        root = layout.resolve(base.reference)
    except LayoutError as error:
        raise BaseNotFoundError(
            str(error),
            hint="write oci:PATH, or oci:PATH:TAG or oci:PATH@DIGEST with one of: "
            + ", ".join(error.issues)
            if error.issues
            else "wanted oci:PATH, oci:PATH:TAG or oci:PATH@DIGEST, where PATH is a "
            "folder with the files 'oci-layout' and 'index.json'",
        ) from error
    joint = "@" if (base.reference or "").startswith("sha256:") else ":"
    suffix = f"{joint}{base.reference}" if base.reference else ""
    return OpenBase(
        name=f"oci:{base.path.name}{suffix}",
        root=root,
        source=LayoutSource(path=path),
        read=layout.read,
        layer=layout.chunks,
    )


def _open_engine(name: str, store: Store) -> OpenBase:
    from imagekit.oci.engine import export_image  # noqa: PLC0415  (for engines only)

    root = export_image(name, store)
    # The store keeps blobs where a layout has them.
    layout = Layout(store.root)
    return OpenBase(
        name=f"{_ENGINE}{name}",
        root=root,
        source=LayoutSource(path=str(store.root)),
        read=layout.read,
        layer=layout.chunks,
    )


def _open_registry(
    reference: Reference, registries: Registries, store: Store
) -> OpenBase:
    repository = registries.of(reference)
    root = _pinned(reference, repository, store)

    def read(descriptor: Descriptor) -> bytes:
        return _document(descriptor, reference, repository, store)

    def layer(descriptor: Descriptor) -> Iterator[bytes]:
        if store.has_blob(descriptor.digest):
            return Layout(store.root).chunks(descriptor)
        return repository.read_blob(descriptor.digest)

    tagged = reference.tag or reference.digest is None
    return OpenBase(
        name=str(reference.with_tag(reference.tag or "latest"))
        if tagged
        else str(reference),
        root=root,
        source=RegistrySource(
            registry=reference.registry, repository=reference.repository
        ),
        read=read,
        layer=layer,
        repository=reference.name,
        tag=reference.tag,
    )


def _pinned(reference: Reference, repository: Repository, store: Store) -> Descriptor:
    """Ask what a tag means; a digest means the same for ever."""
    if reference.digest is not None and store.has_blob(reference.digest):
        content = store.read_blob(reference.digest)
        return Descriptor.of(content, read_document(content).media_type)
    if reference.digest is not None:
        found = _fetched(reference, repository, store)
        return Descriptor.of(found.content, found.media_type)
    head = repository.head_manifest(reference.target)
    if head is None:
        raise _absent(reference)
    return Descriptor(media_type=head.media_type, digest=head.digest, size=head.size)


def _document(
    descriptor: Descriptor, reference: Reference, repository: Repository, store: Store
) -> bytes:
    if store.has_blob(descriptor.digest):
        return store.read_blob(descriptor.digest)
    if descriptor.is_index or descriptor.is_manifest:
        pinned = reference.with_digest(descriptor.digest)
        return _fetched(pinned, repository, store).content
    if descriptor.size > _LARGEST_DOCUMENT:
        raise LayoutError(
            f"the config {descriptor.digest} of {str(reference)!r} has "
            f"{descriptor.size} bytes"
        )
    content = b"".join(repository.read_blob(descriptor.digest))
    store.add_blob(content)
    return content


def _fetched(
    reference: Reference, repository: Repository, store: Store
) -> ManifestContent:
    found = repository.get_manifest(reference.target)
    if found is None:
        raise _absent(reference)
    store.add_blob(found.content)
    return found


def _absent(reference: Reference) -> BaseNotFoundError:
    what = "digest" if reference.digest else "tag"
    return BaseNotFoundError(
        f"no image {str(reference)!r} in the registry",
        hint=f"check the name and {what}; if it is private, log in with "
        f"'docker login {reference.registry}'",
    )
