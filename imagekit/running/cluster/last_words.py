"""What a pod that ended has printed last."""

from __future__ import annotations

from imagekit.cluster.api import Cluster
from imagekit.cluster.api_errors import ClusterError
from imagekit.cluster.kinds import path_of
from imagekit.run_events import Json
from imagekit.running.cluster.pod_endings import container_to_ask

_LINES = "12"
#: The most that is kept: it becomes part of an error.
_MOST = 1 << 13
#: Seconds that it may take.
_TIMEOUT = 10


def last_words(cluster: Cluster, pod: Json) -> str | None:
    """Return the last lines that *pod* has printed; None if they can't be read.

    They are those of the container that says why it ended.
    """
    path = path_of("Pod", cluster.namespace, pod["metadata"]["name"], "log")
    query = {"container": container_to_ask(pod), "tailLines": _LINES}
    try:
        with cluster.api.stream(path, query=query, timeout=_TIMEOUT) as chunks:
            return b"".join(chunks)[-_MOST:].decode(errors="replace")
    except ClusterError:
        return None  # the error that it is for says the rest
