"""What a cluster is told of environments and their tasks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from imagekit.bundle import module_of
from imagekit.cluster.documents import EnvironmentDocument, ImageDocument, TaskDocument
from imagekit.cluster.names import template_name
from imagekit.loaded_modules import LoadedModule
from imagekit.records import replace
from imagekit.task_cache import VersionParameters
from imagekit.task_environment import TaskEnvironment
from imagekit.task_errors import RuntimeDataValidationError

if TYPE_CHECKING:
    from imagekit.bundle import Bundle
    from imagekit.environment import Environment
    from imagekit.interface import Interface
    from imagekit.task import TaskTemplate
    from imagekit.task_settings import TaskSettings


def environment_document(
    environment: Environment, image: ImageDocument, bundle: Bundle
) -> EnvironmentDocument:
    """Return the description of *environment*, without a version.

    It is the same on every machine and in every checkout, and whether the code is run
    as a program or imported.

    Raises:
        ModuleLoadError: a task can't be loaded elsewhere.
        RuntimeDataValidationError: no task can have such a signature.
        DefinitionError: a cache has no version.
    """
    tasks = environment.tasks if isinstance(environment, TaskEnvironment) else {}
    return EnvironmentDocument(
        name=environment.name,
        version="",
        code=bundle.digest,
        image=image,
        tasks=tuple(_task_document(task, bundle) for task in tasks.values()),
        depends_on=tuple(item.name for item in environment.depends_on),
        description=environment.description or "",
    )


def with_version(document: EnvironmentDocument, version: str) -> EnvironmentDocument:
    """Return *document* as that of *version*."""
    tasks = tuple(
        replace(task, template=template_name(task.name, version))
        for task in document.tasks
    )
    return replace(document, version=version, tasks=tasks)


def _task_document(task: TaskTemplate[..., Any], bundle: Bundle) -> TaskDocument:
    from imagekit.values.class_names import common_name  # noqa: PLC0415  (slow)

    return TaskDocument(
        name=task.name,
        module=module_of(task.func, bundle.root),
        called=common_name(task.called),
        settings=_settings(task),
        interface=task.interface.describe(),
        defaults=_defaults(task.interface),
        is_async=task.is_async,
        template="",
        origin=_origin(task, bundle.root),
        docs=task.docs,
    )


def _settings(task: TaskTemplate[..., Any]) -> TaskSettings:
    parameters = VersionParameters(func=task.func, image=task.environment.image)
    return task.settings.with_cache_version(task.settings.cache.get_version(parameters))


def _defaults(interface: Interface) -> dict[str, Any]:
    """Return the inputs that may be left out, encoded.

    A default that can't be encoded is none elsewhere: the input has to be given.
    """
    from imagekit.interface import MISSING  # noqa: PLC0415  (reads types)
    from imagekit.values import encode  # noqa: PLC0415  (likewise)

    found = {}
    for item in interface.parameters:
        if item.default is MISSING:
            continue
        try:
            found[item.name] = encode(item.default, item.annotation, None)
        except RuntimeDataValidationError:
            continue
    return found


def _origin(task: TaskTemplate[..., Any], root: str) -> str:
    """Return ``file:line``, with the file as the bundle has it."""
    file = os.path.abspath(task.origin.file)
    inside = LoadedModule(name="", file=file).below(root)
    return f"{inside or os.path.basename(file)}:{task.origin.line}"
