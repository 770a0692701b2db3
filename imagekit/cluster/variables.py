"""Environment variables of pods that imagekit sets, and how values get there as is."""

from __future__ import annotations

import re

from imagekit.task_errors import DeploymentError

#: Name of the call object that a pod is for.
CALL = "IMAGEKIT_CALL"
#: Name of the pool that a pod belongs to.
POOL = "IMAGEKIT_POOL"
#: Name of the pod itself.
POD_NAME = "IMAGEKIT_POD_NAME"
#: All of them; they mean nothing to tasks.
OWN = frozenset({CALL, POOL, POD_NAME})

#: What API servers before 1.30 take.
_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


def literal(text: str) -> str:
    r"""Return what Kubernetes makes *text* of.

    It expands ``$(NAME)`` and ``$$`` in variables, commands and arguments.
    """
    return text.replace("$", "$$")


def variable(name: str, value: str) -> dict[str, str]:
    """Return the variable *name*, whose value is just *value*, as manifests have it."""
    return {"name": name, "value": literal(value)}


def check_variable(name: str, origin: str | None) -> None:
    """Raise if a task's variable can't be called *name* in a pod.

    Raises:
        DeploymentError: Kubernetes refuses the name, or it is one of imagekit's.
    """
    if name in OWN:
        raise DeploymentError(
            f"the environment variable {name!r} is set by imagekit in pods",
            hint="give it another name",
            origin=origin,
        )
    if not _NAME.fullmatch(name):
        raise DeploymentError(
            f"wanted an environment variable that Kubernetes takes, found {name!r}",
            hint="its name may have letters, digits, '_', '-' and '.', and begins with "
            "no digit",
            origin=origin,
        )
