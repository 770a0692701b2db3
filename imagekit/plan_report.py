"""What a build would do: for ``imagekit plan`` and for dry runs."""

from __future__ import annotations

from typing import Any

from imagekit.builder import BuilderContext, Forecaster, LayerForecast
from imagekit.building import (
    BuildOptions,
    Job,
    adapt,
    make_context,
    make_plan,
    make_registries,
    prepare,
)
from imagekit.errors import RegistryError
from imagekit.image import Image
from imagekit.plan import InstallDistributions, Plan, PlatformPlan
from imagekit.progress import Progress, silent
from imagekit.records import dataclass
from imagekit.settings import Settings, load_settings
from imagekit.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReport:
    """What would be read, fetched, built, reused and uploaded.

    Attributes:
        exists: whether the registry has the image; None where it was not asked or
            can't tell.
        layers: layers above the base; None where the builder can't foretell them.
        uploads: bytes that a push would send, where known; layers that are not made
            yet count with the size of what they are made from.
    """

    uri: str
    plan: Plan
    builder: str
    exists: bool | None
    layers: tuple[LayerForecast, ...] | None
    uploads: int | None

    def as_json(self) -> dict[str, Any]:
        """Return the report as a JSON document."""
        return {
            "uri": self.uri,
            "identifier": self.plan.identifier,
            "content_id": self.plan.content_id,
            "builder": self.builder,
            "exists": self.exists,
            "uploads": self.uploads,
            "platforms": [_platform(item) for item in self.plan.platforms],
            "layers": None
            if self.layers is None
            else [_layer(item) for item in self.layers],
        }


def plan_image(
    image: Image,
    options: BuildOptions | None = None,
    *,
    settings: Settings | None = None,
    progress: Progress = silent,
) -> PlanReport:
    """Pin everything that *image* needs, and say what building it would take.

    Nothing is fetched but what pinning needs, and nothing is built or pushed.
    """
    from imagekit.choice import builder_for  # noqa: PLC0415  (imports builders)

    options = options or BuildOptions()
    settings = settings or load_settings()
    job = prepare(adapt(image, options, settings), options, settings, progress)
    store = Store(settings.cache_dir)
    with store.in_use(), make_registries(settings, progress) as registries:
        context = make_context(job, store, registries)
        plan = make_plan(job, context)
        builder = builder_for(options.builder or settings.builder, plan, context)
        builder.check(plan)
        layers = builder.forecast(plan) if isinstance(builder, Forecaster) else None
        exists, uploads = _registry(job, context, layers)
    return PlanReport(
        uri=job.uri,
        plan=plan,
        builder=builder.name,
        exists=exists,
        layers=layers,
        uploads=uploads,
    )


def _registry(
    job: Job, context: BuilderContext, layers: tuple[LayerForecast, ...] | None
) -> tuple[bool | None, int | None]:
    if not job.pushes:
        return None, None
    repository = context.registries.of(job.references[0]).direct()
    try:
        exists = repository.head_manifest(job.references[0].target) is not None
        if exists or layers is None:
            return exists, 0 if exists else None
        uploads = {
            layer.descriptor.digest if layer.descriptor else layer.title: layer.size
            for layer in layers
            if layer.descriptor is None
            or not repository.has_blob(layer.descriptor.digest)
        }
        return exists, sum(uploads.values())
    except RegistryError:
        return None, None


def _platform(item: PlatformPlan) -> dict[str, Any]:
    base = item.base and {
        "name": item.base.name,
        "digest": str(item.base.manifest),
        "layers": len(item.base.layers),
        "size": sum(layer.size for layer in item.base.layers),
        "python": item.base.interpreter and item.base.interpreter.full_version,
    }
    distributions = [
        {"name": found.name, "version": found.version, "size": found.size}
        for step in item.steps
        if isinstance(step, InstallDistributions)
        for found in step.distributions
    ]
    return {
        "platform": str(item.platform),
        "base": base,
        "distributions": distributions,
    }


def _layer(item: LayerForecast) -> dict[str, Any]:
    return {
        "platform": str(item.platform),
        "title": item.title,
        "size": item.size,
        "action": "reuse" if item.descriptor else "build",
        "digest": str(item.descriptor.digest) if item.descriptor else None,
        "fetches": [f"{found.name} {found.version}" for found in item.fetches],
    }
