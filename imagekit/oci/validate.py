"""Every invariant of an image or layout; all faults are reported, not only one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from imagekit.digest import Digest
from imagekit.errors import ImageKitError, LayoutError
from imagekit.oci.closure import Content, OpenBlob, verified
from imagekit.oci.config import ImageConfig, read_config
from imagekit.oci.decompress import decompressed
from imagekit.oci.document import read_json
from imagekit.oci.layout import Layout
from imagekit.oci.model import (
    CONFIG_TYPES,
    LAYER,
    LAYER_GZIP,
    LAYER_ZSTD,
    Descriptor,
    Manifest,
    oci_media_type,
    read_document,
)
from imagekit.platform import Platform

T = TypeVar("T")

_LAYERS = (LAYER, LAYER_GZIP, LAYER_ZSTD)


def check_layout(path: str | Path, *, layers: bool = True) -> Layout:
    """Return the layout at *path*, if everything in it is as it should be.

    Args:
        path: folder of the layout.
        layers: whether layers are decompressed, to check their diff ids.

    Raises:
        LayoutError: it is not; ``issues`` has every fault.
    """
    layout = Layout.open(path)
    check = _Check(lambda descriptor: _blob(layout, descriptor), layers=layers)
    for descriptor in layout.index().manifests:
        check.walk(descriptor)
    check.issues += _stray_files(layout)
    check.finish(f"the OCI layout at {str(path)!r} is not valid")
    return layout


def check_image(root: Descriptor, open_blob: OpenBlob, *, layers: bool = True) -> None:
    """Check an image, or an index of images, and all that it names.

    Args:
        root: the manifest or index.
        open_blob: gives the bytes of each blob.
        layers: whether layers are read, to check their digests and diff ids.

    Raises:
        LayoutError: it is not valid; ``issues`` has every fault.
    """
    check = _Check(open_blob, layers=layers)
    check.walk(root)
    check.finish(f"the image {root.digest} is not valid")


class _Check:
    """Walks through an image and collects faults."""

    def __init__(self, open_blob: OpenBlob, *, layers: bool) -> None:
        self._open = open_blob
        self._read_layers = layers
        self._seen: set[tuple[Digest, Platform | None]] = set()
        self._diff_ids: dict[Digest, Digest] = {}
        self.issues: list[str] = []

    def finish(self, message: str) -> None:
        """Raise LayoutError if there are faults."""
        if self.issues:
            raise LayoutError(message, tuple(dict.fromkeys(self.issues)))

    def walk(self, root: Descriptor) -> None:
        """Check what *root* points to."""
        # What is listed for two platforms has to suit both.
        seen = (root.digest, root.platform)
        if seen in self._seen:
            return
        self._seen.add(seen)
        if not (root.is_index or root.is_manifest):
            self._attempt(root, lambda: sum(map(len, self._bytes(root))))
            return
        content = self._attempt(root, lambda: b"".join(self._bytes(root)))
        if content is None:
            return
        view = self._attempt(root, lambda: read_document(content, root.media_type))
        if isinstance(view, Manifest):
            self._check_manifest(root, view)
        elif view is not None:
            for descriptor in view.manifests:
                self.walk(descriptor)

    def _check_manifest(self, root: Descriptor, view: Manifest) -> None:
        config = None
        if view.config.media_type in CONFIG_TYPES:
            content = self._attempt(
                view.config, lambda: b"".join(self._bytes(view.config))
            )
            if content is not None:
                config = self._attempt(view.config, lambda: read_config(content))
            if config is not None:
                self.issues += _config_issues(content or b"", view.config)
        if not view.layers:
            self.issues.append(f"{root.digest}: an image without layers")
        found = [self._layer(layer) for layer in view.layers]
        if config is not None:
            self._check_config(root, view, config, found)

    def _check_config(
        self,
        root: Descriptor,
        view: Manifest,
        config: ImageConfig,
        found: list[Digest | None],
    ) -> None:
        name = view.config.digest
        if config.platform is None:
            self.issues.append(f"{name}: a config without os and architecture")
        elif root.platform not in (None, config.platform):
            self.issues.append(
                f"{name}: wanted a config for {root.platform}, "
                f"found one for {config.platform}"
            )
        if len(config.diff_ids) != len(view.layers):
            self.issues.append(
                f"{name}: {len(config.diff_ids)} diff_ids for {len(view.layers)} layers"
            )
            return
        for layer, wanted, diff_id in zip(
            view.layers, config.diff_ids, found, strict=True
        ):
            if diff_id not in (None, wanted):
                self.issues.append(
                    f"{layer.digest}: wanted diff_id {wanted}, found {diff_id}"
                )

    def _layer(self, layer: Descriptor) -> Digest | None:
        """Check a layer, and return its diff id where it is known."""
        if oci_media_type(layer.media_type) not in _LAYERS:
            self.issues.append(f"{layer.digest}: a layer of type {layer.media_type!r}")
            return None
        if not self._read_layers:
            return None
        if layer.digest not in self._diff_ids:
            found = self._attempt(layer, lambda: self._diff_id(layer))
            if found is None:
                return None
            self._diff_ids[layer.digest] = found
        return self._diff_ids[layer.digest]

    def _diff_id(self, layer: Descriptor) -> Digest:
        return Digest.of_chunks(decompressed(self._bytes(layer), layer.media_type))

    def _bytes(self, descriptor: Descriptor) -> Iterator[bytes]:
        return verified(descriptor, self._open(descriptor))

    def _attempt(self, descriptor: Descriptor, action: Callable[[], T]) -> T | None:
        try:
            return action()
        except LayoutError as error:
            self.issues += error.issues or [f"{descriptor.digest}: {error.message}"]
        except (ImageKitError, OSError) as error:
            self.issues.append(f"{descriptor.digest}: {error}")
        return None


def _blob(layout: Layout, descriptor: Descriptor) -> Content:
    if not layout.has_blob(descriptor.digest):
        raise LayoutError(f"no blob {descriptor.digest}")
    return layout.blob_path(descriptor.digest)


def _config_issues(content: bytes, descriptor: Descriptor) -> list[str]:
    """Return what is wrong with a config that can be read all the same (config.md)."""
    document = read_json(content, "image config")
    issues = []
    rootfs = document.get("rootfs") or {}
    if rootfs.get("type") != "layers":
        issues.append(f"wanted rootfs of type 'layers', found {rootfs.get('type')!r}")
    history = document.get("history")
    if history:
        made = sum(1 for step in history if not step.get("empty_layer"))
        count = len(rootfs.get("diff_ids") or [])
        if made != count:
            issues.append(f"the history has {made} layers, and diff_ids {count}")
    issues += [
        f"wanted NAME=value in Env, found {item!r}"
        for item in (document.get("config") or {}).get("Env") or ()
        if not str(item).partition("=")[0] or "=" not in str(item)
    ]
    return [f"{descriptor.digest}: {issue}" for issue in issues]


def _stray_files(layout: Layout) -> list[str]:
    """Return what has no place among the blobs (image-layout.md, "Blobs")."""
    folder = layout.root / "blobs" / "sha256"
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return [
        f"blobs/sha256/{name}: not the name of a blob"
        for name in names
        if len(name) != len(Digest.of(b"").hex) or not name.isalnum()
    ]
