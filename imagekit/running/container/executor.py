"""Runs attempts in containers of the local engine."""

from __future__ import annotations

import json
import os
import secrets as random_names
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

from imagekit.oci.docker import Docker
from imagekit.records import replace
from imagekit.run_events import Json
from imagekit.running.attempt import Attempt, Placed, template_of
from imagekit.running.container.command import ContainerPlan
from imagekit.running.container.container import started_container
from imagekit.running.container.limits import check_device
from imagekit.running.container.pool import NeverFreeError, PoolLimits
from imagekit.running.container.pools import POOLS, PoolKey, Pools, engine_of
from imagekit.running.container.secrets import SecretGifts, secret_gifts
from imagekit.running.container.slots import Slots
from imagekit.running.container.task_image import TaskImage
from imagekit.running.container.worker import Worker
from imagekit.runtime.messages import PROTOCOL, Setup
from imagekit.task import TaskTemplate
from imagekit.task_errors import RuntimeSystemError
from imagekit.value_blobs import ValueBlobs

_TOKEN_BYTES = 8


class ContainerExecutor:
    """Runs each attempt in a container of its own, or in one that is reused.

    Args:
        images: gives the image of a task, which the engine has.
        blobs: the large parts of inputs and outputs.
        docker: reaches the engine; by default as the user's shell does.
        environ: where secrets are looked for.
        network: a network of the engine; None for its default.
        max_containers: how many containers are used at a time whose tasks don't wait
            for others, beside those that are reused; None for any number.
        pools: containers that are reused; by default those of this process.
    """

    def __init__(
        self,
        *,
        images: Callable[[TaskTemplate[..., Any]], TaskImage],
        blobs: ValueBlobs,
        docker: Docker | None = None,
        environ: Mapping[str, str] = os.environ,
        network: str | None = None,
        max_containers: int | None = None,
        pools: Pools = POOLS,
    ) -> None:
        self._images = images
        self._blobs = blobs
        self._docker = docker or Docker()
        self._environ = environ
        self._network = network
        self._slots = Slots(max_containers)
        self._pools = pools

    def check(self, attempt: Attempt) -> None:
        """Raise for secrets that are nowhere, and devices that the engine lacks.

        Raises:
            PlanError: a secret has no value.
            DefinitionError: a secret can't be where it is wanted.
            RuntimeSystemError: the engine has no such device, or does not answer.
        """
        self._gifts(attempt, code="")
        resources = attempt.settings.resources
        device = resources.get_device() if resources else None
        if device is not None:
            check_device(device, self._runtimes())

    async def execute(self, attempt: Attempt, placed: Placed) -> Json:
        """Run the task, and return its encoded output."""
        image = self._images(template_of(attempt.task))
        if attempt.settings.reusable is None:
            return await self._once(attempt, image, placed)
        try:
            return await self._reused(attempt, image, placed)
        except NeverFreeError:
            pass  # its callers have all places of the pool, and wait for it
        return await self._once(attempt, image, placed)

    def delay(self, attempt: Attempt) -> str | None:  # noqa: ARG002  (the contract's)
        """Return None: other tasks have what it waits for."""
        return None

    def close(self) -> None:
        """End the containers that are kept warm."""
        self._pools.close()

    async def _once(self, attempt: Attempt, image: TaskImage, placed: Placed) -> Json:
        async with self._slots.taken() as slot:
            container = self._start(attempt, image, token="")
            try:
                placed(container.image, container.name)
            except BaseException:
                container.kill()
                raise
            return await container.call(attempt, image.module, slot)

    async def _reused(self, attempt: Attempt, image: TaskImage, placed: Placed) -> Json:
        policy = attempt.settings.reusable
        assert policy is not None
        gifts = self._gifts(attempt, code=image.code)
        pool = self._pools.get(self._key(attempt, image, gifts), PoolLimits.of(policy))
        token = random_names.token_hex(_TOKEN_BYTES)
        action = attempt.context.action
        async with pool.lease(
            action, lambda: self._start(attempt, image, token=token)
        ) as got:
            placed(got.image, got.name)
            return await got.call(attempt, image.module)

    def _start(self, attempt: Attempt, image: TaskImage, *, token: str) -> Worker:
        settings = attempt.settings
        gifts = self._gifts(attempt, code=image.code)
        plan = ContainerPlan(
            image=image,
            resources=settings.resources,
            variables=settings.env_vars,
            folders=gifts.folders,
            network=self._network,
        )
        setup = Setup(
            protocol=PROTOCOL,
            module=image.module,
            code=image.code,
            paths=list(image.paths),
            variables=gifts.variables,
            files=gifts.files,
            token=token,
            concurrency=settings.reusable.concurrency if settings.reusable else 1,
        )
        return started_container(
            self._docker,
            plan,
            setup,
            action=attempt.context.action,
            blobs=self._blobs,
        )

    def _gifts(self, attempt: Attempt, *, code: str) -> SecretGifts:
        return secret_gifts(
            attempt.settings.secrets,
            code=code,
            environ=self._environ,
            origin=str(attempt.task.origin),
        )

    def _key(self, attempt: Attempt, image: TaskImage, gifts: SecretGifts) -> PoolKey:
        settings = attempt.settings
        values = (*gifts.variables.items(), *gifts.files.items())
        return PoolKey(
            environment=attempt.task.environment.name,
            engine=engine_of(self._docker),
            image=replace(image, module=""),
            rest=(
                self._network,
                str(self._blobs.folder),
                (settings.resources, settings.env_vars, settings.secrets, hash(values)),
            ),
        )

    def _runtimes(self) -> frozenset[str]:
        """Return the names of the engine's runtimes."""
        docker = self._docker
        try:
            done = subprocess.run(
                [docker.program, "info", "--format", "{{json .Runtimes}}"],
                env=docker.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            runtimes = json.loads(done.stdout or "null")
        except (OSError, ValueError) as error:
            raise _no_engine(str(error)) from error
        if done.returncode != 0 or not runtimes:
            raise _no_engine(done.stderr.strip())
        return frozenset(runtimes)


def _no_engine(why: str) -> RuntimeSystemError:
    return RuntimeSystemError(
        f"no Docker engine answers: {why}",
        hint="start Docker, or set DOCKER_HOST or the Docker context to one that runs",
    )
