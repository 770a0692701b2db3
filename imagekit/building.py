"""``build()``: is it there already? If not, plan it, make it, deliver it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from imagekit.contents import Contents, read_contents
from imagekit.errors import DefinitionError, ImageKitError, RegistryError
from imagekit.image import Image
from imagekit.initialization import configuration
from imagekit.layers import PipPackages, Requirements, UVProject, UVScript
from imagekit.naming import image_uri, is_existing, repository_name
from imagekit.platform import Platform
from imagekit.progress import Note, Progress, TaskEnded, TaskStarted, silent
from imagekit.records import dataclass
from imagekit.reference import Reference, check_registry, check_tag
from imagekit.result import BuildResult, LayerReport, StepReport
from imagekit.settings import Settings, load_settings
from imagekit.validation import validate

if TYPE_CHECKING:
    from imagekit.builder import BuilderContext, Built, Execution
    from imagekit.digest import Digest
    from imagekit.oci.registry import Registries
    from imagekit.plan import Plan
    from imagekit.resolve.credentials import Credentials
    from imagekit.store import Store

__all__ = ["BuildOptions", "BuildResult", "build", "build_image"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """What to do with an image; empty fields are left to the image and the settings.

    Attributes:
        builder: name of a builder, or ``auto``.
        platforms: platforms that replace the image's.
        registry: registry that replaces the image's.
        name: name that replaces the image's.
        tag: a further tag beside the content id.
        push: whether to push; None pushes where a registry is known.
        outputs: ``oci:DIR``, ``tar:FILE`` and ``docker``.
        force: whether to build even if the image is there.
        dry_run: whether to say only what would be done, touching nothing.
        upgrade: True to resolve everything anew, or names to bring up to date.
        no_cache: whether every executing step runs anew.
        cache_from: caches that BuildKit imports, beside those of the settings.
        cache_to: caches that BuildKit exports, beside those of the settings.
        network: network of executing steps, in place of the settings'.
        sbom: what BuildKit's ``--sbom`` is given; for an engine's images only.
        provenance: what BuildKit's ``--provenance`` is given; likewise.
    """

    builder: str | None = None
    platforms: tuple[str, ...] | None = None
    registry: str | None = None
    name: str | None = None
    tag: str | None = None
    push: bool | None = None
    outputs: tuple[str, ...] = ()
    force: bool = False
    dry_run: bool = False
    upgrade: bool | tuple[str, ...] = False
    no_cache: bool = False
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    network: str | None = None
    sbom: str | None = None
    provenance: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One build on its way: the image as it will be, and what was read for it."""

    image: Image
    options: BuildOptions
    settings: Settings
    progress: Progress
    contents: Contents
    uri: str

    @property
    def references(self) -> tuple[Reference, ...]:
        """Return what the image is pushed as: content id first, then the tag."""
        first = Reference.parse(self.uri)
        if self.options.tag is None:
            return (first,)
        return (first, first.with_tag(check_tag(self.options.tag)))

    @property
    def pushes(self) -> bool:
        """Return whether the image goes to a registry."""
        if self.options.push is not None:
            return self.options.push
        return bool(self.image.registry or self.settings.registry)


def build_image(
    image: Image,
    options: BuildOptions | None = None,
    *,
    settings: Settings | None = None,
    progress: Progress = silent,
) -> BuildResult:
    """Build *image* unless it is there already, and deliver it.

    Raises:
        ImageKitError: see :mod:`imagekit.errors`; nothing that was built is lost.
    """
    began = time.monotonic()
    options = options or BuildOptions()
    settings = settings or load_settings()
    image = adapt(image, options, settings)
    if is_existing(image) and not options.outputs:
        uri = image_uri(image, settings=settings)
        return BuildResult(
            uri, identifier=image.identifier, platforms=image.platform, reused=True
        )
    job = prepare(image, options, settings, progress)
    if options.dry_run:
        result = BuildResult(
            job.uri,
            identifier=image.identifier,
            content_id=job.contents.content_id,
            platforms=job.contents.platform,
        )
    else:
        result = _run(job)
    result.seconds = time.monotonic() - began
    return result


def adapt(image: Image, options: BuildOptions, settings: Settings) -> Image:
    """Return *image* as the options and settings have it."""
    platforms = options.platforms or settings.platforms
    registry = options.registry and check_registry(options.registry)
    if not (platforms or registry or options.name):
        return image
    return image.clone(registry=registry, name=options.name, platform=platforms)  # type: ignore[arg-type]  # any text; clone() checks it


def prepare(
    image: Image, options: BuildOptions, settings: Settings, progress: Progress
) -> Job:
    """Read what *image* needs, and check everything that can be checked now.

    Raises:
        ValidationError: the image has faults; all of them are listed.
        DefinitionError: the options ask for what can't be.
    """
    task = "read"
    progress(TaskStarted(task, f"files of {image.name}", "read"))
    try:
        contents = _read(image, settings, writes=not options.dry_run)
    except BaseException:
        progress(TaskEnded(task, "failed"))
        raise
    progress(TaskEnded(task, detail=contents.content_id[:16]))
    uri = image_uri(image, settings=settings, contents=contents)
    if options.push and "/" not in repository_name(image, settings):
        raise DefinitionError(
            f"can't push {uri!r}: no registry is known",
            hint="give one with --registry, Image(registry=...), IMAGEKIT_REGISTRY or "
            "'registry' in imagekit.toml",
        )
    if options.tag is not None:
        check_tag(options.tag)
    return Job(
        image=image,
        options=options,
        settings=settings,
        progress=progress,
        contents=contents,
        uri=uri,
    )


def _read(image: Image, settings: Settings, *, writes: bool) -> Contents:
    if not writes:
        return _explained(image, lambda: read_contents(image))
    from imagekit.stat_index import StatIndex  # noqa: PLC0415  (loads its file)
    from imagekit.store import Store  # noqa: PLC0415

    index = StatIndex(Store(settings.cache_dir))
    return _explained(image, lambda: read_contents(image, index=index))


def _explained(image: Image, read: Callable[[], Contents]) -> Contents:
    try:
        return read()
    except ImageKitError:
        # Say everything that is wrong, not only what came first.
        validate(image)
        raise


def _run(job: Job) -> BuildResult:
    from imagekit.existence import check_outputs  # noqa: PLC0415
    from imagekit.store import Store, full_disks  # noqa: PLC0415

    check_outputs(job.options.outputs)
    store = Store(job.settings.cache_dir)
    with (
        full_disks(store.root),
        store.in_use(),
        make_registries(job.settings, job.progress) as registries,
    ):
        if job.pushes and not job.options.force:
            found = _existing(job, registries)
            if found is not None and not job.options.outputs:
                return found
        if not job.pushes and not job.options.force:
            found = _written(job)
            if found is not None:
                return found
        from imagekit.delivery import deliver  # noqa: PLC0415  (imports the builders)

        context = make_context(job, store, registries)
        name, plan, built = _make(job, context)
        delivered = deliver(
            built,
            plan,
            references=job.references,
            push=job.pushes,
            outputs=job.options.outputs,
            context=context,
        )
    if not delivered.pushed and not delivered.outputs:
        job.progress(
            Note(
                "the image is in the store only; use --push, or --output oci:DIR, "
                "tar:FILE or docker"
            )
        )
    return BuildResult(
        job.uri,
        identifier=plan.identifier,
        content_id=plan.content_id,
        digest=str(built.digest),
        platforms=tuple(str(item.platform) for item in built.images),
        reused=False,
        builder=name,
        layers=_layers(built),
        pushed=delivered.pushed,
        outputs=delivered.outputs,
        uploaded=delivered.uploaded,
        steps=tuple(
            StepReport(
                title=step.title,
                seconds=step.seconds,
                cached=step.cached,
                platform=str(step.platform),
            )
            for step in built.steps
        ),
        log=built.log,
    )


def _make(job: Job, context: BuilderContext) -> tuple[str, Plan, Built]:
    from imagekit.choice import builder_for  # noqa: PLC0415  (imports builders)

    plan = make_plan(job, context)
    builder = builder_for(job.options.builder or job.settings.builder, plan, context)
    return builder.name, plan, builder.build(plan)


def make_context(job: Job, store: Store, registries: Registries) -> BuilderContext:
    """Return what a builder of *job* may use."""
    from imagekit.builder import BuilderContext  # noqa: PLC0415
    from imagekit.resolve.download import Wheels  # noqa: PLC0415

    return BuilderContext(
        store=store,
        registries=registries,
        wheels=Wheels(
            store,
            credentials=lambda: _credentials(job),
            progress=job.progress,
            ca_bundle=job.settings.ca_bundle,
        ),
        progress=job.progress,
        jobs=job.settings.jobs,
        execution=_execution(job),
        cache=job.references[0] if job.pushes and not job.options.no_cache else None,
    )


def _execution(job: Job) -> Execution:
    from imagekit.builder import Execution  # noqa: PLC0415
    from imagekit.oci.authorities import host_authorities  # noqa: PLC0415

    options, settings = job.options, job.settings
    return Execution(
        remote=settings.remote,
        remote_ca=settings.remote_ca,
        remote_cert=settings.remote_cert,
        remote_key=settings.remote_key,
        cache_from=(*settings.cache_from, *options.cache_from),
        cache_to=(*settings.cache_to, *options.cache_to),
        no_cache=options.no_cache,
        network=options.network or settings.network,
        sbom=options.sbom,
        provenance=options.provenance,
        ca_bundle=settings.ca_bundle or host_authorities(),
        secrets_dir=settings.secrets_dir,
    )


def _credentials(job: Job) -> Credentials:
    from imagekit.resolve.python import credentials_for  # noqa: PLC0415

    python = (PipPackages, Requirements, UVProject, UVScript)
    return credentials_for(
        tuple(layer for layer in job.image.layers if isinstance(layer, python)),
        secrets_dir=job.settings.secrets_dir,
    )


def make_plan(job: Job, context: BuilderContext, *, installer: bool = False) -> Plan:
    """Return the plan of *job*: everything pinned, with *installer* uv too."""
    from imagekit.choice import installs_inside  # noqa: PLC0415
    from imagekit.resolve import planning  # noqa: PLC0415  (imports the resolver)

    world = planning.World(
        store=context.store,
        registries=context.registries,
        wheels=context.wheels,
        progress=job.progress,
        upgrade=job.options.upgrade,
        secrets_dir=job.settings.secrets_dir,
        installer=installer
        or installs_inside(job.options.builder or job.settings.builder, context),
    )
    return planning.make_plan(job.image, job.contents, world)


def _written(job: Job) -> BuildResult | None:
    """Return the image if all outputs are layouts that have it."""
    from imagekit.existence import existing_outputs  # noqa: PLC0415

    tags = tuple(reference.tag or "latest" for reference in job.references)
    wanted = tuple(Platform.parse(item) for item in job.contents.platform)
    digest = existing_outputs(job.options.outputs, tags, wanted)
    if digest is None:
        return None
    return _reused(job, digest, outputs=job.options.outputs)


def _existing(job: Job, registries: Registries) -> BuildResult | None:
    """Return the image if the registry has it for all platforms.

    Unknown is not "yes": if the registry can't say, that is said, and we build.
    """
    from imagekit.existence import existing  # noqa: PLC0415

    wanted = tuple(Platform.parse(item) for item in job.contents.platform)
    try:
        digest = existing(registries, job.references, wanted)
    except RegistryError as error:
        job.progress(
            Note(f"can't tell whether {job.uri} exists, so it is built: {error}")
        )
        return None
    if digest is None:
        return None
    return _reused(job, digest, pushed=tuple(map(str, job.references)))


def _reused(
    job: Job,
    digest: Digest,
    *,
    outputs: tuple[str, ...] = (),
    pushed: tuple[str, ...] = (),
) -> BuildResult:
    return BuildResult(
        job.uri,
        identifier=job.image.identifier,
        content_id=job.contents.content_id,
        digest=str(digest),
        platforms=job.contents.platform,
        reused=True,
        outputs=outputs,
        pushed=pushed,
    )


def make_registries(settings: Settings, progress: Progress = silent) -> Registries:
    """Return clients for registries, as the settings want them."""
    from imagekit.oci.registry import Registries  # noqa: PLC0415

    return Registries(
        mirrors=settings.mirrors,
        ca_bundle=settings.ca_bundle,
        insecure=settings.insecure_registries,
        progress=progress,
    )


def _layers(built: Built) -> tuple[LayerReport, ...]:
    return tuple(
        LayerReport(
            title=layer.title,
            digest=str(layer.descriptor.digest),
            size=layer.descriptor.size,
            reused=layer.reused,
            platform=str(image.platform),
        )
        for image in built.images
        for layer in image.layers
    )


class _Build:
    """``build(image)`` blocks; ``await build.aio(image)`` does not."""

    def __call__(
        self,
        image: Image,
        *,
        dry_run: bool = False,
        force: bool = False,
        push: bool | None = None,
        builder: str | None = None,
        outputs: tuple[str, ...] = (),
        settings: Mapping[str, object] | None = None,
        progress: Progress = silent,
    ) -> BuildResult:
        """Build *image* and return its URI, with all that is known of the result.

        Args:
            image: what to build.
            dry_run: only say what it would be called; touch nothing.
            force: build even if the registry has it.
            push: by default, push if a registry is known.
            builder: name of a builder; by default what the settings say.
            outputs: ``oci:DIR``, ``tar:FILE``, ``docker``.
            settings: values that go before the environment and all files.
            progress: receives events.

        Raises:
            ImageKitError: see :mod:`imagekit.errors`.
        """
        options = BuildOptions(
            dry_run=dry_run, force=force, push=push, builder=builder, outputs=outputs
        )
        return build_image(
            image,
            options,
            settings=configuration().settings(**(settings or {})),
            progress=progress,
        )

    async def aio(self, image: Image, **options: object) -> BuildResult:
        """Build *image* in a thread, so that the event loop goes on."""
        import asyncio  # noqa: PLC0415  (slow to import)

        return await asyncio.to_thread(self, image, **options)  # type: ignore[arg-type]  # the same options as above


build = _Build()
