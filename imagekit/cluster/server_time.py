"""The time as the API server has it: clocks of machines differ."""

from __future__ import annotations

import os
import time
from datetime import datetime

from imagekit.cluster.api import Cluster
from imagekit.cluster.api_errors import ClusterError
from imagekit.cluster.documents import Json


def age_of(cluster: Cluster, found: Json) -> float:
    """Return the seconds since an object was made."""
    return max(0.0, _server_now(cluster) - _made(found))


def _server_now(cluster: Cluster) -> float:
    """Return the API server's time, or that of this machine if nobody can tell.

    The server writes its time into what it would make, and makes nothing.
    """
    name = f"ik-now-{os.urandom(8).hex()}"
    try:
        return _made(
            cluster.apply(
                {"kind": "ConfigMap", "metadata": {"name": name}}, dry_run=True
            )
        )
    except ClusterError:
        return time.time()


def _made(found: Json) -> float:
    return datetime.fromisoformat(found["metadata"]["creationTimestamp"]).timestamp()
