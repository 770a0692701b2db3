"""The tasks of the user's file."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from imagekit.bundle import project_of
from imagekit.cli.definitions import load_module
from imagekit.errors import DefinitionError
from imagekit.initialization import configuration, init_from_config
from imagekit.loaded_modules import loaded_module
from imagekit.nearest import suggestion
from imagekit.records import replace
from imagekit.settings import load_settings
from imagekit.task import TaskTemplate
from imagekit.task_environment import TaskEnvironment

#: What to do where a file has no task.
NO_TASK = "define one with @env.task"


def load_task(file: str, name: str) -> TaskTemplate[..., Any]:
    """Return the task of *file* that *name* means.

    Raises:
        ImageKitError: the file can't be run, or has no such task, or several.
    """
    known = known_tasks(file)
    if name in known:
        return known[name]
    found = [task for task in known.values() if name in _names(task)]
    if len(found) > 1:
        preferred = load_settings().environment
        chosen = [task for task in found if task.environment.name == preferred]
        found = chosen or found
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(task.name for task in found)
        raise DefinitionError(
            f"several tasks in {file!r} are called {name!r}",
            hint=f"name one in full: {shown}; or set 'environment'",
        )
    short = [item for task in known.values() for item in _names(task)]
    raise DefinitionError(
        f"no task {name!r} in {file!r}",
        hint=suggestion(name, short) if short else NO_TASK,
    )


def known_tasks(file: str) -> dict[str, TaskTemplate[..., Any]]:
    """Return the tasks of *file* by full name; its project is the root of the code."""
    return {task.name: task for task in _tasks(load_project_module(file))}


def load_project_module(file: str) -> ModuleType:
    """Run *file*, and return it as a module; its project is the root of the code.

    Raises:
        ImageKitError: the file can't be run.
    """
    module = load_module(file)
    configured = configuration()
    place = loaded_module(module.__name__, module)
    if configured.root_dir is None and place is not None:
        root = project_of(Path(place.import_folder))
        init_from_config(replace(configured, root_dir=root))
    return module


def _tasks(module: Any) -> list[TaskTemplate[..., Any]]:
    found: list[TaskTemplate[..., Any]] = []
    for value in list(vars(module).values()):
        if isinstance(value, TaskTemplate):
            found.append(value)
        elif isinstance(value, TaskEnvironment):
            found += value.tasks.values()
    return found


def _names(task: TaskTemplate[..., Any]) -> tuple[str, str]:
    return task.name.rpartition(".")[2], task.short_name
