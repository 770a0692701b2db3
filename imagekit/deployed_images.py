"""The images that deployed tasks run in: those of their environments, and the code.

An environment's own image is built and pushed as ever. What runs tasks and their code
are put on top of it in the registry: the layers below are named, and never fetched.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from imagekit.building import (
    BuildOptions,
    BuildResult,
    adapt,
    build_image,
    make_registries,
)
from imagekit.canonical import fingerprint
from imagekit.code_layers import IMAGE_NAME, code_layers, code_places, not_built
from imagekit.environment_images import image_of
from imagekit.errors import ImageKitError
from imagekit.image import Image
from imagekit.layers import CodeBundle, ImageBase
from imagekit.naming import content_id, is_existing, repository_name
from imagekit.origin import caller
from imagekit.progress import Note, Progress, TaskAdvanced, silent
from imagekit.records import dataclass, field, replace
from imagekit.reference import Reference
from imagekit.settings import Settings
from imagekit.task_errors import InitializationError

if TYPE_CHECKING:
    from imagekit.bundle import Bundle
    from imagekit.cluster.documents import ImageDocument
    from imagekit.environment import Environment
    from imagekit.progress import Event
    from imagekit.sources import Tree

#: How a reference says that the image is in the local engine.
_ENGINE = "docker-daemon:"
#: Hex digits of the tag of an image with code.
_TAG = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedImage:
    """An image with the code in it.

    Attributes:
        reference: its name and digest; with a tag in place of the digest where nothing
            was asked or made.
        results: what was built for it.
    """

    reference: str
    results: tuple[BuildResult, ...] = field(default=(), compare=False)

    @property
    def uploaded(self) -> int:
        """Bytes that were sent to the registry, without manifests."""
        return sum(result.uploaded for result in self.results)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDeployer:
    """Has images with code in the registry.

    Attributes:
        bundle: the code.
        runtime: what runs it.
    """

    bundle: Bundle
    runtime: Tree
    settings: Settings
    progress: Progress = silent

    def check(self, environments: Iterable[Environment]) -> None:
        """Check that all images have a registry to go to.

        Raises:
            InitializationError: one has none.
        """
        for item in environments:
            if not (image_of(item).registry or self.settings.registry):
                raise InitializationError(
                    f"no registry is known for the image of environment {item.name!r}",
                    hint="set 'registry' in imagekit.toml, IMAGEKIT_REGISTRY, or "
                    "Image(registry=...); the cluster pulls images from there",
                    origin=str(item.origin),
                )

    def named(self, environments: Iterable[Environment]) -> dict[str, DeployedImage]:
        """Return what the images would be called, by environment; touch nothing.

        Raises:
            ImageKitError: no image can be called what one is.
        """
        found: dict[Image, DeployedImage] = {}
        names = {}
        for item in environments:
            image = image_of(item)
            if image not in found:
                _check_reference(image, item)
                wanted = self._wanted(image)
                name = repository_name(wanted, self.settings)
                reference = f"{name}:{self._tag(wanted)}"
                found[image] = DeployedImage(reference=reference)
            names[item.name] = found[image]
        return names

    def deploy(self, environments: Iterable[Environment]) -> dict[str, DeployedImage]:
        """Return the images by environment; each is built and pushed at most once.

        Raises:
            ImageBuildError: one can't be built, pushed or found.
        """
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  (slow)

        # Here, where the user's code is in sight for errors.
        layers = code_layers(self.bundle, self.runtime)
        first: dict[Image, Environment] = {}
        images = {item.name: image_of(item) for item in environments}
        for item in environments:
            first.setdefault(images[item.name], item)
        with ThreadPoolExecutor(max_workers=max(1, len(first))) as pool:
            futures = {
                image: pool.submit(self._deployed, image, item, layers, len(first) > 1)
                for image, item in first.items()
            }
        return {name: futures[image].result() for name, image in images.items()}

    def document(self, environment: Environment, image: DeployedImage) -> ImageDocument:
        """Return what pods have to know of the image of *environment*."""
        from imagekit.cluster.documents import ImageDocument  # noqa: PLC0415

        own = image_of(environment)
        places = code_places(own, self.bundle)
        return ImageDocument(
            reference=image.reference,
            identity=image_identity(own),
            python=places.python,
            runtime=places.runtime,
            code=places.code,
            paths=places.paths,
            workdir=places.workdir,
        )

    def _deployed(
        self,
        image: Image,
        environment: Environment,
        layers: tuple[CodeBundle, ...],
        several: bool,
    ) -> DeployedImage:
        progress = _Prefixed(environment.name, self.progress) if several else None
        try:
            return self._pushed(self._wanted(image), layers, progress or self.progress)
        except ImageKitError as error:
            raise not_built(environment, error) from error

    def _wanted(self, image: Image) -> Image:
        """Return *image* as the settings have it, with a name."""
        named = image if image.name else image.clone(name=IMAGE_NAME)
        return adapt(named, BuildOptions(), self.settings)

    def _pushed(
        self, image: Image, layers: tuple[CodeBundle, ...], progress: Progress
    ) -> DeployedImage:
        below = self._below(image, progress)
        base = image if below is None else _based(image, below[0])
        done = self._build(
            base.with_layers(*layers),
            progress,
            # An image of the engine is known by a name that may have moved.
            BuildOptions(
                builder="embedded",
                tag=self._tag(image),
                push=True,
                force=below is None and _is_in_engine(image),
            ),
        )
        name = repository_name(image, self.settings)
        results = (done,) if below is None or below[1] is None else (below[1], done)
        return DeployedImage(reference=f"{name}@{done.digest}", results=results)

    def _below(
        self, image: Image, progress: Progress
    ) -> tuple[str, BuildResult | None] | None:
        """Return the reference of what the code goes on top of, by digest.

        None stands for an image that is in no registry yet: all of it is pushed with
        the code.
        """
        if not is_existing(image):
            built = self._build(image, progress, BuildOptions(push=True))
            name = repository_name(image, self.settings)
            return f"{name}@{built.digest}", built
        if not isinstance(image.base, ImageBase) or _is_in_engine(image):
            return None
        return self._found(image.base, progress), None

    def _found(self, base: ImageBase, progress: Progress) -> str:
        from imagekit.resolve.base_source import open_base  # noqa: PLC0415
        from imagekit.store import Store  # noqa: PLC0415

        with make_registries(self.settings, progress) as registries:
            store = Store(self.settings.cache_dir)
            root = open_base(base, registries=registries, store=store).root
        reference = Reference.parse(base.reference)
        return str(reference.with_tag(None).with_digest(root.digest))

    def _build(
        self, image: Image, progress: Progress, options: BuildOptions
    ) -> BuildResult:
        return build_image(image, options, settings=self.settings, progress=progress)

    def _tag(self, image: Image) -> str:
        """Return a tag that says what is in an image with the code on top."""
        own = (
            (image.uri, *image.platform) if is_existing(image) else (content_id(image),)
        )
        parts = (own, self.runtime.digest, self.bundle.digest)
        return f"deployed-{fingerprint('deployed', parts)[:_TAG]}"


def image_identity(image: Image) -> str:
    """Return what names *image* and every byte of it, as far as its definition does."""
    return image.uri if is_existing(image) else content_id(image)


def _check_reference(image: Image, environment: Environment) -> None:
    base = image.base
    if isinstance(base, ImageBase) and not _is_in_engine(image):
        try:
            Reference.parse(base.reference)
        except ImageKitError as error:
            raise error.at(str(base.origin or environment.origin)) from None


def _based(image: Image, reference: str) -> Image:
    """Return *reference* as an image that is pushed where *image* is."""
    return Image.from_base_at(reference, image.base.origin or caller()).clone(
        registry=image.registry,
        name=image.name,
        platform=image.platform,  # type: ignore[arg-type]  # clone() checks it
    )


def _is_in_engine(image: Image) -> bool:
    base = image.base
    return isinstance(base, ImageBase) and base.reference.startswith(_ENGINE)


@dataclass(frozen=True, slots=True)
class _Prefixed:
    """Keeps apart the events of images that are built at the same time."""

    name: str
    progress: Progress

    def __call__(self, event: Event, /) -> None:
        if isinstance(event, Note):
            self.progress(event)
        elif isinstance(event, TaskAdvanced):
            self.progress(TaskAdvanced(f"{self.name}:{event.task}", event.amount))
        else:
            self.progress(replace(event, task=f"{self.name}:{event.task}"))
