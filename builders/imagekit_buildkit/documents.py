"""The documents of an image that BuildKit made: normalized config, manifest, index.

BuildKit notes in the config when and how it worked. Here it says what the plan says, so
that the same build has the same digest wherever it is done.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from imagekit.builder import BuiltImage, BuiltLayer
from imagekit.errors import BuildFailedError
from imagekit.image_documents import (
    config_on_base,
    created_text,
    manifest_annotations,
    settings_of,
)
from imagekit.oci import annotations as names
from imagekit.oci import model
from imagekit.oci.config import ImageConfig, read_config
from imagekit.plan import Plan, PlatformPlan
from imagekit_buildkit.made import Made

#: Of config.md; everything else is BuildKit's own.
_FIELDS = ("architecture", "os", "os.version", "os.features", "variant", "config")
_ROOT = ("", "root", "0")


def config(
    plan: Plan, platform: PlatformPlan, made: Made, titles: Sequence[str]
) -> bytes:
    """Return the image config: the base's, with what the steps change (config.md).

    Args:
        plan: says when the image was made.
        platform: its base and steps.
        made: what BuildKit gave.
        titles: what the layers above the base hold.

    Raises:
        BuildFailedError: BuildKit's image has other settings than the plan.
    """
    if platform.base is None:
        return _normalized(made, titles, created_text(plan))
    _check_settings(platform.base.config, made.config, *settings_of(platform))
    return config_on_base(
        plan,
        platform,
        diff_ids=[layer.diff_id for layer in made.layers],
        titles=titles,
    )


def manifest(
    plan: Plan,
    platform: PlatformPlan,
    config: model.Descriptor,
    layers: Sequence[BuiltLayer],
) -> bytes:
    """Return the manifest."""
    return model.manifest(
        config,
        [
            model.Descriptor(
                media_type=model.oci_media_type(layer.descriptor.media_type),
                digest=layer.descriptor.digest,
                size=layer.descriptor.size,
            )
            for layer in layers
        ],
        manifest_annotations(plan, platform),
    )


def index(
    plan: Plan, images: Sequence[BuiltImage], attestations: Sequence[model.Descriptor]
) -> bytes:
    """Return the index over the platforms' manifests, and what attests them."""
    manifests = [
        model.Descriptor(
            media_type=model.MANIFEST,
            digest=image.manifest,
            size=image.manifest_size,
            platform=image.platform,
        )
        for image in images
    ]
    return model.index(
        [*manifests, *attestations], ((names.CONTENT_ID, plan.content_id),)
    )


def _normalized(made: Made, titles: Sequence[str], created: str) -> bytes:
    """Return the config of a user's Dockerfile without what BuildKit adds."""
    document = json.loads(made.config)
    found = {name: document[name] for name in _FIELDS if name in document}
    found["created"] = created
    found["rootfs"] = {
        "type": "layers",
        "diff_ids": [str(layer.diff_id) for layer in made.layers],
    }
    rest = iter(titles)
    found["history"] = [
        _entry(dict(entry), rest) for entry in made.history if not _is_argument(entry)
    ]
    return model.canonical_json(found)


def _entry(entry: dict[str, Any], titles: Any) -> dict[str, Any]:
    """Return an entry without BuildKit's comment, and without values of arguments."""
    if not entry.get("empty_layer"):
        title = next(titles, None)
        if str(entry.get("created_by")).startswith("RUN |") and title is not None:
            entry["created_by"] = f"RUN {title.removeprefix('RUN ')}"
    if str(entry.get("comment")).startswith("buildkit."):
        del entry["comment"]
    return entry


def _is_argument(entry: dict[str, Any]) -> bool:
    return str(entry.get("created_by")).startswith("ARG ") and bool(
        entry.get("empty_layer")
    )


def _check_settings(
    base: bytes, made: bytes, environment: dict[str, str], workdir: str | None
) -> None:
    """Make sure that what the steps saw is what the image says."""
    found, below = read_config(made), read_config(base)
    variables = dict(found.env)
    wrong = [
        f"{name}={variables.get(name)!r} for {text!r}"
        for name, text in environment.items()
        if variables.get(name) != text
    ]
    if workdir is not None and found.workdir != workdir:
        wrong.append(f"the working directory {found.workdir!r} for {workdir!r}")
    if not _same_user(found, below):
        wrong.append(f"the user {found.user!r} for {below.user!r}")
    if wrong:
        raise BuildFailedError(
            f"BuildKit's image has {'; '.join(wrong)}",
            hint="report it: the Dockerfile is wrong that was made for it",
        )


def _same_user(one: ImageConfig, other: ImageConfig) -> bool:
    return one.user == other.user or (one.user in _ROOT and other.user in _ROOT)
