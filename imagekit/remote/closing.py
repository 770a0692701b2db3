"""Gives a run an end that can't come to one by itself: cancelled, or never started."""

from __future__ import annotations

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.api_errors import AlreadyExistsError
from imagekit.cluster.documents import Json, ResultDocument
from imagekit.errors import ImageKitError
from imagekit.failures import encode_failure
from imagekit.remote.known_run import KnownRun
from imagekit.remote.parts import Reader
from imagekit.remote.story import Story
from imagekit.run_events import ROOT, Status
from imagekit.running.attempts import status_of
from imagekit.running.cluster.parcel_objects import parcel_object
from imagekit.runtime.messages import event_json
from imagekit.task_errors import RunAbortedError


def close_run(
    cluster: Cluster, run: KnownRun, story: Story, reader: Reader, error: ImageKitError
) -> Json:
    """Have the run end with *error*, unless it has a result by now; return its result.

    Its Job is deleted, with all pods and Jobs of the run that are left.

    Args:
        cluster: where it is.
        run: the run.
        story: all that has happened in it.
        reader: reads its objects.
        error: why it ends.
    """
    failure = encode_failure(error)
    call = cluster.find("ConfigMap", story.root)
    events = story.open.ending(
        run.document, call and reader.call(call), _status(error), failure
    )
    document = ResultDocument(
        output=None,
        error=failure,
        events=tuple(map(event_json, events)),
        journals=story.journals,
        pod="",
    )
    name = names.result_name(story.root)
    made = parcel_object(
        name,
        document.to_json(),
        kind=names.RESULT_KIND,
        labels={
            names.RUN: run.document.name,
            names.ACTION: ROOT,
            names.ATTEMPT: "0",
            names.TASK: run.document.task,
        },
        owner=run.object,
        blobs=reader.blobs,
        store=reader.store,
    )
    try:
        result = cluster.create(made)
    except AlreadyExistsError:
        # It came to an end at the last moment, or somebody else gave it this one.
        result = cluster.get("ConfigMap", name)
    delete_jobs(cluster, run.document.name)
    return result


def delete_jobs(cluster: Cluster, run: str) -> None:
    """Delete all Jobs of a run, that of its own task first: it makes the others."""
    cluster.delete("Job", names.call_name(run, ROOT, 0))
    cluster.delete_all("Job", names.selector(run=names.label_value(run)))


def _status(error: ImageKitError) -> Status:
    return "aborted" if isinstance(error, RunAbortedError) else status_of(error)
