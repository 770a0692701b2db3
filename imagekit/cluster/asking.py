"""Has a cluster say what it would refuse, before anything is built for it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from imagekit.cluster.names import ENVIRONMENT, KIND, TASK, TEMPLATE_KIND, VERSION
from imagekit.cluster.primary_container import primary_container, with_primary
from imagekit.errors import ImageKitError

if TYPE_CHECKING:
    from imagekit.cluster.api import Cluster
    from imagekit.cluster.documents import Json

#: How many requests run at once.
_THREADS = 8
#: Labels of pods that Kubernetes takes for sure.
_OURS = frozenset({ENVIRONMENT, TASK, VERSION})


def ask_for(
    cluster: Cluster, objects: Iterable[Json], origins: Mapping[str, str]
) -> None:
    """Ask whether *cluster* would hold *objects*.

    Of pod templates that differ in nothing but the task, it is asked for one, and of
    the other objects, which are all alike, for the last one.

    Args:
        cluster: what is asked.
        objects: as they would be applied; images may be named in any way.
        origins: name of an object to where what it is for is defined.

    Raises:
        ClusterError: it would refuse one, or can't be reached.
    """
    asked: dict[str, Json] = {}
    for item in objects:
        if item["metadata"]["labels"][KIND] == TEMPLATE_KIND:
            asked.setdefault(_kind_of_pod(item["template"]), item)
        else:
            asked[""] = item
    with ThreadPoolExecutor(max_workers=min(_THREADS, len(asked))) as pool:
        answers = [(item, pool.submit(_ask, cluster, item)) for item in asked.values()]
    for item, answer in answers:
        try:
            answer.result()
        except ImageKitError as error:
            error.at(origins.get(item["metadata"]["name"]))
            raise


def _ask(cluster: Cluster, item: Json) -> None:
    cluster.apply(item, dry_run=True)


def _kind_of_pod(pod: Json) -> str:
    """Return what tells pods apart that Kubernetes may take and refuse."""
    container = {k: v for k, v in primary_container(pod).items() if k != "image"}
    labels = {k: v for k, v in pod["metadata"]["labels"].items() if k not in _OURS}
    found = with_primary(pod, container)
    return json.dumps(
        {**found, "metadata": {**pod["metadata"], "labels": labels}}, sort_keys=True
    )
