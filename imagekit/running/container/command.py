"""The command that starts a container."""

from __future__ import annotations

import re
import secrets as random_names

from imagekit.context import ActionID
from imagekit.records import dataclass
from imagekit.resources import Resources
from imagekit.running.container.limits import limit_arguments
from imagekit.running.container.task_image import TaskImage

_ODD = re.compile(r"[^A-Za-z0-9_.-]+")
_RANDOM_BYTES = 4
#: PYTHONPATH is the user's: the path is set where only this program sees it.
_START = (
    "import sys; sys.path.insert(0, {runtime!r}); "
    "from imagekit.runtime.supervisor import main; main()"
)
#: A secret is a text; this is for many of them.
_SECRETS_SIZE = "16m"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPlan:
    """What a container is like; none of it is secret.

    Attributes:
        variables: environment variables.
        folders: folders that are kept in memory.
        network: a network of the engine; None for its default.
    """

    image: TaskImage
    resources: Resources | None = None
    variables: tuple[tuple[str, str], ...] = ()
    folders: tuple[str, ...] = ()
    network: str | None = None


def container_name(action: ActionID) -> str:
    """Return a name that no other container has."""
    run = _ODD.sub("-", action.run_name)
    unique = random_names.token_hex(_RANDOM_BYTES)
    return f"imagekit-{run}-{_ODD.sub('-', action.name)}-{unique}"


def run_arguments(plan: ContainerPlan, name: str, action: ActionID) -> list[str]:
    """Return the arguments of ``docker`` that run the worker in a container."""
    found = ["run", "--interactive", "--rm", "--name", name]
    found += ["--log-driver", "none", "--pull", "never"]
    found += ["--label", f"imagekit.run={action.run_name}"]
    found += ["--label", f"imagekit.action={action.name}"]
    found += limit_arguments(plan.resources)
    if plan.network is not None:
        found += ["--network", plan.network]
    for key, value in plan.variables:
        found += ["--env", f"{key}={value}"]
    for folder in plan.folders:
        found += ["--tmpfs", f"{folder}:rw,noexec,nosuid,nodev,size={_SECRETS_SIZE}"]
    if plan.image.workdir is not None:
        found += ["--workdir", plan.image.workdir]
    found += ["--entrypoint", plan.image.python, plan.image.reference]
    return [*found, *worker_arguments(plan.image.runtime)]


def worker_arguments(runtime: str) -> list[str]:
    """Return the arguments of Python that start a worker.

    Args:
        runtime: folder with imagekit; empty if Python finds one anyway.
    """
    # -P: the working directory may have modules that are named like the library's.
    if not runtime:
        return ["-P", "-m", "imagekit.runtime"]
    return ["-P", "-c", _START.format(runtime=runtime)]
