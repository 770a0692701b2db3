"""The images that tasks run in: those of their environments, and the code on top."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from imagekit.building import BuildOptions, adapt, build_image, prepare
from imagekit.bundle import module_of
from imagekit.code_layers import IMAGE_NAME, code_layers, code_places, not_built
from imagekit.environment_images import image_of
from imagekit.errors import ImageKitError
from imagekit.image import Image
from imagekit.layers import DockerfileBase
from imagekit.platform import Platform
from imagekit.progress import Progress, silent
from imagekit.running.container.pools import POOLS
from imagekit.running.container.task_image import TaskImage
from imagekit.settings import Settings

if TYPE_CHECKING:
    from imagekit.bundle import Bundle
    from imagekit.task import TaskTemplate


class TaskImages:
    """Builds each image once, also if several tasks want it at the same time.

    Args:
        bundle: the code that goes on top.
        is_warm: tells whether a container of an image waits for calls. They are used
            again whatever has become of the image's base, so nothing has to be asked
            about it.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        settings: Settings,
        progress: Progress = silent,
        is_warm: Callable[[str], bool] = POOLS.have,
    ) -> None:
        self._bundle = bundle
        self._settings = settings
        self._progress = progress
        self._is_warm = is_warm
        self._lock = threading.Lock()
        self._built: dict[Image, Future[str]] = {}
        self._options = BuildOptions(
            outputs=("docker",), push=False, platforms=(str(Platform.host()),)
        )

    def of(self, task: TaskTemplate[..., Any]) -> TaskImage:
        """Return the image that *task* runs in, in the local engine.

        Raises:
            ImageBuildError: it can't be built.
        """
        image = image_of(task.environment)
        try:
            reference = self._reference(image)
        except ImageKitError as error:
            raise not_built(task.environment, error) from error
        places = code_places(image, self._bundle)
        return TaskImage(
            reference=reference,
            python=places.python,
            runtime=places.runtime,
            code=places.code,
            paths=places.paths,
            module=module_of(task.func, self._bundle.root),
            workdir=places.workdir,
        )

    def _reference(self, image: Image) -> str:
        with self._lock:
            future = self._built.get(image)
            if future is None:
                future = self._built[image] = Future()
                mine = True
            else:
                mine = False
        if mine:
            try:
                future.set_result(self._build(image))
            except BaseException as error:  # noqa: BLE001  (all who wait get it)
                future.set_exception(error)
        return future.result()

    def _build(self, image: Image) -> str:
        if not isinstance(image.base, DockerfileBase):
            return self._into_engine(self._with_code(image))
        # Nothing can be put on top of a Dockerfile's image before it is there.
        image = image if image.name else image.clone(name=IMAGE_NAME)
        base = Image.from_base(f"docker-daemon:{self._uri(image)}")
        uri = self._uri(self._with_code(base))
        if self._is_warm(uri):
            return uri
        self._into_engine(image)
        return self._into_engine(self._with_code(base))

    def _with_code(self, image: Image) -> Image:
        if not image.name:
            image = image.clone(name=IMAGE_NAME)
        return image.with_layers(*code_layers(self._bundle))

    def _into_engine(self, image: Image) -> str:
        uri = self._uri(image)
        if self._is_warm(uri):
            return uri
        return str(
            build_image(
                image,
                self._options,
                settings=self._settings,
                progress=self._progress,
            )
        )

    def _uri(self, image: Image) -> str:
        """Return what *image* is called, which says all that is in it."""
        wanted = adapt(image, self._options, self._settings)
        return prepare(wanted, self._options, self._settings, silent).uri
