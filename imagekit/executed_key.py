"""The content id of executed steps: everything that can have a say in what they make.

It is made from the plan alone, so that steps whose result is known cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, assert_never

from imagekit.canonical import fingerprint
from imagekit.plan import (
    AddLayers,
    BaseImage,
    BuildDockerfile,
    CopyTree,
    CreateVenv,
    InstallAptPackages,
    InstallDistributions,
    RunCommands,
    SetEnv,
    SetWorkdir,
    Step,
)

#: Version of how steps are executed. Another one makes all results anew.
_FORMAT = 1

Key: TypeAlias = tuple[object, ...]


def executed_key(
    base: BaseImage, before: Sequence[Step], steps: Sequence[Step], created: int
) -> str:
    """Return the content id of the image that has executed *steps* on top.

    Args:
        base: the base image.
        before: the steps before them, in which executed ones are layers.
        steps: the steps that execute, and settings between them.
        created: time stamp of their files, in seconds since the epoch.
    """
    key = (
        _FORMAT,
        str(base.platform),
        str(base.manifest),
        tuple(_step_key(step) for step in before),
        tuple(_step_key(step) for step in steps),
        created,
    )
    return f"ik1-{fingerprint('executed', key)}"


def _step_key(step: Step) -> Key:
    match step:
        case CreateVenv():
            return (
                "venv",
                step.interpreter.path,
                step.interpreter.version,
                step.prefix,
            )
        case InstallDistributions():
            wheels = tuple(
                (item.name, item.sha256, item.requested, item.direct_url)
                for item in step.distributions
            )
            return ("install", wheels, step.removed, step.prefix)
        case CopyTree():
            return ("copy", step.tree.digest, step.destination)
        case SetEnv():
            return ("env", step.variables)
        case SetWorkdir():
            return ("workdir", step.path)
        case InstallAptPackages():
            return ("apt", step.packages, step.secret_mounts)
        case RunCommands():
            return ("commands", step.commands, step.secret_mounts)
        case BuildDockerfile():
            return (
                "dockerfile",
                step.file,
                step.text,
                step.context.digest,
                step.build_args,
                step.target,
            )
        case AddLayers():
            # What decided the layers, not what they are: the steps may be executed
            # anew elsewhere, and everything above stays what it is.
            return ("executed", step.key)
        case _:
            assert_never(step)
