"""The pools of this process, which runs share."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Hashable

from imagekit.oci.docker import Docker
from imagekit.records import dataclass
from imagekit.running.container.pool import Pool, PoolLimits, wait_closed
from imagekit.running.container.task_image import TaskImage

#: What tells the ``docker`` command which engine is meant.
_ENGINE = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolKey:
    """What containers have to have in common to be used for one another.

    Attributes:
        environment: name of the tasks' environment.
        engine: as :func:`engine_of` has it.
        image: without a module: a container can load several.
        rest: all else.
    """

    environment: str
    engine: Hashable
    image: TaskImage
    rest: Hashable


def engine_of(docker: Docker) -> Hashable:
    """Return what tells the engine that *docker* reaches now from others."""
    variables = os.environ if docker.environment is None else docker.environment
    return (docker.program, *(variables.get(name) for name in _ENGINE))


class Pools:
    """Pools by what their containers are like. They are closed when Python ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pools: dict[tuple[PoolKey, PoolLimits], Pool] = {}

    def get(self, key: PoolKey, limits: PoolLimits) -> Pool:
        """Return the pool of *key*, made if there is none."""
        with self._lock:
            if not self._pools:
                atexit.unregister(self.close)
                atexit.register(self.close)
            if (key, limits) not in self._pools:
                self._pools[key, limits] = Pool(limits)
            return self._pools[key, limits]

    def have(self, image: str) -> bool:
        """Return whether the user's engine runs a container of *image* here."""
        engine = engine_of(Docker())
        with self._lock:
            pools = [
                pool
                for (key, _), pool in self._pools.items()
                if key.image.reference == image and key.engine == engine
            ]
        return any(item.alive for pool in pools for item in pool.containers)

    def close(self) -> None:
        """End all containers, and wait until they have ended."""
        with self._lock:
            pools = list(self._pools.values())
            self._pools.clear()
        wait_closed([container for pool in pools for container in pool.close()])


#: Those of this process: two runs of one task share its containers.
POOLS = Pools()
