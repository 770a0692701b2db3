"""Builders by name: found through entry points, imported when they are used."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from imagekit.builder import Builder, BuilderContext
from imagekit.errors import BuilderUnavailableError, UnknownBuilderError

GROUP = "imagekit.builders"

#: What is built with where nothing else was asked for.
DEFAULT = "embedded"


def installed() -> tuple[str, ...]:
    """Return the names of the installed builders, sorted."""
    from importlib.metadata import entry_points  # noqa: PLC0415  (slow to import)

    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def load(name: str, context: BuilderContext) -> Builder:
    """Return the builder *name*, made for *context*.

    Raises:
        UnknownBuilderError: no such builder is installed.
        BuilderUnavailableError: it is, but can't be imported.
    """
    from importlib.metadata import entry_points  # noqa: PLC0415  (slow to import)

    wanted = DEFAULT if name == "auto" else name
    points = list(entry_points(group=GROUP, name=wanted))
    if not points:
        raise UnknownBuilderError(wanted, installed())
    try:
        factory = cast("Callable[[BuilderContext], Builder]", points[0].load())
    except ImportError as error:
        raise BuilderUnavailableError(
            f"builder {wanted!r} ({points[0].value}) can't be imported: {error}",
            hint="reinstall the distribution that it comes from",
        ) from error
    return factory(context)
