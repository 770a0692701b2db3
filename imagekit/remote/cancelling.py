"""Cancels runs: nothing of them runs any more, and they have an end that says so."""

from __future__ import annotations

import tempfile
import threading
import time

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.stopping import Stop
from imagekit.cluster.watching import Deleted, Listed, watch
from imagekit.remote.closing import close_run, delete_jobs
from imagekit.remote.known_run import CANCELLED, KnownRun
from imagekit.remote.parts import Reader
from imagekit.remote.story import Story
from imagekit.run_events import Json
from imagekit.running.cluster.departures import Departures
from imagekit.running.cluster.pod_endings import is_going, is_over
from imagekit.running.cluster.raw_data import raw_data
from imagekit.task_errors import RunAbortedError, RuntimeSystemError
from imagekit.value_blobs import ValueBlobs

#: Seconds between looks at pods that do not end.
_LOOK = 15.0
#: Seconds in which all pods have to be told to end, when their Jobs are deleted.
_BEGIN = 120.0


def cancel_run(cluster: Cluster, run: KnownRun) -> bool:
    """End a run, and wait until no pod of it runs; return whether that was needed.

    A run that is over stays as it is.

    Raises:
        RuntimeSystemError: it is cancelled, but nothing tells that its pods have ended.
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
        left = _wait_until_idle(cluster, name)
        story.catch_up(cluster)
        if story.result is None:
            error = RunAbortedError(f"the run {name!r} was cancelled")
            close_run(cluster, run, story, reader, error)
        if left:
            raise RuntimeSystemError(
                f"the run {name!r} was cancelled, but nothing tells that its pods "
                f"{', '.join(left)} have ended",
                hint="their nodes may not answer: see 'kubectl get pods -o wide'",
            )
        return True


def delete_jobs_that_run(cluster: Cluster, run: str) -> None:
    """Delete those Jobs of a run that is over which still go on."""
    for job in cluster.list("Job", names.selector(run=names.label_value(run))):
        if (job.get("status") or {}).get("active"):
            cluster.delete("Job", job["metadata"]["name"])


def _wait_until_idle(cluster: Cluster, run: str) -> list[str]:
    """Wait until no pod of a run runs; return the names of those that do not end."""
    selector = names.selector(run=names.label_value(run))
    departures, end = Departures(), time.monotonic() + _BEGIN
    while True:
        running = _running(cluster, selector)
        if not running and not _has_jobs(cluster, selector):
            return []
        is_late = time.monotonic() >= end
        if (running or is_late) and all(
            departures.is_lost(pod) or (is_late and not is_going(pod))
            for pod in running.values()
        ):
            return sorted(running)


def _running(cluster: Cluster, selector: str) -> dict[str, Json]:
    """Wait until no pod of a run runs, or for a while; return those that do.

    Jobs that come meanwhile are deleted.
    """
    running: dict[str, Json] = {}
    stop = Stop()
    timer = threading.Timer(_LOOK, stop.set)
    timer.daemon = True
    try:
        for event in watch(cluster.api, "Pod", selector, stop=stop):
            if isinstance(event, Listed):
                # A driver may have made one more Job before it was ended.
                cluster.delete_all("Job", selector)
                if timer.ident is None:
                    timer.start()
            elif isinstance(event, Deleted) or is_over(event.object):
                running.pop(event.object["metadata"]["name"], None)
            else:
                running[event.object["metadata"]["name"]] = event.object
                continue
            if not running and not _has_jobs(cluster, selector):
                break
    finally:
        timer.cancel()
    return running


def _has_jobs(cluster: Cluster, selector: str) -> bool:
    return any(True for _ in cluster.list("Job", selector, metadata=True))


def _nobody(_what: object) -> None:
    """Tell nobody."""
