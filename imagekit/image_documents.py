"""What the documents of an image say that follows from its plan, whoever made it.

With it, the same plan has the same words in its config and manifest from all builders.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from imagekit.digest import Digest
from imagekit.oci import annotations as names
from imagekit.oci.config import image_config
from imagekit.plan import Plan, PlatformPlan, RegistrySource, SetEnv, SetWorkdir


def created_text(plan: Plan) -> str:
    """Return when the image was made, as documents write it (RFC 3339)."""
    return datetime.fromtimestamp(plan.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def settings_of(platform: PlatformPlan) -> tuple[dict[str, str], str | None]:
    """Return the variables that the steps set, and the last working directory."""
    environment: dict[str, str] = {}
    workdir = None
    for step in platform.steps:
        if isinstance(step, SetEnv):
            environment.update(step.variables)
        elif isinstance(step, SetWorkdir):
            workdir = step.path
    return environment, workdir


def config_on_base(
    plan: Plan,
    platform: PlatformPlan,
    *,
    diff_ids: Sequence[Digest],
    titles: Iterable[str],
) -> bytes:
    """Return the image config: the base's, with what the steps change (config.md).

    Args:
        plan: says when the image was made.
        platform: its base and steps.
        diff_ids: of the layers above the base.
        titles: what they hold.
    """
    assert platform.base is not None
    environment, workdir = settings_of(platform)
    created = created_text(plan)
    history: list[dict[str, Any]] = [
        {"created": created, "created_by": f"imagekit: {title}"} for title in titles
    ]
    if environment or workdir:
        settings = {"created_by": "imagekit: settings", "empty_layer": True}
        history.append({"created": created, **settings})
    return image_config(
        platform.base.config,
        diff_ids=diff_ids,
        history=history,
        created=created,
        env=tuple(environment.items()),
        workdir=workdir,
    )


def manifest_annotations(
    plan: Plan, platform: PlatformPlan
) -> tuple[tuple[str, str], ...]:
    """Return the annotations of a manifest: content id, time and base."""
    found = {names.CONTENT_ID: plan.content_id, names.CREATED: created_text(plan)}
    if platform.base is not None:
        found[names.BASE_DIGEST] = str(platform.base.manifest)
        if isinstance(platform.base.source, RegistrySource):
            # The path of a layout says something about this machine only.
            found[names.BASE_NAME] = platform.base.name
    return tuple(found.items())
