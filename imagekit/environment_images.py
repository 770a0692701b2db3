"""The images of environments: as they are written, and as values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagekit.image import Image
from imagekit.task_errors import DeploymentError

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
    return Image.from_base_at(image, environment.origin)


def check_names(environments: Iterable[Environment]) -> None:
    """Check that a name means one environment.

    Raises:
        DeploymentError: two environments have one name.
    """
    names: dict[str, Environment] = {}
    for item in environments:
        other = names.setdefault(item.name, item)
        if other is not item:
            raise DeploymentError(
                f"two environments are called {item.name!r}: one is defined at "
                f"{other.origin}, the other at {item.origin}",
                hint="give one of them another name; a module that is imported under "
                "two names defines its environments twice",
            )


def checked_environments(environments: Iterable[object]) -> tuple[Environment, ...]:
    """Return *environments* if that is what they are.

    Raises:
        DeploymentError: one is something else.
    """
    from imagekit.environment import Environment  # noqa: PLC0415  (not for images alone)

    found = []
    for item in environments:
        if not isinstance(item, Environment):
            raise DeploymentError(
                f"wanted environments, found {item!r}",
                hint="give them one by one: (env, other)",
            )
        found.append(item)
    return tuple(found)


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
