"""Where a builder is put to work: a folder with bases, wheels, sources and stores."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from imagekit.blobs import Blobs
from imagekit.builder import (
    Builder,
    BuilderContext,
    Built,
    BuiltImage,
    Execution,
)
from imagekit.digest import Digest
from imagekit.oci.closure import Content, chunks, verified
from imagekit.oci.decompress import decompressed
from imagekit.oci.layout import Layout
from imagekit.oci.model import Descriptor, Manifest, read_manifest
from imagekit.oci.registry import Registries
from imagekit.plan import (
    BaseImage,
    Distribution,
    InstallDistributions,
    Plan,
    PlatformPlan,
    RunCommands,
    Step,
)
from imagekit.platform import Platform
from imagekit.progress import Event
from imagekit.resolve.download import Wheels as WheelFiles
from imagekit.store import Store
from imagekit.testing.bases import dressed_layout, pinned_bases, tiny_layout
from imagekit.testing.files import FileTree, LayerEntry, read_entries
from imagekit.testing.law import NotApplicableError
from imagekit.testing.plans import Plans
from imagekit.testing.wheels import distribution_of, installer_wheel, make_wheels

_BASES: dict[tuple[Digest, ...], FileTree] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A plan, and what a builder made of it in a store."""

    plan: Plan
    built: Built
    context: BuilderContext
    events: list[Event] = field(default_factory=list)

    def content(self, descriptor: Descriptor) -> Content:
        """Return the bytes of a blob, from the store or where the base is."""
        return Blobs(self.plan, self.built, self.context).content(descriptor)

    def read(self, descriptor: Descriptor) -> bytes:
        """Return the verified bytes of a document."""
        return b"".join(verified(descriptor, self.content(descriptor)))

    def manifest(self, image: BuiltImage) -> Manifest:
        """Return the manifest of *image*."""
        store = self.context.store
        return read_manifest(store.read_blob(image.manifest))

    def config(self, image: BuiltImage) -> bytes:
        """Return the config of *image*, as its manifest names it."""
        return self.read(self.manifest(image).config)

    def pairs(self) -> list[tuple[PlatformPlan, BuiltImage]]:
        """Return the images beside the plans that they are of."""
        return list(zip(self.plan.platforms, self.built.images, strict=True))


class Bench:
    """What the laws look at. What takes long is made once, when it is asked for.

    Args:
        folder: where everything goes.
        factory: makes the builder.
        name: the name under which it is installed; None if that is not known.
        platforms: the platforms to build for, the first for most laws.
        refuses: kinds of steps that it is not meant to take.
        base: an OCI layout to build on; None for a tiny one.
        execution: how the builder executes.
    """

    def __init__(
        self,
        folder: Path,
        factory: Callable[[BuilderContext], Builder],
        *,
        name: str | None,
        platforms: tuple[Platform, ...],
        refuses: frozenset[type[Step]],
        base: Path | None,
        execution: Execution,
    ) -> None:
        self.folder = folder
        self.factory = factory
        self.name = name
        self.refuses = refuses
        self.execution = execution
        self._files: dict[str, Path] = {}
        source = base or tiny_layout(folder / "tiny", platforms)
        self.layout = dressed_layout(source, folder / "base", platforms)
        bases = pinned_bases(self.layout, platforms, Store(folder / "facts"))
        if not bases or next(iter(bases)) != platforms[0]:
            raise ValueError(f"the base {str(base)!r} has no image for {platforms[0]}")
        self.plans = Plans(
            folder=folder / "sources",
            bases=bases,
            wheels=make_wheels(folder / "wheels"),
            refuses=refuses,
            installer=self._installer(bases[platforms[0]]),
        )
        self._layers: dict[str, list[LayerEntry]] = {}
        self._stores = 0

    def _installer(self, base: BaseImage) -> Distribution | None:
        """Return this machine's uv, if *base* can execute it and may have to."""
        if self.refuses & {RunCommands, InstallDistributions}:
            return None
        if base.libc is None or base.libc.name != "glibc":
            return None
        path = installer_wheel(self.folder / "installer")
        found = distribution_of(path)
        self._files[found.sha256] = path
        return found

    def store(self) -> Store:
        """Return a new store, which has the wheels of the plans."""
        self._stores += 1
        store = Store(self.folder / "stores" / str(self._stores))
        for digest, path in (*self.plans.wheels.files.items(), *self._files.items()):
            target = store.wheel_path(digest, path.name)
            target.parent.mkdir(parents=True)
            target.hardlink_to(path)
        return store

    def context(
        self,
        store: Store,
        events: list[Event] | None = None,
        *,
        execution: Execution | None = None,
    ) -> BuilderContext:
        """Return what the builder is given."""
        taken = [] if events is None else events
        wanted = execution or self.execution
        return BuilderContext(
            store=store,
            registries=Registries(docker_config=self.folder / "no-logins"),
            wheels=WheelFiles(store, ca_bundle=wanted.ca_bundle),
            progress=taken.append,
            jobs=2,
            execution=wanted,
        )

    def build(
        self,
        plan: Plan,
        store: Store | None = None,
        *,
        execution: Execution | None = None,
    ) -> Work:
        """Let a new builder build *plan*, as imagekit does it."""
        events: list[Event] = []
        used = store or self.store()
        context = self.context(used, events, execution=execution)
        builder = self.factory(context)
        with used.in_use():
            builder.check(plan)
            built = builder.build(plan)
        return Work(plan=plan, built=built, context=context, events=events)

    @property
    def complete(self) -> Work:
        """The plan with every kind of step, built.

        Raises:
            NotApplicableError: it could not be built, which is a law of its own.
        """
        if isinstance(self.attempt, Exception):
            raise NotApplicableError("needs an image, and 'builds' is broken")
        return self.attempt

    @cached_property
    def attempt(self) -> Work | Exception:
        """The plan with every kind of step, built, or why that failed."""
        try:
            return self.build(self.plans.complete())
        except Exception as error:  # noqa: BLE001  (a builder may raise anything)
            return error

    def need(self, *kinds: type[Step]) -> None:
        """Give the law up if the builder refuses one of *kinds*.

        Raises:
            NotApplicableError: it does.
        """
        refused = [kind.__name__ for kind in kinds if kind in self.refuses]
        if refused:
            raise NotApplicableError(f"the builder takes no {' or '.join(refused)}")

    def entries(self, work: Work, layer: Descriptor) -> list[LayerEntry]:
        """Return the entries of a layer."""
        key = layer.digest.hex
        if key not in self._layers:
            blob = verified(layer, work.content(layer))
            found = read_entries(decompressed(blob, layer.media_type))
            self._layers[key] = list(found)
        return self._layers[key]

    def upper(self, work: Work, image: BuiltImage) -> tuple[Descriptor, ...]:
        """Return the layers of *image* above those of its base."""
        plan = next(p for p in work.plan.platforms if p.platform == image.platform)
        below = len(plan.base.layers) if plan.base else 0
        return work.manifest(image).layers[below:]

    def base_files(self, base: BaseImage) -> FileTree:
        """Return the files of a base: read once a process, and never changed."""
        key = tuple(layer.digest for layer in base.layers)
        if key not in _BASES:
            tree = FileTree()
            for layer in base.layers:
                path = Layout(self.layout).blob_path(layer.digest)
                content = decompressed(chunks(path), layer.media_type)
                tree.apply(read_entries(content, keep=False))
            _BASES[key] = tree
        return _BASES[key]

    def files(self, work: Work, image: BuiltImage) -> FileTree:
        """Return the files of an image, all of its layers on top of each other."""
        plan = next(p for p in work.plan.platforms if p.platform == image.platform)
        tree = self.base_files(plan.base).copy() if plan.base else FileTree()
        for layer in self.upper(work, image):
            tree.apply(self.entries(work, layer))
        return tree

    def added(self, work: Work) -> Iterable[tuple[Descriptor, LayerEntry]]:
        """Yield all entries of the layers above the bases."""
        for image in work.built.images:
            for layer in self.upper(work, image):
                for entry in self.entries(work, layer):
                    yield layer, entry
