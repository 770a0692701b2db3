"""What a deployment of environments consists of, worked out without touching anything.

The version names all of it: the code, the images, and how each task runs. It is the
same on every machine, in every checkout, and for every run of Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from imagekit.canonical import fingerprint
from imagekit.environment import Environment
from imagekit.environment_images import (
    check_names,
    checked_environments,
    image_of,
    with_dependencies,
)
from imagekit.naming import content_id, is_existing
from imagekit.records import dataclass
from imagekit.task_cache import VersionParameters
from imagekit.task_environment import TaskEnvironment

if TYPE_CHECKING:
    from imagekit.bundle import Bundle
    from imagekit.task import TaskTemplate


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One environment, with all that it depends on, and what they would be.

    Attributes:
        envs: environments by name, the one that was asked for first.
        images: environment to what names its image and every byte of it.
        tasks: full names of the tasks.
        version: the version of all of it.
        dryrun: whether it was only worked out.
    """

    envs: Mapping[str, Environment]
    images: Mapping[str, str]
    tasks: tuple[str, ...]
    version: str
    dryrun: bool

    def summary_repr(self) -> str:
        """Return it as a line for people."""
        names = ", ".join(self.envs)
        return f"{names}: {len(self.tasks)} tasks, version {self.version}"


def plan_deployments(
    environments: Iterable[Environment],
    *,
    bundle: Bundle,
    version: str | None,
    dryrun: bool,
) -> list[Deployment]:
    """Return a deployment for each of *environments*.

    Args:
        environments: those that were asked for.
        bundle: the code.
        version: the version, in place of what would be computed.
        dryrun: whether they are only worked out.

    Raises:
        DeploymentError: two environments of one name, or a task that can't be deployed.
        PlanError: a file that an image needs is not there.
    """
    roots = checked_environments(environments)
    every = with_dependencies(roots)
    check_names(every)
    images = {item.name: _image_name(item) for item in every}
    return [
        _deployment([*with_dependencies([root])], images, bundle, version, dryrun)
        for root in roots
    ]


def _deployment(
    environments: list[Environment],
    images: Mapping[str, str],
    bundle: Bundle,
    version: str | None,
    dryrun: bool,
) -> Deployment:
    own = {item.name: images[item.name] for item in environments}
    tasks = {
        task.name: task
        for item in environments
        if isinstance(item, TaskEnvironment)
        for task in item.tasks.values()
    }
    if version is None:
        described = tuple(
            (name, _described(task)) for name, task in sorted(tasks.items())
        )
        parts = (bundle.digest, tuple(sorted(own.items())), described)
        version = fingerprint("deployment", parts)[:40]
    return Deployment(
        envs={item.name: item for item in environments},
        images=own,
        tasks=tuple(tasks),
        version=version,
        dryrun=dryrun,
    )


def _described(task: TaskTemplate[..., Any]) -> str:
    """Return all of how *task* runs, as a text that is equal for equal tasks."""
    import json  # noqa: PLC0415  (only to deploy)

    parameters = VersionParameters(func=task.func, image=task.environment.image)
    settings = task.settings.with_cache_version(
        task.settings.cache.get_version(parameters)
    )
    document = {"settings": settings.to_json(), "inputs": task.interface.describe()}
    return json.dumps(document, sort_keys=True)


def _image_name(environment: Environment) -> str:
    image = image_of(environment)
    return image.uri if is_existing(image) else content_id(image)
