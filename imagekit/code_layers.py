"""The layers with imagekit and the code of tasks, which go on top of their images."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING, Any

from imagekit.code_in_image import paths_in_image
from imagekit.layers import CodeBundle, DockerfileBase, WorkDir
from imagekit.naming import is_existing
from imagekit.origin import caller
from imagekit.records import dataclass
from imagekit.runtime_files import runtime_tree
from imagekit.task_errors import ImageBuildError

if TYPE_CHECKING:
    from imagekit.bundle import Bundle
    from imagekit.environment import Environment
    from imagekit.errors import ImageKitError
    from imagekit.image import Image
    from imagekit.sources import Tree

#: Where the code of tasks, and what runs it, lie in images.
CODE = "/opt/imagekit/code"
RUNTIME = "/opt/imagekit/runtime"
#: Name of images that have none of their own.
IMAGE_NAME = "imagekit-task"
#: There in virtual environments and in Debian's own Python; "python" is not.
PYTHON = "python3"


@dataclass(frozen=True, slots=True, kw_only=True)
class CodePlaces:
    """Where programs find what is in an image with the layers on top.

    Attributes:
        python: the interpreter.
        runtime: folder with imagekit.
        code: folder with the code; empty if none was put there.
        paths: folders that modules are found in, beside *code*.
        workdir: where tasks run; None for what the image says.
    """

    python: str
    runtime: str
    code: str
    paths: tuple[str, ...]
    workdir: str | None


def code_layers(bundle: Bundle, runtime: Tree | None = None) -> tuple[CodeBundle, ...]:
    """Return the runtime, which seldom changes, and the code on top of it.

    Args:
        bundle: the code; without any, there is no layer of it.
        runtime: the runtime, where it was read already.
    """
    runtime, code = runtime or runtime_tree(), bundle.tree
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
                digest=code.digest, dst=CODE, label="code", tree=code, origin=origin
            )
        )
    return tuple(layers)


def code_places(image: Image, bundle: Bundle) -> CodePlaces:
    """Return where things are in *image* once the layers are on top of it."""
    has_code = bool(bundle.tree.entries)
    return CodePlaces(
        python=PYTHON,
        runtime=RUNTIME,
        code=CODE if has_code else "",
        paths=_paths(image, bundle),
        workdir=CODE if has_code and _has_no_workdir(image) else None,
    )


def not_built(environment: Environment, why: ImageKitError) -> ImageBuildError:
    """Return what says that the image of *environment* can't be built."""
    error = ImageBuildError(
        f"can't build the image of the environment {environment.name!r}: {why.message}",
        hint=why.hint,
        origin=why.origin or str(environment.origin),
    )
    # What a command printed before it failed, for those who see no causes.
    notes: Any = getattr(why, "__notes__", ())
    for note in notes:
        error.add_note(note)
    return error


def _paths(image: Image, bundle: Bundle) -> tuple[str, ...]:
    """Return the folders of the image in which modules are found as here."""
    if not bundle.tree.entries:
        folders = [os.path.join(bundle.root, path) for path in bundle.import_paths]
        return paths_in_image(image, folders)
    return tuple(posixpath.normpath(f"{CODE}/{path}") for path in bundle.import_paths)


def _has_no_workdir(image: Image) -> bool:
    """Return whether nobody has said where programs in *image* are to run."""
    if isinstance(image.base, DockerfileBase) or is_existing(image):
        return False
    return not any(isinstance(layer, WorkDir) for layer in image.layers)
