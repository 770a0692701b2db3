"""A person who may do no more in a namespace than the documented Role says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from machine.cluster import Cluster

from imagekit.cluster.role import client_rules, pod_rules

#: The account of pods.
ACCOUNT = "runner"


@contextmanager
def cluster_user(
    cluster: Cluster, registry: str, folder: Path
) -> Iterator[dict[str, str]]:
    """Make a namespace with the two Roles, and yield what the person has in the shell.

    ``NAMESPACE`` is among the variables, for tests that look behind the scenes.
    """
    with cluster.namespace() as namespace:
        cluster.service_account(namespace, ACCOUNT, pod_rules())
        kubeconfig = cluster.user(namespace, client_rules())
        yield {
            **os.environ,
            "NAMESPACE": namespace,
            "IMAGEKIT_KUBECONFIG": str(kubeconfig),
            "IMAGEKIT_SERVICE_ACCOUNT": ACCOUNT,
            "IMAGEKIT_REGISTRY": registry,
            "IMAGEKIT_REGISTRY_MIRRORS": f"docker.io={registry}",
            "IMAGEKIT_RECORD_DIR": str(folder / "records"),
            "IMAGEKIT_CACHE_DIR": str(folder / "cache"),
        }
