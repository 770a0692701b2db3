"""Makes the layers that the store lacks, each once, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from imagekit.builder import BuilderContext, BuiltLayer
from imagekit.digest import Digest
from imagekit.errors import BuilderError, DownloadError, PlanError
from imagekit.origin import Origin
from imagekit.plan import Distribution, InstallDistributions, LayerDescriptor, Plan
from imagekit.progress import TaskEnded, TaskStarted
from imagekit.store import Store
from imagekit_oci.layer_jobs import LayerJob


class LayerPool:
    """Makes each layer once, however many platforms ask for it.

    Args:
        plan: says where distributions were asked for.
        fetches: threads that wait for wheels.
        pool: threads that write layers.
    """

    def __init__(
        self,
        context: BuilderContext,
        plan: Plan,
        fetches: ThreadPoolExecutor,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._context = context
        self._origins = _origins(plan)
        self._fetches = fetches
        self._pool = pool
        self._layers: dict[str, Future[BuiltLayer]] = {}
        self._wheels: dict[str, Future[object]] = {}

    def start(self, jobs: tuple[LayerJob, ...]) -> list[Future[BuiltLayer]]:
        """Start what is missing of *jobs*, and return their layers to come."""
        # Big layers first, so that no core is left with a giant at the end.
        for job in sorted(jobs, key=lambda job: -job.size):
            if job.given is None and job.key not in self._layers:
                self._layers[job.key] = self._start(job)
        return [
            self._layers[job.key] if job.given is None else self._start(job)
            for job in jobs
        ]

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
        store = self._context.store
        with _caused_by(self._origins.get(distribution.sha256)):
            path = self._context.wheels.path(distribution)
            if store.read_record("verified", distribution.sha256) is None:
                from imagekit_oci.verify import (  # noqa: PLC0415  (once a wheel)
                    verify_wheel,
                )

                verify_wheel(path)
                store.write_record("verified", distribution.sha256, path.name)
        return path

    def _make(self, job: LayerJob, waits: list[Future[object]]) -> BuiltLayer:
        for wait in waits:
            wait.result()
        task = f"layer:{job.key}"
        self._context.progress(TaskStarted(task, job.title, "build", job.size or None))
        try:
            with _caused_by(self._origin(job)):
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

    def _origin(self, job: LayerJob) -> Origin | None:
        """Return where the layer was defined; many may share a layer of wheels."""
        if job.distributions:
            return self._origins.get(job.distributions[0].sha256)
        return job.step.origin


@contextmanager
def _caused_by(origin: Origin | None) -> Iterator[None]:
    """Name *origin* in errors that are the layer's, and not this machine's."""
    try:
        yield
    except (PlanError, BuilderError, DownloadError) as error:
        error.at(str(origin) if origin else None)
        raise


def _origins(plan: Plan) -> dict[str, Origin | None]:
    """Return where each distribution was asked for, by the sha256 of its wheel."""
    return {
        item.sha256: step.origin
        for platform in plan.platforms
        for step in platform.steps
        if isinstance(step, InstallDistributions)
        for item in step.distributions
    }


def known_layer(store: Store, job: LayerJob) -> BuiltLayer | None:
    """Return the layer of *job* if it was given, or if the store has it."""
    if job.given is not None:
        return BuiltLayer(
            descriptor=job.given,
            title=job.title,
            reused=job.reused,
            key=job.key,
            source=job.source,
        )
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
