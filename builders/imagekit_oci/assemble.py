"""Plan to image: decides which layers there are, makes the missing ones, joins them."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import assert_never

from imagekit.builder import (
    Builder,
    BuilderContext,
    Built,
    BuiltImage,
    BuiltLayer,
    LayerForecast,
)
from imagekit.digest import Digest
from imagekit.errors import UnsupportedLayerError
from imagekit.oci import model
from imagekit.plan import (
    BuildDockerfile,
    CopyTree,
    CreateVenv,
    Distribution,
    InstallAptPackages,
    InstallDistributions,
    LayerDescriptor,
    Plan,
    PlatformPlan,
    RunCommands,
    SetEnv,
    SetWorkdir,
    Step,
)
from imagekit.progress import TaskEnded, TaskStarted
from imagekit.store import Store
from imagekit_oci import documents
from imagekit_oci.layer_jobs import LayerJob, layer_jobs
from imagekit_oci.verify import verify_wheel

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
            made = _Made(self._context, fetches, pool)
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


class _Made:
    """Makes each layer once, however many platforms ask for it."""

    def __init__(
        self,
        context: BuilderContext,
        fetches: ThreadPoolExecutor,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._context = context
        self._fetches = fetches
        self._pool = pool
        self._layers: dict[str, Future[BuiltLayer]] = {}
        self._wheels: dict[str, Future[object]] = {}

    def start(self, jobs: tuple[LayerJob, ...]) -> list[Future[BuiltLayer]]:
        # Big layers first, so that no core is left with a giant at the end.
        for job in sorted(jobs, key=lambda job: -job.size):
            if job.key not in self._layers:
                self._layers[job.key] = self._start(job)
        return [self._layers[job.key] for job in jobs]

    def _start(self, job: LayerJob) -> Future[BuiltLayer]:
        known = known_layer(self._context.store, job)
        if known is not None:
            done: Future[BuiltLayer] = Future()
            done.set_result(known)
            return done
        waits = [self._fetch(item) for item in job.distributions]
        return self._pool.submit(self._make, job, waits)

    def _fetch(self, distribution: Distribution) -> Future[object]:
        found = self._wheels.get(distribution.sha256)
        if found is None:
            found = self._fetches.submit(self._verified, distribution)
            self._wheels[distribution.sha256] = found
        return found

    def _verified(self, distribution: Distribution) -> Path:
        """Return the wheel, checked completely the first time that it is used."""
        path = self._context.wheels.path(distribution)
        store = self._context.store
        if store.read_record("verified", distribution.sha256) is None:
            verify_wheel(path)
            store.write_record("verified", distribution.sha256, path.name)
        return path

    def _make(self, job: LayerJob, waits: list[Future[object]]) -> BuiltLayer:
        for wait in waits:
            wait.result()
        task = f"layer:{job.key}"
        self._context.progress(TaskStarted(task, job.title, "build", job.size or None))
        try:
            descriptor = job.make(self._context.wheels.path)
        except BaseException:
            self._context.progress(TaskEnded(task, "failed"))
            raise
        self._context.store.write_record(
            "layers",
            job.key,
            {
                "media_type": descriptor.media_type,
                "digest": str(descriptor.digest),
                "size": descriptor.size,
                "diff_id": str(descriptor.diff_id),
                "title": job.title,
            },
        )
        self._context.progress(TaskEnded(task))
        return BuiltLayer(
            descriptor=descriptor, title=job.title, reused=False, key=job.key
        )


def known_layer(store: Store, job: LayerJob) -> BuiltLayer | None:
    """Return the layer of *job* if the store has it."""
    record = store.read_record("layers", job.key)
    if record is None:
        return None
    descriptor = LayerDescriptor(
        media_type=record["media_type"],
        digest=Digest.parse(record["digest"]),
        size=record["size"],
        diff_id=Digest.parse(record["diff_id"]),
    )
    try:
        if store.blob_path(descriptor.digest).stat().st_size != descriptor.size:
            return None
    except OSError:
        return None
    return BuiltLayer(descriptor=descriptor, title=job.title, reused=True, key=job.key)


def _executing(step: Step) -> str | None:
    """Return what has to be executed, for people, or None."""
    match step:
        case InstallAptPackages():
            what = f"apt packages {', '.join(step.packages)}"
        case RunCommands():
            what = f"commands {', '.join(map(repr, step.commands))}"
        case BuildDockerfile():
            what = f"Dockerfile {step.file!r}"
        case CreateVenv() | InstallDistributions() | CopyTree() | SetEnv():
            return None
        case SetWorkdir():
            return None
        case _:
            assert_never(step)
    return f"{what} ({step.origin})" if step.origin else what


def _conforms(context: BuilderContext) -> Builder:
    return OCIBuilder(context)  # checked by mypy: the class satisfies the protocol
