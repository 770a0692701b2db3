"""What is in built images: their files, layer on layer, and their config."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from imagekit.builder import Built, BuiltImage
from imagekit.digest import Digest
from imagekit.oci.layout import Layout
from imagekit.plan import BaseImage, LayoutSource
from imagekit.store import Store
from imagekit.testing.files import FileTree, LayerEntry, differences, read_entries

_CHUNK = 1 << 20


def image_tree(store: Store, base: BaseImage, image: BuiltImage) -> FileTree:
    """Return the files of *image*, whose base has to be in a layout or the store."""
    kept = [layer.descriptor.digest for layer in image.layers[: len(base.layers)]]
    assert kept == [layer.digest for layer in base.layers], "the base's layers changed"
    tree = _base_tree(tuple(_path(store, base, digest) for digest in kept)).copy()
    for layer in image.layers[len(base.layers) :]:
        tree.apply(_entries(_path(store, base, layer.descriptor.digest)))
    return tree


def tree_differences(one: FileTree, other: FileTree) -> list[str]:
    """Return one line for each path in which the trees differ."""
    return list(differences(one, other))


def run_settings(store: Store, image: BuiltImage) -> dict[str, Any]:
    """Return the part of the config that says how the image runs."""
    document = json.loads(store.read_blob(image.config))
    settings: dict[str, Any] = document["config"]
    return settings


def environment(store: Store, image: BuiltImage) -> dict[str, str]:
    """Return the environment variables of *image*."""
    pairs = run_settings(store, image)["Env"]
    return dict(pair.partition("=")[::2] for pair in pairs)


def only_image(built: Built) -> BuiltImage:
    """Return the image of a build for one platform."""
    (image,) = built.images
    return image


def layer_tar(path: Path) -> Iterator[bytes]:
    """Yield the uncompressed bytes of the layer in the file *path*."""
    with path.open("rb") as raw:
        packed = raw.peek(2)[:2] == b"\x1f\x8b"
        with gzip.open(raw) if packed else raw as file:
            while chunk := file.read(_CHUNK):
                yield chunk


def _path(store: Store, base: BaseImage, digest: Digest) -> Path:
    path = store.blob_path(digest)
    if not path.exists() and isinstance(base.source, LayoutSource):
        path = Layout(Path(base.source.path)).blob_path(digest)
    return path


@cache  # a Debian takes seconds, and is the same in all tests
def _base_tree(layers: tuple[Path, ...]) -> FileTree:
    tree = FileTree()
    for layer in layers:
        tree.apply(_entries(layer))
    return tree


def _entries(path: Path) -> Iterator[LayerEntry]:
    return read_entries(layer_tar(path))
