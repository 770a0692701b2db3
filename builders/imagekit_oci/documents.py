"""The documents of an image: config, manifest, index (OCI image-spec)."""

from __future__ import annotations

from collections.abc import Sequence

from imagekit.builder import BuiltImage, BuiltLayer
from imagekit.image_documents import config_on_base, manifest_annotations
from imagekit.oci import annotations as names
from imagekit.oci import model
from imagekit.plan import Plan, PlatformPlan
from imagekit_oci.layer_jobs import LayerJob


def config(
    plan: Plan,
    platform: PlatformPlan,
    jobs: Sequence[LayerJob],
    layers: Sequence[BuiltLayer],
) -> bytes:
    """Return the image config: the base's, with what the steps change (config.md)."""
    return config_on_base(
        plan,
        platform,
        diff_ids=[layer.descriptor.diff_id for layer in layers],
        titles=[job.title for job in jobs],
    )


def manifest(
    plan: Plan,
    platform: PlatformPlan,
    config: model.Descriptor,
    layers: Sequence[BuiltLayer],
) -> bytes:
    """Return the manifest, with annotations that say what each layer is."""
    return model.manifest(
        config,
        [_layer(layer) for layer in layers],
        manifest_annotations(plan, platform),
    )


def index(plan: Plan, images: Sequence[BuiltImage]) -> bytes:
    """Return the index over the platforms' manifests (image-index.md)."""
    return model.index(
        [
            model.Descriptor(
                media_type=model.MANIFEST,
                digest=image.manifest,
                size=image.manifest_size,
                platform=image.platform,
            )
            for image in images
        ],
        ((names.CONTENT_ID, plan.content_id),),
    )


def _layer(layer: BuiltLayer) -> model.Descriptor:
    annotations: tuple[tuple[str, str], ...] = ()
    if layer.key is not None:
        annotations = (
            (names.DIFF_ID, str(layer.descriptor.diff_id)),
            (names.KEY, layer.key),
            (names.TITLE, layer.title),
        )
    return model.Descriptor(
        media_type=model.oci_media_type(layer.descriptor.media_type),
        digest=layer.descriptor.digest,
        size=layer.descriptor.size,
        annotations=annotations,
    )
