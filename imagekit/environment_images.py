"""The images of environments: as they are written, and as values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagekit.image import Image

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imagekit.environment import Environment


def image_of(environment: Environment) -> Image:
    """Return the image of *environment*.

    ``auto`` is the default image, a text the reference of an image that exists.

    Raises:
        DefinitionError: the text is no reference.
    """
    image = environment.image
    if isinstance(image, Image):
        return image
    if image == "auto":
        return Image.from_debian_base()
    return Image.from_base(image)


def with_dependencies(environments: Iterable[Environment]) -> tuple[Environment, ...]:
    """Return the environments and all that they depend on, each once, in order."""
    found: dict[int, Environment] = {}
    ahead = list(environments)[::-1]
    while ahead:
        environment = ahead.pop()
        if id(environment) in found:
            continue
        found[id(environment)] = environment
        ahead += reversed(list(environment.depends_on))
    return tuple(found.values())
