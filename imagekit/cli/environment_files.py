"""The environments of the user's file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from imagekit.cli.task_files import load_project_module
from imagekit.environment import Environment
from imagekit.environment_images import check_names, with_dependencies
from imagekit.errors import DefinitionError
from imagekit.nearest import suggestion


def load_environments(
    file: str, names: tuple[str, ...] = ()
) -> tuple[Environment, ...]:
    """Return the environments of *file* that *names* mean.

    Without names these are all, but for those that another one of them depends on:
    they go along with it.

    Raises:
        ImageKitError: the file can't be run, or has no such environment, or two of one
            name.
    """
    module = load_project_module(file)
    found = {
        variable: value
        for variable, value in vars(module).items()
        if isinstance(value, Environment)
    }
    if not found:
        raise DefinitionError(
            f"{file!r} defines no environment",
            hint='assign one to a variable: env = TaskEnvironment("name")',
        )
    if names:
        wanted = {id(item): item for item in (_named(n, found, file) for n in names)}
        _check_names(wanted.values(), found.values())
        return tuple(wanted.values())
    below = {
        id(other) for item in found.values() for other in with_dependencies([item])[1:]
    }
    roots = [item for item in found.values() if id(item) not in below]
    for item in found.values():
        # Of a circle, each is below another: one of them stands for it.
        if not any(item is other for other in with_dependencies(roots)):
            roots.append(item)
    return tuple({id(item): item for item in roots}.values())


def _check_names(wanted: Iterable[Environment], known: Iterable[Environment]) -> None:
    """Check that no other environment of the file is called like those of *wanted*.

    Tasks are looked up by name where they run, among all that the file defines.
    """
    names = {item.name for item in with_dependencies(wanted)}
    check_names(item for item in with_dependencies(known) if item.name in names)


def _named(name: str, found: Mapping[str, Environment], file: str) -> Environment:
    for item in found.values():
        if item.name == name:
            return item
    if name in found:
        return found[name]
    known = [item.name for item in found.values()]
    raise DefinitionError(
        f"no environment {name!r} in {file!r}", hint=suggestion(name, known)
    )
