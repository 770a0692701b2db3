"""SBOM and provenance that BuildKit wrote, made to speak of the image as it is here.

They are in-toto statements whose subject is the manifest. The manifest is normalized
after BuildKit is done, so the statements get its new digest.
"""

from __future__ import annotations

import json
from pathlib import Path

from imagekit.builder import BuiltImage, Execution
from imagekit.oci import model
from imagekit.oci.layout import Layout
from imagekit.platform import Platform
from imagekit.store import Store

_TYPE = "vnd.docker.reference.type"
_SUBJECT = "vnd.docker.reference.digest"
_MANIFEST = "attestation-manifest"
_UNKNOWN = Platform("unknown", "unknown")


def attests(execution: Execution) -> bool:
    """Return whether an SBOM or provenance is asked for."""
    wanted = (execution.sbom, execution.provenance)
    return any(text not in (None, "", "false") for text in wanted)


def attestations_of(
    folder: Path, image: BuiltImage, store: Store
) -> tuple[model.Descriptor, ...]:
    """Return what attests *image*, brought from the layout *folder* into *store*.

    Raises:
        LayoutError: the layout is invalid.
    """
    layout = Layout.open(folder)
    return tuple(
        _attestation(layout, item, image, store)
        for root in layout.images
        if root.is_index
        for item in model.read_index(layout.read(root), root.media_type).manifests
        if item.annotation(_TYPE) == _MANIFEST
    )


def _attestation(
    layout: Layout, item: model.Descriptor, image: BuiltImage, store: Store
) -> model.Descriptor:
    view = model.read_manifest(layout.read(item), item.media_type)
    statements = [_statement(layout, layer, image, store) for layer in view.layers]
    diff_ids = [str(layer.digest) for layer in statements]
    config = model.canonical_json(
        {
            "architecture": _UNKNOWN.architecture,
            "os": _UNKNOWN.os,
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
    )
    content = model.manifest(
        model.Descriptor(
            media_type=model.CONFIG, digest=store.add_blob(config), size=len(config)
        ),
        statements,
    )
    return model.Descriptor(
        media_type=model.MANIFEST,
        digest=store.add_blob(content),
        size=len(content),
        annotations=((_SUBJECT, str(image.manifest)), (_TYPE, _MANIFEST)),
        platform=_UNKNOWN,
    )


def _statement(
    layout: Layout, layer: model.Descriptor, image: BuiltImage, store: Store
) -> model.Descriptor:
    statement = json.loads(layout.read(layer))
    digest = {"sha256": image.manifest.hex}
    statement["subject"] = [{"name": "_", "digest": digest}]
    content = model.canonical_json(statement)
    return model.Descriptor(
        media_type=layer.media_type,
        digest=store.add_blob(content),
        size=len(content),
        annotations=layer.annotations,
    )
