"""The images that tasks run in: those of their environments, and the code on top."""

from __future__ import annotations

import os
import posixpath
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from imagekit.building import BuildOptions, adapt, build_image, prepare
from imagekit.bundle import module_of
from imagekit.code_in_image import paths_in_image
from imagekit.environment_images import image_of
from imagekit.errors import ImageKitError
from imagekit.image import Image
from imagekit.layers import CodeBundle, DockerfileBase, WorkDir
from imagekit.naming import is_existing
from imagekit.origin import caller
from imagekit.platform import Platform
from imagekit.progress import Progress, silent
from imagekit.running.container.pools import POOLS
from imagekit.running.container.task_image import TaskImage
from imagekit.runtime_files import runtime_tree
from imagekit.settings import Settings
from imagekit.task_errors import ImageBuildError

if TYPE_CHECKING:
    from imagekit.bundle import Bundle
    from imagekit.task import TaskTemplate

#: Where the code of tasks, and what runs it, lie in containers.
CODE = "/opt/imagekit/code"
RUNTIME = "/opt/imagekit/runtime"
#: Name of images that have none of their own.
_NAME = "imagekit-task"
#: There in virtual environments and in Debian's own Python; "python" is not.
_PYTHON = "python3"


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
            raise _not_built(task, error) from error
        has_code = bool(self._bundle.tree.entries)
        return TaskImage(
            reference=reference,
            python=_PYTHON,
            runtime=RUNTIME,
            code=CODE if has_code else "",
            paths=self._paths(image),
            module=module_of(task.func, self._bundle.root),
            workdir=CODE if has_code and _has_no_workdir(image) else None,
        )

    def _paths(self, image: Image) -> tuple[str, ...]:
        """Return the folders of the image in which modules are found as here."""
        bundle = self._bundle
        if not bundle.tree.entries:
            folders = [os.path.join(bundle.root, path) for path in bundle.import_paths]
            return paths_in_image(image, folders)
        return tuple(
            posixpath.normpath(f"{CODE}/{path}") for path in bundle.import_paths
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
        image = image if image.name else image.clone(name=_NAME)
        base = Image.from_base(f"docker-daemon:{self._uri(image)}")
        uri = self._uri(self._with_code(base))
        if self._is_warm(uri):
            return uri
        self._into_engine(image)
        return self._into_engine(self._with_code(base))

    def _with_code(self, image: Image) -> Image:
        if not image.name:
            image = image.clone(name=_NAME)
        return image.with_layers(*self._layers())

    def _layers(self) -> tuple[CodeBundle, ...]:
        """Return the runtime, which seldom changes, and the code on top of it."""
        runtime, code = runtime_tree(), self._bundle.tree
        origin = caller()
        layers = [
            CodeBundle(
                digest=runtime.digest,
                dst=RUNTIME,
                label="imagekit",
                tree=runtime,
                origin=origin,
            )
        ]
        if code.entries:
            layers.append(
                CodeBundle(
                    digest=code.digest,
                    dst=CODE,
                    label="code",
                    tree=code,
                    origin=origin,
                )
            )
        return tuple(layers)

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


def _has_no_workdir(image: Image) -> bool:
    """Return whether nobody has said where programs in *image* are to run."""
    if isinstance(image.base, DockerfileBase) or is_existing(image):
        return False
    return not any(isinstance(layer, WorkDir) for layer in image.layers)


def _not_built(task: TaskTemplate[..., Any], why: ImageKitError) -> ImageBuildError:
    error = ImageBuildError(
        f"can't build the image of the environment {task.environment.name!r}: "
        f"{why.message}",
        hint=why.hint,
        origin=why.origin or str(task.environment.origin),
    )
    # What a command printed before it failed, for those who see no causes.
    for note in getattr(why, "__notes__", ()):
        error.add_note(note)
    return error
