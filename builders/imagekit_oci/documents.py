"""The documents of an image: config, manifest, index (OCI image-spec)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from imagekit.builder import BuiltImage, BuiltLayer
from imagekit.oci import annotations as names
from imagekit.oci import model
from imagekit.oci.config import image_config
from imagekit.plan import Plan, PlatformPlan, RegistrySource, SetEnv, SetWorkdir
from imagekit_oci.layer_jobs import LayerJob


def config(
    plan: Plan,
    platform: PlatformPlan,
    jobs: Sequence[LayerJob],
    layers: Sequence[BuiltLayer],
) -> bytes:
    """Return the image config: the base's, with what the steps change (config.md)."""
    assert platform.base is not None
    environment: dict[str, str] = {}
    workdir = None
    for step in platform.steps:
        if isinstance(step, SetEnv):
            environment.update(step.variables)
        elif isinstance(step, SetWorkdir):
            workdir = step.path
    created = _rfc3339(plan.created)
    history: list[dict[str, Any]] = [
        {"created": created, "created_by": f"imagekit: {job.title}"} for job in jobs
    ]
    if environment or workdir:
        settings = {"created_by": "imagekit: settings", "empty_layer": True}
        history.append({"created": created, **settings})
    return image_config(
        platform.base.config,
        diff_ids=[layer.descriptor.diff_id for layer in layers],
        history=history,
        created=created,
        env=tuple(environment.items()),
        workdir=workdir,
    )


def manifest(
    plan: Plan,
    platform: PlatformPlan,
    config: model.Descriptor,
    layers: Sequence[BuiltLayer],
) -> bytes:
    """Return the manifest, with annotations that say what each layer is."""
    assert platform.base is not None
    annotations = {
        names.CONTENT_ID: plan.content_id,
        names.BASE_DIGEST: str(platform.base.manifest),
        names.CREATED: _rfc3339(plan.created),
    }
    if isinstance(platform.base.source, RegistrySource):
        # The path of a layout says something about this machine only.
        annotations[names.BASE_NAME] = platform.base.name
    return model.manifest(
        config, [_layer(layer) for layer in layers], tuple(annotations.items())
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


def _rfc3339(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
