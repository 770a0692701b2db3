"""What images are called: repository, tag and URI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagekit.bases import base_reference
from imagekit.contents import Contents, read_contents
from imagekit.errors import DefinitionError
from imagekit.layers import DebianBase, DockerfileBase, ImageBase, LayoutBase, Runtime
from imagekit.reference import check_repository
from imagekit.settings import Settings, load_settings

if TYPE_CHECKING:
    from imagekit.image import Image


def content_id(image: Image) -> str:
    """Return the content id of *image*."""
    return read_contents(image).content_id


def image_uri(
    image: Image, *, settings: Settings | None = None, contents: Contents | None = None
) -> str:
    """Return where *image* is or will be."""
    if is_existing(image):
        assert not isinstance(image.base, DockerfileBase)
        return str(base_reference(image))
    contents = contents or read_contents(image)
    return f"{repository_name(image, settings)}:{tag(image, contents)}"


def is_existing(image: Image) -> bool:
    """Return whether *image* is a base and nothing else, so that nothing is built."""
    return isinstance(image.base, ImageBase | LayoutBase) and not image.layers


def repository_name(image: Image, settings: Settings | None = None) -> str:
    """Return ``registry/name``, or the name alone where no registry is known.

    Raises:
        InvalidReferenceError: no repository can have this name.
        DefinitionError: the image has no name.
    """
    settings = settings or load_settings()
    if image.name is None:
        raise DefinitionError(
            "the image has no name", hint="name it: image.clone(name='app')"
        )
    registry = image.registry or settings.registry
    prefix = f"{settings.name_prefix}" if settings.name_prefix else ""
    name = check_repository(f"{prefix}{image.name}")
    return f"{registry}/{name}" if registry else name


def tag(image: Image, contents: Contents) -> str:
    """Return the tag: the content id, after a speaking prefix for default images."""
    prefix = ""
    if isinstance(image.base, DebianBase) and contents.python:
        major, minor = contents.python
        if not image.layers:
            prefix = f"py{major}.{minor}-"
        elif len(image.layers) == 1 and isinstance(image.layers[0], Runtime):
            from imagekit import __version__  # noqa: PLC0415  (the package's own)

            version = image.layers[0].version or __version__
            prefix = f"py{major}.{minor}-v{version}-".replace("+", "-")
    return f"{prefix}{contents.content_id}"
