"""Builders by name: found through entry points, imported when they are used."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, cast

from imagekit.builder import Builder, BuilderContext
from imagekit.canonical import fingerprint
from imagekit.errors import BuilderUnavailableError, UnknownBuilderError
from imagekit.store import Store

GROUP = "imagekit.builders"

#: The name that leaves the choice to imagekit (:mod:`imagekit.choice`).
AUTO = "auto"

#: Kind of the records of what is installed.
_RECORDS = "builders"
#: Folders that hold the metadata of a distribution.
_METADATA = (".dist-info", ".egg-info")


def installed() -> dict[str, str]:
    """Return the names of installed builders, sorted, and where their classes are."""
    from importlib.metadata import entry_points  # noqa: PLC0415  (slow to import)

    return dict(
        sorted((point.name, point.value) for point in entry_points(group=GROUP))
    )


def load(name: str, context: BuilderContext) -> Builder:
    """Return the builder *name*, made for *context*.

    Raises:
        UnknownBuilderError: no such builder is installed.
        BuilderUnavailableError: it is, but can't be imported.
    """
    value = _remembered(context.store).get(name) or installed().get(name)
    if value is None:
        raise UnknownBuilderError(name, tuple(installed()))
    module, _, attribute = value.partition(":")
    try:
        factory: Any = import_module(module)
        for part in attribute.split("."):
            factory = getattr(factory, part)
    except (ImportError, AttributeError) as error:
        raise BuilderUnavailableError(
            f"builder {name!r} ({value}) can't be imported: {error}",
            hint="reinstall the distribution that it comes from",
        ) from error
    return cast("Callable[[BuilderContext], Builder]", factory)(context)


def _remembered(store: Store) -> Mapping[str, str]:
    """Return what is installed, looked up anew where an installation has changed.

    Reading the metadata of all distributions takes longer than a build that has
    nothing to do; looking at their folders does not.
    """
    key = fingerprint("builders", tuple(map(_state, sys.path)))
    known = store.read_record(_RECORDS, key)
    if isinstance(known, dict):
        return known
    found = installed()
    store.write_record(_RECORDS, key, found)
    return found


def _state(path: str) -> tuple[object, ...]:
    """Return what changes when something is installed in *path*, and only then."""
    try:
        if os.path.isfile(path):
            return (path, os.stat(path).st_mtime_ns)
        with os.scandir(path or ".") as entries:
            found = [
                (entry.name, entry.stat().st_mtime_ns)
                for entry in entries
                if entry.name.endswith(_METADATA)
            ]
    except OSError:
        return (path,)
    return (path, *sorted(found))
