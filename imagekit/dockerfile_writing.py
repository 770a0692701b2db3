"""An image as a Dockerfile, with the files that it copies."""

from __future__ import annotations

from pathlib import Path

from imagekit.builder import DockerfileWriter
from imagekit.building import Job, make_context, make_plan, make_registries
from imagekit.errors import BuilderUnavailableError
from imagekit.plugins import load
from imagekit.store import Store

#: The builder whose recipe is shown.
_BUILDER = "buildkit"


def dockerfile(job: Job, folder: Path | None = None) -> str:
    """Return the Dockerfile of *job*, for one platform.

    Args:
        job: what to build; see :func:`imagekit.building.prepare`.
        folder: receives the Dockerfile and the files that it copies. Without it, wheels
            come from where they are published.

    Raises:
        BuilderUnavailableError: the installed builder writes none.
        UnsupportedLayerError: a layer has no form in a Dockerfile.
        PlanError: something that the image needs is not there.
    """
    store = Store(job.settings.cache_dir)
    with (
        store.in_use(),
        make_registries(job.settings, job.progress) as registries,
    ):
        context = make_context(job, store, registries)
        builder = load(_BUILDER, context)
        if not isinstance(builder, DockerfileWriter):
            raise BuilderUnavailableError(
                f"the builder {_BUILDER!r} that is installed writes no Dockerfiles",
                hint="remove the distribution that replaces imagekit's own",
            )
        plan = make_plan(job, context, installer=True)
        builder.check(plan)
        if folder is None:
            return builder.dockerfile(plan)
        folder.mkdir(parents=True, exist_ok=True)
        return builder.write_context(plan, folder)
