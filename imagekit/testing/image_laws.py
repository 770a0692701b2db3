"""Laws of images: documents, configs and where blobs are."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime

from imagekit.digest import Digest
from imagekit.errors import ImageKitError, LayoutError
from imagekit.oci import model
from imagekit.oci.closure import closure, verified
from imagekit.oci.config import read_config
from imagekit.oci.decompress import decompressed
from imagekit.oci.validate import check_image
from imagekit.plan import SetEnv
from imagekit.testing.bench import Bench, Work
from imagekit.testing.law import law
from imagekit.testing.oracle import (
    expected_environment,
    expected_runtime,
    expected_workdir,
)

#: What an index says of entries that are attestations, and no images.
_ATTESTATION = "vnd.docker.reference.type"


@law("builds")
def builds(bench: Bench) -> Iterator[str]:
    """The builder makes an image of a plan with every step that it takes."""
    if isinstance(bench.attempt, Exception):
        yield "".join(traceback.format_exception(bench.attempt))


@law("documents")
def documents(bench: Bench) -> Iterator[str]:
    """Index, manifests and configs are valid and agree with the layers."""
    work = bench.complete
    try:
        check_image(root(work), work.content)
    except LayoutError as error:
        yield from error.issues or (str(error),)
    except (ImageKitError, OSError) as error:
        yield str(error)


@law("built")
def built(bench: Bench) -> Iterator[str]:
    """Built says what its documents say, and all blobs are to be found."""
    work = bench.complete
    yield from _root_faults(work)
    for plan, image in work.pairs():
        place = str(plan.platform)
        if image.platform != plan.platform:
            yield f"wanted an image for {place}, found one for {image.platform}"
        content = work.context.store.read_blob(image.manifest)
        if len(content) != image.manifest_size:
            yield f"{place}: manifest_size is {image.manifest_size}, not {len(content)}"
        view = model.read_manifest(content)
        if (view.config.digest, view.config.size) != (image.config, image.config_size):
            yield f"{place}: another config than the manifest's"
        told = [(item.descriptor.digest, item.descriptor.size) for item in image.layers]
        if told != [(item.digest, item.size) for item in view.layers]:
            yield f"{place}: other layers than the manifest's"
        config = read_config(work.config(image))
        diff_ids = tuple(item.descriptor.diff_id for item in image.layers)
        if diff_ids != config.diff_ids:
            yield f"{place}: other diff_ids than the config's"
    yield from _missing(work)


def _root_faults(work: Work) -> Iterator[str]:
    index, images = work.built.index, work.built.images
    if len(images) != len(work.plan.platforms):
        yield f"wanted {len(work.plan.platforms)} images, found {len(images)}"
    if index is not None:
        if Digest.of(index) != work.built.digest:
            yield "the digest is not that of the index"
    elif len(images) > 1:
        yield "several images, and no index"
    elif images and images[0].manifest != work.built.digest:
        yield "the digest is not that of the only manifest"


def _missing(work: Work) -> Iterator[str]:
    roots = [root(work)]
    for item in work.built.intermediates:
        image = item.image
        roots.append(
            model.Descriptor(
                media_type=model.MANIFEST,
                digest=image.manifest,
                size=image.manifest_size,
            )
        )
    for start in roots:
        try:
            for blob in closure(start, work.content):
                for _ in verified(blob, work.content(blob)):
                    pass
        except (ImageKitError, OSError) as error:
            yield f"a blob can't be had: {error}"


@law("base-layers")
def base_layers(bench: Bench) -> Iterator[str]:
    """The layers of the base are the lowest, each with its own bytes."""
    work = bench.complete
    for plan, image in work.pairs():
        assert plan.base is not None
        wanted = [(item.digest, item.size) for item in plan.base.layers]
        layers = work.manifest(image).layers[: len(wanted)]
        found = [(item.digest, item.size) for item in layers]
        if found != wanted:
            yield f"{plan.platform}: wanted {wanted}, found {found}"


@law("environment")
def environment(bench: Bench) -> Iterator[str]:
    """Environment variables are exact, whatever is in their values."""
    bench.need(SetEnv)
    work = bench.complete
    for plan, image in work.pairs():
        wanted = expected_environment(plan)
        pairs = read_config(work.config(image)).env
        found = dict(pairs)
        if len(found) != len(pairs):
            yield f"a variable is there twice: {sorted(name for name, _ in pairs)}"
        for name in sorted({*wanted, *found}):
            if wanted.get(name) != found.get(name):
                yield (
                    f"{name}: wanted {_cut(wanted.get(name))}, "
                    f"found {_cut(found.get(name))}"
                )


@law("workdir")
def workdir(bench: Bench) -> Iterator[str]:
    """The working directory is the one that was set last, or the base's."""
    for work in (bench.complete, bench.build(bench.plans.of())):
        for plan, image in work.pairs():
            wanted = expected_workdir(plan)
            found = read_config(work.config(image)).workdir
            if found != wanted:
                yield f"wanted {wanted!r}, found {found!r}"


@law("config")
def config(bench: Bench) -> Iterator[str]:
    """User, entry point, labels and all else of the base's config are kept."""
    work = bench.complete
    for plan, image in work.pairs():
        wanted = expected_runtime(plan)
        document = json.loads(work.config(image))
        runtime = document.get("config") or {}
        found = {
            key: value
            for key, value in runtime.items()
            if key not in ("Env", "WorkingDir") and value not in (None, "", {}, [])
        }
        for key in sorted({*wanted, *found}):
            if wanted.get(key) != found.get(key):
                yield f"{key}: wanted {wanted.get(key)!r}, found {found.get(key)!r}"


@law("created")
def created(bench: Bench) -> Iterator[str]:
    """The plan's time stamp is the image's and that of every added file."""
    work = bench.complete
    wanted = datetime.fromtimestamp(work.plan.created, UTC)
    for image in work.built.images:
        said = json.loads(work.config(image)).get("created")
        found = datetime.fromisoformat(said) if isinstance(said, str) else None
        if found != wanted:
            yield f"the config says created {said!r}, not {wanted.isoformat()}"
    for _, entry in bench.added(work):
        if entry.mtime != work.plan.created:
            yield f"{entry.raw!r} has the time {entry.mtime:.0f}"


@law("nothing-to-do")
def nothing_to_do(bench: Bench) -> Iterator[str]:
    """A plan without steps gives an image with the base's layers only."""
    work = bench.build(bench.plans.of())
    for _, image in work.pairs():
        extra = bench.upper(work, image)
        if extra:
            yield f"{len(extra)} layers more than the base has"
    yield from image_faults(bench, work)


def image_faults(bench: Bench, work: Work) -> Iterator[str]:
    """Yield what is wrong with documents and layers, but for the layers of bases."""
    try:
        check_image(root(work), work.content, layers=False)
        for image in work.built.images:
            upper = bench.upper(work, image)
            diff_ids = read_config(work.config(image)).diff_ids
            for layer, wanted in zip(upper, diff_ids[-len(upper) :], strict=False):
                blob = verified(layer, work.content(layer))
                found = Digest.of_chunks(decompressed(blob, layer.media_type))
                if found != wanted:
                    yield f"{layer.digest}: wanted diff_id {wanted}, found {found}"
    except LayoutError as error:
        yield from error.issues or (str(error),)
    except (ImageKitError, OSError) as error:
        yield str(error)


def root(work: Work) -> model.Descriptor:
    """Return the descriptor of what was built."""
    if work.built.index is not None:
        return model.Descriptor.of(work.built.index, model.INDEX)
    image = work.built.images[0]
    return model.Descriptor(
        media_type=model.MANIFEST, digest=image.manifest, size=image.manifest_size
    )


def is_attestation(descriptor: model.Descriptor) -> bool:
    """Return whether an entry of an index is no image, but tells of one."""
    return descriptor.annotation(_ATTESTATION) is not None


_SHOWN = 120


def _cut(value: str | None) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
