"""The base of a solve: left to the engine, or brought to it as an OCI layout.

An engine pulls a base itself where it surely sees the same registry as this machine.
Where the user has set a mirror, an insecure registry or one on this machine, nobody
knows what the engine sees; the base then goes through the store. That is right
everywhere, and costs one download: BuildKit asks for layers only that it lacks.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from imagekit.builder import BuilderContext
from imagekit.errors import BaseNotFoundError
from imagekit.oci import model
from imagekit.oci.address import hostname, is_loopback
from imagekit.oci.layout import write_layout
from imagekit.oci.repository import Repository
from imagekit.plan import BaseImage, LayoutSource, PlatformPlan, RegistrySource
from imagekit.progress import TaskEnded, TaskStarted
from imagekit.records import replace
from imagekit_buildkit.instance import Connection


def is_pulled(base: BaseImage, context: BuilderContext, connection: Connection) -> bool:
    """Return whether the engine pulls *base* itself."""
    if not connection.exports or not isinstance(base.source, RegistrySource):
        return False
    repository = _repository(base.source, context)
    if repository.mirrors or repository.origin.url.startswith("http:"):
        return False
    return not is_loopback(hostname(repository.origin.name))


def with_layout(
    platform: PlatformPlan, folder: Path, context: BuilderContext
) -> PlatformPlan:
    """Return *platform* with its base in the OCI layout *folder*, which is made.

    Raises:
        BaseNotFoundError: the registry has it no longer.
        RegistryError: the registry refused, or could not be reached.
    """
    base = platform.base
    assert base is not None
    match base.source:
        case LayoutSource(path=path):
            # By a name of our own: buildx has rules for paths.
            folder.symlink_to(Path(path).absolute(), target_is_directory=True)
        case RegistrySource():
            _bring(base, base.source, folder, context)
    moved = replace(base, source=LayoutSource(path=str(folder)))
    return replace(platform, base=moved)


def _bring(
    base: BaseImage, source: RegistrySource, folder: Path, context: BuilderContext
) -> None:
    repository = _repository(source, context)
    content = _manifest(base, repository, context)
    root = model.Descriptor.of(content, model.read_manifest(content).media_type)
    task = f"base:{base.manifest}"
    missing = [
        layer for layer in base.layers if not context.store.has_blob(layer.digest)
    ]
    size = sum(layer.size for layer in missing)
    context.progress(TaskStarted(task, f"base {base.name}", "fetch", size or None))

    def open_blob(descriptor: model.Descriptor) -> Path | Iterable[bytes]:
        if descriptor.digest == root.digest:
            return [content]
        if descriptor.media_type in model.CONFIG_TYPES:
            return [base.config]
        return repository.fetch_blob(descriptor.digest, context.store, task=task)

    try:
        write_layout(folder, root, open_blob)
    except BaseException:
        context.progress(TaskEnded(task, "failed"))
        raise
    context.progress(TaskEnded(task, "done" if missing else "reused"))


def _manifest(
    base: BaseImage, repository: Repository, context: BuilderContext
) -> bytes:
    if context.store.has_blob(base.manifest):
        return context.store.read_blob(base.manifest)
    found = repository.get_manifest(str(base.manifest))
    if found is None:
        raise BaseNotFoundError(
            f"{repository.name} has no manifest {base.manifest} any more",
            hint="build again with --upgrade, which looks the base up anew",
        )
    return found.content


def _repository(source: RegistrySource, context: BuilderContext) -> Repository:
    return context.registries.repository(source.registry, source.repository)
