"""Is the image there already? Asked before anything is planned, so imports are few."""

from __future__ import annotations

from imagekit.digest import Digest
from imagekit.errors import DefinitionError, LayoutError
from imagekit.oci import model
from imagekit.oci.registry import Registries
from imagekit.platform import Platform
from imagekit.reference import Reference


def check_outputs(outputs: tuple[str, ...]) -> None:
    """Raise DefinitionError if one of *outputs* is none."""
    for output in outputs:
        kind, colon, path = output.partition(":")
        if output != "docker" and not (kind in ("oci", "tar") and colon and path):
            raise DefinitionError(
                f"unknown output {output!r}",
                hint="write oci:DIR, tar:FILE or docker",
            )


def existing(
    registries: Registries,
    references: tuple[Reference, ...],
    platforms: tuple[Platform, ...],
) -> Digest | None:
    """Return the digest of the image if the registry has it, tags included.

    The first reference names the content; the others are made to follow it.

    Raises:
        RegistryError: the registry can't tell, or a tag can't be written.
    """
    repository = registries.of(references[0]).direct()
    found = repository.get_manifest(references[0].target)
    if found is None:
        return None
    from imagekit.oci.select import suits  # noqa: PLC0415  (only if there is one)

    view = model.read_document(found.content, found.media_type)
    if isinstance(view, model.Index):
        offered = [item for item in view.manifests if item.platform is not None]
        for wanted in platforms:
            if not any(
                item.platform is not None and suits(item.platform, item.variant, wanted)
                for item in offered
            ):
                return None
    elif len(platforms) > 1:
        return None
    for reference in references[1:]:
        head = repository.head_manifest(reference.target)
        if head is None or head.digest != found.digest:
            repository.put_manifest(reference.target, found.content, found.media_type)
    return found.digest


def existing_outputs(
    outputs: tuple[str, ...], tags: tuple[str, ...], platforms: tuple[Platform, ...]
) -> Digest | None:
    """Return the digest of the image if every output is a layout that has it."""
    from imagekit.oci.layout import Layout  # noqa: PLC0415  (only for layouts)

    digests = set()
    for output in outputs:
        kind, _, path = output.partition(":")
        if kind != "oci":
            return None
        try:
            layout = Layout.open(path)
            found = {layout.resolve(tag) for tag in tags}
            view = model.read_document(layout.read(min(found, key=str)))
        except LayoutError:
            return None
        if isinstance(view, model.Index) != (len(platforms) > 1):
            return None
        digests |= {descriptor.digest for descriptor in found}
    return digests.pop() if len(digests) == 1 else None
