"""What executed steps became: layers, kept by content id in the store and registry."""

from __future__ import annotations

from typing import Any, TypeAlias

from imagekit.builder import BuilderContext
from imagekit.canonical import fingerprint
from imagekit.digest import Digest
from imagekit.errors import RegistryError
from imagekit.oci import annotations as names
from imagekit.oci import model
from imagekit.oci.repository import Repository
from imagekit.plan import AddLayers, LayerDescriptor, RegistrySource, SetEnv, Step
from imagekit.progress import Note

#: Kind of the records in the store.
EXECUTED = "executed"

#: Kind of the records of results that were pushed.
KEPT = "kept"

Steps: TypeAlias = tuple[Step, ...]


class ExecutedResults:
    """Finds and keeps the layers of executed steps."""

    def __init__(self, context: BuilderContext) -> None:
        self._context = context

    def known(self, key: str, part: Steps) -> Steps | None:
        """Return what *part* became, if the store has it."""
        if self._context.execution.no_cache:
            return None
        record = self._context.store.read_record(EXECUTED, key)
        if not isinstance(record, list):
            return None
        layers = tuple(map(_layer_of, record))
        if not all(self._context.store.has_blob(layer.digest) for layer in layers):
            return None
        titles = tuple(str(item["title"]) for item in record)
        return given(part, key, layers, titles, reused=True)

    def offered(self, key: str, part: Steps) -> Steps | None:
        """Return what *part* became, if the registry has it."""
        if self._context.cache is None:
            return None
        repository = self._context.registries.of(self._context.cache).direct()
        try:
            found = repository.get_manifest(key)
        except RegistryError as error:
            self._context.progress(
                Note(f"can't tell whether a result is kept, so steps are run: {error}")
            )
            return None
        if found is None:
            return None
        view = model.read_document(found.content, found.media_type)
        if not isinstance(view, model.Manifest):
            return None
        own = [item for item in view.layers if _annotation(item, names.KEY) == key]
        if not own:
            return None
        layers = tuple(
            LayerDescriptor(
                media_type=item.media_type,
                digest=item.digest,
                size=item.size,
                diff_id=Digest.parse(_annotation(item, names.DIFF_ID)),
            )
            for item in own
        )
        titles = tuple(_annotation(item, names.TITLE) for item in own)
        source = RegistrySource(
            registry=repository.registry, repository=repository.repository
        )
        return given(part, key, layers, titles, source=source, reused=True)

    def is_kept(self, key: str) -> bool:
        """Return whether the registry was given the result, by this machine."""
        if self._context.cache is None:
            return False
        repository = self._context.registries.of(self._context.cache)
        record = kept_record(repository, key)
        return self._context.store.read_record(KEPT, record) is not None

    def keep(
        self, key: str, layers: tuple[LayerDescriptor, ...], titles: tuple[str, ...]
    ) -> None:
        """Remember what the steps with the content id *key* became."""
        self._context.store.write_record(
            EXECUTED,
            key,
            [
                {
                    "media_type": layer.media_type,
                    "digest": str(layer.digest),
                    "size": layer.size,
                    "diff_id": str(layer.diff_id),
                    "title": title,
                }
                for layer, title in zip(layers, titles, strict=True)
            ],
        )


def kept_record(repository: Repository, key: str) -> str:
    """Return the key of the record that *repository* has the result *key*."""
    return fingerprint("kept", (repository.name, key))


def given(
    part: Steps,
    key: str,
    layers: tuple[LayerDescriptor, ...],
    titles: tuple[str, ...],
    *,
    source: RegistrySource | None = None,
    reused: bool,
) -> Steps:
    """Return the layers as a step, and the settings that were among the steps."""
    step = AddLayers(
        layers=layers,
        titles=titles,
        key=key,
        source=source,
        reused=reused,
        origin=part[0].origin,
    )
    return (step, *(item for item in part if isinstance(item, SetEnv)))


def _layer_of(record: Any) -> LayerDescriptor:
    return LayerDescriptor(
        media_type=record["media_type"],
        digest=Digest.parse(record["digest"]),
        size=record["size"],
        diff_id=Digest.parse(record["diff_id"]),
    )


def _annotation(descriptor: model.Descriptor, name: str) -> str:
    return dict(descriptor.annotations).get(name, "")
