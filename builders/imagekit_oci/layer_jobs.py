"""Which layers a platform's image has on top of its base, in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, assert_never

from imagekit.errors import UnsupportedLayerError
from imagekit.plan import (
    BaseImage,
    BuildDockerfile,
    CopyTree,
    CreateVenv,
    Distribution,
    InstallAptPackages,
    InstallDistributions,
    LayerDescriptor,
    PlatformPlan,
    RunCommands,
    SetEnv,
    SetWorkdir,
    Step,
)
from imagekit.sources import Tree
from imagekit.store import Store
from imagekit_oci.budget import group
from imagekit_oci.paths import BASE_FOLDERS
from imagekit_oci.tree_layer import tree_layer_key, write_tree_layer
from imagekit_oci.venv_layer import venv_layer_key, write_venv_layer
from imagekit_oci.wheel_layer_key import wheel_layer_key

WheelPath: TypeAlias = Callable[[Distribution], Path]

#: Container runtimes mount no more layers than this (mechanisms: overlayfs options).
MAX_LAYERS = 127


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerJob:
    """A layer that the image needs, and how it is made if nobody has it yet.

    Attributes:
        key: fingerprint of everything that decides its bytes.
        size: expected bytes, to begin with the biggest.
    """

    key: str
    title: str
    make: Callable[[WheelPath], LayerDescriptor]
    size: int = 0
    distributions: tuple[Distribution, ...] = ()
    step: Step = field(compare=False)


def layer_jobs(plan: PlatformPlan, store: Store, mtime: int) -> tuple[LayerJob, ...]:
    """Return the layers of *plan* above its base, bottom first."""
    assert plan.base is not None
    others: list[LayerJob] = []
    installs: list[InstallDistributions] = []
    place = 0
    for step in plan.steps:
        if isinstance(step, InstallDistributions):
            place = place if installs else len(others)
            installs.append(step)
        else:
            job = _job(step, plan.base, store, mtime)
            others.extend([job] if job else [])
    if not installs:
        return tuple(others)
    room = MAX_LAYERS - len(plan.base.layers) - len(others)
    groups = group(final_distributions(plan.steps), budget=room)
    wheels = [
        _wheel_job(members, installs[-1], plan.base, store, mtime) for members in groups
    ]
    return (*others[:place], *wheels, *others[place:])


def _job(step: Step, base: BaseImage, store: Store, mtime: int) -> LayerJob | None:
    """Return the layer of a step other than an installation, if it has one."""
    match step:
        case CreateVenv():
            return _venv_job(step, base, store, mtime)
        case CopyTree():
            return _tree_job(step, base, store, mtime)
        case SetWorkdir():
            known = step.path.strip("/") in BASE_FOLDERS or step.path == "/"
            return None if known else _folder_job(step, base, store, mtime)
        case SetEnv():
            return None
        case InstallDistributions():
            raise AssertionError("installations are layered together")
        case InstallAptPackages() | RunCommands() | BuildDockerfile():
            raise UnsupportedLayerError("a step that executes can't be a layer job")
        case _:
            assert_never(step)


def final_distributions(steps: tuple[Step, ...]) -> tuple[Distribution, ...]:
    """Return what is installed in the end: no trace of what a later step replaces."""
    found: dict[str, Distribution] = {}
    for step in steps:
        if isinstance(step, InstallDistributions):
            for name in step.removed:
                found.pop(name, None)
            for item in step.distributions:
                found[item.name] = item
    return tuple(found[name] for name in sorted(found))


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
