"""Pods that are being deleted and do not go: their node does not answer.

The cluster keeps such a pod as ``Running`` until its node comes back, or is removed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from imagekit.run_events import Json
from imagekit.running.cluster.pod_endings import is_going

#: Seconds that a node has to tell that a pod has ended, after the pod's time to end.
_MARGIN = 60.0
#: Seconds that pods have for their end, where nothing else is said.
_GRACE = 30.0


class Departures:
    """Tells which pods should be gone for long.

    The time counts from when it was first seen that a pod is to end, as the clock of
    the cluster may be another one.

    Args:
        clock: counts seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends: dict[str, float] = {}

    def is_lost(self, pod: Json) -> bool:
        """Return whether nobody will say any more how *pod* ended."""
        metadata = pod["metadata"]
        if not is_going(pod):
            return False
        now = self._clock()
        grace = metadata.get("deletionGracePeriodSeconds")
        left = (_GRACE if grace is None else grace) + _MARGIN
        end = min(self._ends.get(metadata["uid"], now + left), now + left)
        self._ends[metadata["uid"]] = end
        return now >= end
