"""Laws of repetition: the same again, for several platforms, and side by side."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from imagekit.oci import model
from imagekit.oci.config import read_config
from imagekit.plan import CopyTree, Plan, Step
from imagekit.platform import Platform
from imagekit.testing.bench import Bench, Work
from imagekit.testing.file_laws import file_faults
from imagekit.testing.image_laws import image_faults, is_attestation
from imagekit.testing.law import NotApplicableError, law
from imagekit.testing.plans import EXECUTING, origin, settings_steps


@law("same-again")
def same_again(bench: Bench) -> Iterator[str]:
    """Building twice gives the same digest, from scratch and from a store."""
    first = bench.complete
    # Without a cache, an engine has to do again what it did the first time.
    scratch = bench.build(first.plan, execution=replace(bench.execution, no_cache=True))
    warm = bench.build(first.plan, first.context.store)
    for title, again in (("from scratch", scratch), ("from the same store", warm)):
        if again.built.digest != first.built.digest:
            yield f"{title}: wanted {first.built.digest}, found {again.built.digest}"
            yield from _where(first, again)


def _where(first: Work, again: Work) -> Iterator[str]:
    for one, other in zip(first.built.images, again.built.images, strict=False):
        if one.config != other.config:
            yield f"{one.platform}: the configs differ"
        layers = zip(first.manifest(one).layers, again.manifest(other).layers)  # noqa: B905  (what both have)
        for number, (lower, upper) in enumerate(layers):
            if lower.digest != upper.digest:
                yield f"{one.platform}: layer {number} differs"


@law("index")
def index(bench: Bench) -> Iterator[str]:
    """Two platforms give an index of their images in the plan's order."""
    platforms = list(bench.plans.bases)
    if len(platforms) == 1:
        raise NotApplicableError(f"there is a base for {platforms[0]} only")
    for order in (platforms, platforms[::-1]):
        work = bench.build(_for_all(bench, order))
        if work.built.index is None:
            yield "no index"
            continue
        view = model.read_index(work.built.index)
        images = [item for item in view.manifests if not is_attestation(item)]
        named = [item.platform for item in images]
        if named != order:
            yield (
                f"wanted an index for {', '.join(map(str, order))}, "
                f"found one for {', '.join(map(str, named))}"
            )
        told = [image.platform for image in work.built.images]
        if told != order:
            yield f"Built.images are for {', '.join(map(str, told))}"
        made = [image.manifest for image in work.built.images]
        if [item.digest for item in images] != made:
            yield "the index names other manifests than Built.images"
        for part, image in work.pairs():
            config = read_config(work.config(image))
            if config.platform != part.platform:
                yield f"the image for {part.platform} is one for {config.platform}"
        yield from image_faults(bench, work)
        faults = list(file_faults(bench, work))
        # What is wrong on the first platform too is for 'files' to tell.
        if not any(line.startswith(f"{platforms[0]}:") for line in faults):
            yield from faults


def _for_all(bench: Bench, platforms: list[Platform]) -> Plan:
    """Return a plan for *platforms*, on some of which nothing can be executed."""
    complete = bench.refuses >= EXECUTING
    parts: list[tuple[Platform, tuple[Step, ...]]] = []
    for platform in platforms:
        if complete:
            steps = bench.plans.complete(platform).platforms[0].steps
        else:
            tree = bench.plans.tree("home")
            copy = CopyTree(
                tree=tree, destination="/srv/home", label="x", origin=origin(16)
            )
            steps = bench.plans.of(*settings_steps(), copy).platforms[0].steps
        parts.append((platform, steps))
    return bench.plans.joined(parts)


@law("side-by-side")
def side_by_side(bench: Bench) -> Iterator[str]:
    """Two builds at once into one store are both whole and the same."""
    first = bench.complete
    store = bench.store()
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(bench.build, first.plan, store) for _ in range(2)]
        works = [future.result() for future in futures]
    for work in works:
        if work.built.digest != first.built.digest:
            yield f"wanted {first.built.digest}, found {work.built.digest}"
        yield from image_faults(bench, work)
    leftovers = sorted(path.name for path in store.temporary().iterdir())
    if leftovers:
        yield f"the builds left {', '.join(leftovers)} in the store's tmp"
