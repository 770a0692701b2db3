"""Where images go: registries, layouts and archives on disk, the local engine."""

from __future__ import annotations

from pathlib import Path

from imagekit.blobs import Blobs
from imagekit.builder import BuilderContext, Built, BuiltImage
from imagekit.digest import Digest
from imagekit.errors import (
    AuthenticationError,
    LayoutError,
    RegistryError,
    StoreError,
)
from imagekit.executed import KEPT, kept_record
from imagekit.oci import model
from imagekit.oci.layout import write_layout
from imagekit.oci.push import PushBlob, PushManifest, PushReport, push
from imagekit.oci.repository import Repository
from imagekit.plan import Plan
from imagekit.platform import Platform
from imagekit.progress import Note, TaskEnded, TaskStarted
from imagekit.push_memory import PushMemory
from imagekit.records import dataclass, replace
from imagekit.reference import Reference
from imagekit.store import Store

#: What can be done where an output can't be written.
_ELSEWHERE = "free some space there, or name another place that can be written"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """Where the image is now.

    Attributes:
        uploaded: bytes sent to the registry, without manifests.
    """

    pushed: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    uploaded: int = 0


def deliver(
    built: Built,
    plan: Plan,
    *,
    references: tuple[Reference, ...],
    push: bool,
    outputs: tuple[str, ...],
    context: BuilderContext,
) -> Delivered:
    """Bring *built* to everywhere it should be; registries last."""
    blobs = Blobs(plan, built, context)
    for output in outputs:
        _write(output, built, blobs, references, context)
    if not push:
        return Delivered(outputs=outputs)
    uploaded = _push(built, blobs, references, context)
    return Delivered(
        outputs=outputs, pushed=tuple(map(str, references)), uploaded=uploaded
    )


def root_of(built: Built) -> model.Descriptor:
    """Return the descriptor of the index, or of the only manifest."""
    if built.index is not None:
        return model.Descriptor.of(built.index, model.INDEX)
    image = built.images[0]
    return model.Descriptor(
        media_type=model.MANIFEST, digest=image.manifest, size=image.manifest_size
    )


def _write(
    output: str,
    built: Built,
    blobs: Blobs,
    references: tuple[Reference, ...],
    context: BuilderContext,
) -> None:
    task = f"output:{output}"
    context.progress(TaskStarted(task, output, "load"))
    kind, _, path = output.partition(":")
    tags = tuple(item.tag for item in references if item.tag)
    if kind == "oci":
        _lay_out(path, built, blobs, tags)
    elif kind == "tar":
        _save(Path(path), built, blobs, references)
    else:
        _load(built, blobs, references, context)
    context.progress(TaskEnded(task))


def _lay_out(path: str, built: Built, blobs: Blobs, tags: tuple[str, ...]) -> None:
    try:
        write_layout(path, root_of(built), blobs.content, tags=tags)
    except LayoutError as error:
        if isinstance(error.__cause__, OSError):
            error.hint = error.hint or _ELSEWHERE
        raise


def _save(
    path: Path, built: Built, blobs: Blobs, references: tuple[Reference, ...]
) -> None:
    from imagekit.oci.archive import save_archive  # noqa: PLC0415

    try:
        save_archive(
            path,
            root_of(built),
            blobs.content,
            names=references,
            platform=_preferred(built),
        )
    except OSError as error:
        raise StoreError(
            f"can't write to {str(path)!r}: {error.strerror}", hint=_ELSEWHERE
        ) from error


def _load(
    built: Built,
    blobs: Blobs,
    references: tuple[Reference, ...],
    context: BuilderContext,
) -> None:
    from imagekit.oci.engine import load  # noqa: PLC0415

    store = context.store

    def known(digest: Digest) -> bytes | None:
        return store.read_blob(digest) if store.has_blob(digest) else None

    load(
        root_of(built),
        blobs.content,
        names=references,
        platform=_preferred(built),
        progress=context.progress,
        known=known,
    )


def _preferred(built: Built) -> Platform:
    """Return the platform for who can take one only: the host's if it is there."""
    offered = [image.platform for image in built.images]
    host = Platform.host()
    return host if host in offered else offered[0]


def _push(
    built: Built,
    blobs: Blobs,
    references: tuple[Reference, ...],
    context: BuilderContext,
) -> int:
    repository = context.registries.of(references[0])
    memory = PushMemory(context.store, repository)
    manifests = tuple(
        _push_manifest(image, blobs, repository, memory, context.store)
        for image in built.images
    )

    def send(manifests: tuple[PushManifest, ...]) -> PushReport:
        return push(
            repository,
            manifests,
            built.index,
            model.INDEX,
            tuple(item.tag for item in references if item.tag),
            proven=memory.manifests,
            known=memory.blobs,
            progress=context.progress,
        )

    try:
        report = send(manifests)
    except AuthenticationError:
        plain = tuple(map(_without_mounts, manifests))
        if plain == manifests:
            raise
        # Some registries give no token at all if it is to open a repository, to mount
        # from, that is closed to this login.
        report = send(plain)
    memory.remember(manifests)
    return report.bytes_uploaded + _keep(built, blobs, repository, context)


def _keep(
    built: Built,
    blobs: Blobs,
    repository: Repository,
    context: BuilderContext,
) -> int:
    """Push what is worth keeping beside the image; its layers are there already."""
    uploaded = 0
    for item in built.intermediates:
        memory = PushMemory(context.store, repository)
        known = memory.manifests
        kept = _push_manifest(item.image, blobs, repository, memory, context.store)
        try:
            report = push(
                repository,
                (kept,),
                None,
                model.INDEX,
                (item.tag,),
                proven=known,
                known=memory.blobs,
            )
        except RegistryError as error:
            context.progress(Note(f"{item.tag!r} is not kept in the registry: {error}"))
            continue
        uploaded += report.bytes_uploaded
        memory.remember((kept,))
        context.store.write_record(KEPT, kept_record(repository, item.tag), True)
    return uploaded


def _without_mounts(manifest: PushManifest) -> PushManifest:
    blobs = tuple(replace(blob, mount_from=()) for blob in manifest.blobs)
    return replace(manifest, blobs=blobs)


def _push_manifest(
    image: BuiltImage,
    blobs: Blobs,
    target: Repository,
    memory: PushMemory,
    store: Store,
) -> PushManifest:
    config = PushBlob(
        digest=image.config,
        size=image.config_size,
        open=blobs.opener(image.config),
        title="config",
        fresh=not all(layer.reused for layer in image.layers),
    )
    layers = tuple(
        PushBlob(
            digest=layer.descriptor.digest,
            size=layer.descriptor.size,
            open=blobs.opener(layer.descriptor.digest),
            mount_from=blobs.mounts(layer.descriptor.digest, target, memory),
            title=layer.title,
            fetch=blobs.repository(layer.descriptor.digest),
            fresh=not layer.reused,
        )
        for layer in image.layers
    )
    return PushManifest(
        content=store.read_blob(image.manifest),
        media_type=model.MANIFEST,
        blobs=(config, *layers),
    )
