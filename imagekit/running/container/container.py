"""A container with a worker in it."""

from __future__ import annotations

from imagekit.context import ActionID
from imagekit.oci.docker import Docker
from imagekit.running.container.command import (
    ContainerPlan,
    container_name,
    run_arguments,
)
from imagekit.running.container.endings import error_of
from imagekit.running.container.process import DockerProcess
from imagekit.running.container.worker import Worker
from imagekit.runtime.log_marks import owner_of
from imagekit.runtime.messages import Setup
from imagekit.value_blobs import ValueBlobs


def started_container(
    docker: Docker,
    plan: ContainerPlan,
    setup: Setup,
    *,
    action: ActionID,
    blobs: ValueBlobs,
) -> Worker:
    """Return the worker in a container that is being started.

    Args:
        docker: reaches the engine.
        plan: what the container is like.
        setup: what the worker is for.
        action: the action that it is started for.
        blobs: the large parts of inputs and outputs.

    Raises:
        RuntimeSystemError: there is no ``docker`` command.
    """
    name, image = container_name(action), plan.image.reference
    return Worker(
        lambda printed: DockerProcess(
            docker, run_arguments(plan, name, action), name=name, printed=printed
        ),
        setup,
        action=owner_of(action),
        blobs=blobs,
        name=name,
        image=image,
        explain=lambda ending: error_of(ending, image=image, container=name),
    )
