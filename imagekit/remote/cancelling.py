"""Cancels runs: nothing of them runs any more, and they have an end that says so."""

from __future__ import annotations

import tempfile
import time

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.stopping import Stop
from imagekit.cluster.watching import Deleted, Listed, watch
from imagekit.remote.closing import close_run, delete_jobs
from imagekit.remote.known_run import CANCELLED, KnownRun
from imagekit.remote.parts import Reader
from imagekit.remote.story import Story
from imagekit.running.cluster.pod_endings import is_over
from imagekit.running.cluster.raw_data import raw_data
from imagekit.task_errors import RunAbortedError
from imagekit.value_blobs import ValueBlobs


def cancel_run(cluster: Cluster, run: KnownRun) -> bool:
    """End a run, and wait until no pod of it runs; return whether that was needed.

    A run that is over stays as it is.

    Raises:
        ClusterError: the cluster refuses, or can't be reached.
    """
    name = run.document.name
    with tempfile.TemporaryDirectory(prefix="imagekit-") as folder:
        reader = Reader(
            blobs=ValueBlobs(folder), store=raw_data(run.document.raw_data_path)
        )
        story = Story(name, reader, tell=_nobody, note=_nobody)
        story.catch_up(cluster)
        if story.result is not None:
            delete_jobs_that_run(cluster, name)
            return False
        mark = {"metadata": {"annotations": {CANCELLED: f"{time.time():.3f}"}}}
        cluster.patch("ConfigMap", names.run_name(name), mark)
        delete_jobs(cluster, name)
        _wait_until_idle(cluster, name)
        story.catch_up(cluster)
        if story.result is None:
            error = RunAbortedError(f"the run {name!r} was cancelled")
            close_run(cluster, run, story, reader, error)
        return True


def delete_jobs_that_run(cluster: Cluster, run: str) -> None:
    """Delete those Jobs of a run that is over which still go on."""
    for job in cluster.list("Job", names.selector(run=names.label_value(run))):
        if (job.get("status") or {}).get("active"):
            cluster.delete("Job", job["metadata"]["name"])


def _wait_until_idle(cluster: Cluster, run: str) -> None:
    """Wait until no pod of a run runs; Jobs that come meanwhile are deleted."""
    selector = names.selector(run=names.label_value(run))
    running: set[str] = set()
    stop = Stop()
    for event in watch(cluster.api, "Pod", selector, stop=stop):
        if isinstance(event, Listed):
            # A driver may have made one more Job before it was ended.
            cluster.delete_all("Job", selector)
        elif isinstance(event, Deleted) or is_over(event.object):
            running.discard(event.object["metadata"]["name"])
        else:
            running.add(event.object["metadata"]["name"])
            continue
        if not running and not list(cluster.list("Job", selector, metadata=True)):
            return


def _nobody(_what: object) -> None:
    """Tell nobody."""
