"""Which layers a platform's image has on top of its base, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias, assert_never

from imagekit.base_paths import BASE_FOLDERS
from imagekit.errors import UnsupportedLayerError
from imagekit.plan import (
    AddLayers,
    BaseImage,
    BuildDockerfile,
    CopyTree,
    CreateVenv,
    Distribution,
    InstallAptPackages,
    InstallDistributions,
    LayerDescriptor,
    PlatformPlan,
    RegistrySource,
    RunCommands,
    SetEnv,
    SetWorkdir,
    Step,
)
from imagekit.records import dataclass, field
from imagekit.sources import Tree
from imagekit.store import Store
from imagekit_oci.budget import group
from imagekit_oci.tree_layer import tree_layer_key, write_tree_layer
from imagekit_oci.venv_layer import venv_layer_key, write_venv_layer
from imagekit_oci.wheel_layer_key import removal_layer_key, wheel_layer_key

WheelPath: TypeAlias = Callable[[Distribution], Path]

#: Container runtimes mount no more layers than this (mechanisms: overlayfs options).
MAX_LAYERS = 127


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerJob:
    """A layer that the image needs, and how it is made if nobody has it yet.

    Attributes:
        key: fingerprint of everything that decides its bytes.
        size: expected bytes, to begin with the biggest.
        distributions: the wheels that making it reads.
        given: the layer, where it was made elsewhere.
        source: where the blob of a given layer is, if the store lacks it.
        reused: whether a given layer was there before this build.
    """

    key: str
    title: str
    make: Callable[[WheelPath], LayerDescriptor]
    size: int = 0
    distributions: tuple[Distribution, ...] = ()
    step: Step = field(compare=False)
    given: LayerDescriptor | None = None
    source: RegistrySource | None = None
    reused: bool = True


def layer_jobs(plan: PlatformPlan, store: Store, mtime: int) -> tuple[LayerJob, ...]:
    """Return the layers of *plan* above its base, bottom first."""
    assert plan.base is not None
    parts = [_Part(steps, plan.base, store, mtime) for steps in _parts(plan.steps)]
    room = MAX_LAYERS - len(plan.base.layers) - sum(len(part.others) for part in parts)
    found: list[LayerJob] = []
    present: dict[str, Distribution] = {}
    for index, part in enumerate(parts):
        # What comes later needs a layer each at least.
        later = sum(bool(item.installs) for item in parts[index + 1 :])
        jobs = part.jobs(present, budget=room - later)
        room -= len(jobs) - len(part.others)
        found.extend(jobs)
        present = final_distributions(part.steps, present)
    return tuple(found)


def _parts(steps: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    """Yield *steps* in parts that can be reordered within: what ran ends a part."""
    part: list[Step] = []
    for step in steps:
        part.append(step)
        if isinstance(step, AddLayers):
            yield tuple(part)
            part = []
    yield tuple(part)


class _Part:
    """Steps between two that were executed."""

    def __init__(
        self, steps: tuple[Step, ...], base: BaseImage, store: Store, mtime: int
    ) -> None:
        self.steps = steps
        self.others: list[LayerJob] = []
        self.installs: list[InstallDistributions] = []
        self._made = (base, store, mtime)
        self._place = 0
        for step in steps:
            if isinstance(step, InstallDistributions):
                self._place = self._place if self.installs else len(self.others)
                self.installs.append(step)
            else:
                self.others.extend(_jobs(step, base, store, mtime))

    def jobs(
        self, present: Mapping[str, Distribution], *, budget: int
    ) -> tuple[LayerJob, ...]:
        """Return the layers, given what parts below have installed."""
        if not self.installs:
            return tuple(self.others)
        final = final_distributions(self.steps, present)
        added = [item for item in final.values() if present.get(item.name) != item]
        gone = [item for item in present.values() if final.get(item.name) != item]
        jobs: list[LayerJob] = []
        last = self.installs[-1]
        if gone:
            jobs.append(_removal_job(gone, final.values(), last, *self._made))
        groups = group(added, budget=budget - len(jobs))
        jobs += [_wheel_job(members, last, *self._made) for members in groups]
        return (*self.others[: self._place], *jobs, *self.others[self._place :])


def _jobs(
    step: Step, base: BaseImage, store: Store, mtime: int
) -> tuple[LayerJob, ...]:
    """Return the layers of a step other than an installation."""
    match step:
        case CreateVenv():
            return (_venv_job(step, base, store, mtime),)
        case CopyTree():
            return (_tree_job(step, base, store, mtime),)
        case SetWorkdir():
            known = step.path.strip("/") in BASE_FOLDERS or step.path == "/"
            return () if known else (_folder_job(step, base, store, mtime),)
        case SetEnv():
            return ()
        case AddLayers():
            return _given_jobs(step)
        case InstallDistributions():
            raise AssertionError("installations are layered together")
        case InstallAptPackages() | RunCommands() | BuildDockerfile():
            raise UnsupportedLayerError("a step that executes can't be a layer job")
        case _:
            assert_never(step)


def final_distributions(
    steps: tuple[Step, ...], before: Mapping[str, Distribution] = MappingProxyType({})
) -> dict[str, Distribution]:
    """Return what is installed in the end: no trace of what a later step replaces."""
    found = dict(before)
    for step in steps:
        if isinstance(step, InstallDistributions):
            for name in step.removed:
                found.pop(name, None)
            for item in step.distributions:
                found[item.name] = item
    return {name: found[name] for name in sorted(found)}


def _given_jobs(step: AddLayers) -> tuple[LayerJob, ...]:
    def make(_wheel: WheelPath) -> LayerDescriptor:
        raise AssertionError("a given layer is never made")

    return tuple(
        LayerJob(
            key=step.key,
            title=title,
            make=make,
            size=layer.size,
            step=step,
            given=layer,
            source=step.source,
            reused=step.reused,
        )
        for layer, title in zip(step.layers, step.titles, strict=True)
    )


def _removal_job(
    gone: Sequence[Distribution],
    kept: Iterable[Distribution],
    step: InstallDistributions,
    base: BaseImage,
    store: Store,
    mtime: int,
) -> LayerJob:
    stay = tuple(kept)

    def make(wheel: WheelPath) -> LayerDescriptor:
        from imagekit_oci.removal_layer import (  # noqa: PLC0415  (only to make one)
            write_removal_layer,
        )

        return write_removal_layer(
            store,
            [(wheel(item), item) for item in gone],
            [(wheel(item), item) for item in stay],
            interpreter=step.interpreter,
            prefix=step.prefix,
            mtime=mtime,
            links=base.links,
        )

    return LayerJob(
        key=removal_layer_key(
            gone,
            stay,
            interpreter=step.interpreter,
            prefix=step.prefix,
            mtime=mtime,
            links=base.links,
        ),
        title="without " + ", ".join(f"{item.name} {item.version}" for item in gone),
        make=make,
        distributions=(*gone, *stay),
        step=step,
    )


def _venv_job(step: CreateVenv, base: BaseImage, store: Store, mtime: int) -> LayerJob:
    def make(_wheel: WheelPath) -> LayerDescriptor:
        return write_venv_layer(
            store, step.interpreter, step.prefix, mtime=mtime, links=base.links
        )

    return LayerJob(
        key=venv_layer_key(
            step.interpreter, step.prefix, mtime=mtime, links=base.links
        ),
        title=f"virtual environment {step.prefix}",
        make=make,
        step=step,
    )


def _wheel_job(
    members: tuple[Distribution, ...],
    step: InstallDistributions,
    base: BaseImage,
    store: Store,
    mtime: int,
) -> LayerJob:
    def make(wheel: WheelPath) -> LayerDescriptor:
        from imagekit_oci.wheel_layer import (  # noqa: PLC0415  (only to make one)
            write_wheel_layer,
        )

        return write_wheel_layer(
            store,
            [(wheel(item), item) for item in members],
            interpreter=step.interpreter,
            prefix=step.prefix,
            mtime=mtime,
            links=base.links,
        )

    return LayerJob(
        key=wheel_layer_key(
            members,
            interpreter=step.interpreter,
            prefix=step.prefix,
            mtime=mtime,
            links=base.links,
        ),
        title=", ".join(f"{item.name} {item.version}" for item in members),
        make=make,
        size=sum(item.size or 0 for item in members),
        distributions=members,
        step=step,
    )


def _tree_job(step: CopyTree, base: BaseImage, store: Store, mtime: int) -> LayerJob:
    title = f"files in {step.destination}"
    return _Files(step.tree, step.destination, title).job(step, base, store, mtime)


def _folder_job(
    step: SetWorkdir, base: BaseImage, store: Store, mtime: int
) -> LayerJob:
    empty = Tree(entries=())
    return _Files(empty, step.path, f"folder {step.path}").job(step, base, store, mtime)


@dataclass(frozen=True, slots=True)
class _Files:
    """Files of a tree, and where they go."""

    tree: Tree
    destination: str
    title: str

    def job(self, step: Step, base: BaseImage, store: Store, mtime: int) -> LayerJob:
        links = base.links

        def make(_wheel: WheelPath) -> LayerDescriptor:
            return write_tree_layer(
                store, self.tree, self.destination, mtime=mtime, links=links
            )

        return LayerJob(
            key=tree_layer_key(self.tree, self.destination, mtime=mtime, links=links),
            title=self.title,
            make=make,
            size=self.tree.size,
            step=step,
        )
