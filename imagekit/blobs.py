"""Where the bytes of an image's blobs are: in the store, a layout or a registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from imagekit.builder import BuilderContext, Built
from imagekit.digest import Digest
from imagekit.errors import StoreError
from imagekit.oci import model
from imagekit.oci.layout import Layout
from imagekit.oci.repository import Repository
from imagekit.plan import BlobSource, LayoutSource, Plan, RegistrySource
from imagekit.push_memory import PushMemory


class Blobs:
    """Finds the bytes of blobs: in the store, or where the base comes from.

    Args:
        plan: says where the layers of its bases are.
        built: says where other layers are that the store lacks.
        context: the store and the registries.
    """

    def __init__(self, plan: Plan, built: Built, context: BuilderContext) -> None:
        self._context = context
        self._sources: dict[Digest, BlobSource] = {}
        for platform in plan.platforms:
            if platform.base is not None:
                for layer in platform.base.layers:
                    self._sources[layer.digest] = platform.base.source
        for image in built.images:
            for made in image.layers:
                if made.source is not None:
                    self._sources[made.descriptor.digest] = made.source

    def content(self, descriptor: model.Descriptor) -> Path | Iterator[bytes]:
        """Return a file with the blob, or its bytes from afar."""
        path = self._context.store.blob_path(descriptor.digest)
        if path.exists():
            return path
        local = self._local(descriptor.digest)
        if local is not None:
            return local
        repository = self.repository(descriptor.digest)
        if repository is None:
            raise StoreError(f"no blob {descriptor.digest} in the store")
        return repository.read_blob(descriptor.digest)

    def opener(self, digest: Digest) -> Callable[[], BinaryIO] | None:
        """Return what opens the blob, if it is on this machine."""
        path = self._context.store.blob_path(digest)
        found = path if path.exists() else self._local(digest)
        return None if found is None else lambda: found.open("rb")

    def repository(self, digest: Digest) -> Repository | None:
        """Return the repository that has the blob, if it is one of a base."""
        source = self._sources.get(digest)
        if isinstance(source, RegistrySource):
            return self._context.registries.repository(
                source.registry, source.repository
            )
        return None

    def mounts(
        self, digest: Digest, target: Repository, memory: PushMemory
    ) -> tuple[str, ...]:
        """Return repositories of *target*'s registry that have the blob."""
        source = self.repository(digest)
        if source is None:
            known = memory.elsewhere(digest)
            return () if known is None else (known,)
        # A mirror of the base's registry may be the very registry that is pushed to.
        return tuple(
            f"{endpoint.prefix}{source.repository}"
            for endpoint in (source.origin, *source.mirrors)
            if endpoint.url == target.origin.url
        )

    def _local(self, digest: Digest) -> Path | None:
        source = self._sources.get(digest)
        if isinstance(source, LayoutSource):
            path = Layout(Path(source.path)).blob_path(digest)
            return path if path.exists() else None
        return None
