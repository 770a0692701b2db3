"""The pools of this process, which runs share."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Hashable

from imagekit.running.container.pool import Pool, PoolLimits, wait_closed


class Pools:
    """Pools by what their containers are like. They are closed when Python ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pools: dict[Hashable, Pool] = {}

    def get(self, key: Hashable, limits: PoolLimits) -> Pool:
        """Return the pool of *key*, made if there is none."""
        with self._lock:
            if not self._pools:
                atexit.unregister(self.close)
                atexit.register(self.close)
            if (key, limits) not in self._pools:
                self._pools[key, limits] = Pool(limits)
            return self._pools[key, limits]

    def close(self) -> None:
        """End all containers, and wait until they have ended."""
        with self._lock:
            pools = list(self._pools.values())
            self._pools.clear()
        wait_closed([container for pool in pools for container in pool.close()])


#: Those of this process: two runs of one task share its containers.
POOLS = Pools()
