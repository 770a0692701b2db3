"""Plan to image: decides which layers there are, makes the missing ones, joins them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import assert_never

from imagekit.builder import (
    Builder,
    BuilderContext,
    Built,
    BuiltImage,
    BuiltLayer,
    LayerForecast,
)
from imagekit.errors import UnsupportedLayerError
from imagekit.oci import model
from imagekit.plan import (
    AddLayers,
    BuildDockerfile,
    CopyTree,
    CreateVenv,
    Distribution,
    InstallAptPackages,
    InstallDistributions,
    Plan,
    PlatformPlan,
    RunCommands,
    SetEnv,
    SetWorkdir,
    Step,
)
from imagekit_oci import documents
from imagekit_oci.layer_jobs import LayerJob, layer_jobs
from imagekit_oci.layer_pool import LayerPool, known_layer

#: Fetches wait on the network, not on a core.
_FETCHES = 8


class OCIBuilder:
    """Builds images from plans that execute nothing."""

    def __init__(self, context: BuilderContext) -> None:
        self._context = context

    @property
    def name(self) -> str:
        """The name of the entry point."""
        return "embedded"

    def check(self, plan: Plan) -> None:
        """Raise UnsupportedLayerError if a step has to execute something."""
        steps = [step for platform in plan.platforms for step in platform.steps]
        executing = dict.fromkeys(
            text for step in steps if (text := _executing(step)) is not None
        )
        if executing:
            first = next(step for step in steps if _executing(step) is not None)
            raise UnsupportedLayerError(
                "the embedded builder runs nothing, and can't make: "
                + "; ".join(executing),
                hint="build it with a builder that can execute, such as "
                "--builder buildkit, or put what it needs into a base image",
                origin=str(first.origin) if first.origin else None,
            )

    def build(self, plan: Plan) -> Built:
        """Make the image: missing layers first, then its documents."""
        self.check(plan)
        with (
            ThreadPoolExecutor(_FETCHES, "imagekit-fetch") as fetches,
            ThreadPoolExecutor(self._context.jobs, "imagekit-layer") as pool,
        ):
            made = LayerPool(self._context, plan, fetches, pool)
            started = [
                (platform, jobs, made.start(jobs))
                for platform in plan.platforms
                for jobs in [layer_jobs(platform, self._context.store, plan.created)]
            ]
            try:
                images = tuple(
                    self._join(plan, platform, jobs, [item.result() for item in layers])
                    for platform, jobs, layers in started
                )
            except BaseException:
                # What is running ends whole; what has not begun is not worth waiting.
                fetches.shutdown(wait=False, cancel_futures=True)
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        if len(images) == 1:
            return Built(digest=images[0].manifest, index=None, images=images)
        content = documents.index(plan, images)
        digest = self._context.store.add_blob(content)
        return Built(digest=digest, index=content, images=images)

    def forecast(self, plan: Plan) -> tuple[LayerForecast, ...]:
        """Return the layers that :meth:`build` would add, made or not."""
        self.check(plan)
        found = []
        for platform in plan.platforms:
            for job in layer_jobs(platform, self._context.store, plan.created):
                known = known_layer(self._context.store, job)
                found.append(
                    LayerForecast(
                        platform=platform.platform,
                        title=job.title,
                        size=known.descriptor.size if known else job.size,
                        descriptor=known.descriptor if known else None,
                        fetches=() if known else self._absent(job.distributions),
                    )
                )
        return tuple(found)

    def _absent(
        self, distributions: tuple[Distribution, ...]
    ) -> tuple[Distribution, ...]:
        store = self._context.store
        return tuple(
            item
            for item in distributions
            if not store.wheel_path(item.sha256, item.filename).exists()
        )

    def _join(
        self,
        plan: Plan,
        platform: PlatformPlan,
        jobs: tuple[LayerJob, ...],
        layers: list[BuiltLayer],
    ) -> BuiltImage:
        assert platform.base is not None
        base = tuple(
            BuiltLayer(descriptor=layer, title=f"base {index + 1}", reused=True)
            for index, layer in enumerate(platform.base.layers)
        )
        config = documents.config(plan, platform, jobs, layers)
        config_digest = self._context.store.add_blob(config)
        manifest = documents.manifest(
            plan,
            platform,
            model.Descriptor(
                media_type=model.CONFIG, digest=config_digest, size=len(config)
            ),
            (*base, *layers),
        )
        return BuiltImage(
            platform=platform.platform,
            manifest=self._context.store.add_blob(manifest),
            manifest_size=len(manifest),
            config=config_digest,
            config_size=len(config),
            layers=(*base, *layers),
        )


def _executing(step: Step) -> str | None:
    """Return what has to be executed, for people, or None."""
    match step:
        case InstallAptPackages():
            what = f"apt packages {', '.join(step.packages)}"
        case RunCommands():
            what = f"commands {', '.join(map(repr, step.commands))}"
        case BuildDockerfile():
            what = f"Dockerfile {step.file!r}"
        case CreateVenv() | InstallDistributions() | CopyTree() | AddLayers():
            return None
        case SetEnv() | SetWorkdir():
            return None
        case _:
            assert_never(step)
    return f"{what} ({step.origin})" if step.origin else what


def _conforms(context: BuilderContext) -> Builder:
    return OCIBuilder(context)  # checked by mypy: the class satisfies the protocol
