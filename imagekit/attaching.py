"""``remote_run()``: a run on a cluster by its name, whoever began it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagekit.cluster import names
from imagekit.initialization import configuration
from imagekit.remote.client import Client
from imagekit.remote.known_run import KnownRun, find_run
from imagekit.remote.local_record import begin_record
from imagekit.remote.parts import Reader
from imagekit.remote.remote_run import RemoteRun
from imagekit.run import Runner
from imagekit.run_events import ROOT
from imagekit.running.cluster.deployed import Deployed
from imagekit.running.cluster.raw_data import raw_data
from imagekit.running.cluster.root_history import has_begun
from imagekit.task_environment import find_task

if TYPE_CHECKING:
    from imagekit.cluster.documents import Json

_FILES = "files"


def remote_run(name: str, *, runner: Runner | None = None) -> RemoteRun:
    """Return the run of that name in the namespace of the settings.

    It is followed from its beginning when something is asked of it.

    Args:
        name: its name.
        runner: says what is shown of it; as :func:`imagekit.with_runcontext` makes it.

    Raises:
        RuntimeUserError: there is no such run.
        InitializationError: no cluster is set up.
        ClusterError: the cluster refuses, or can't be reached.
    """
    configured = configuration()
    client = Client.of(configured.settings(), configured, runner or Runner())
    return attached(client, find_run(client.cluster, name))


def attached(client: Client, run: KnownRun) -> RemoteRun:
    """Return a run that somebody has begun."""
    return RemoteRun(
        client.cluster,
        run,
        record=lambda: begin_record(client.records, run.document, is_new=False),
        follower=lambda record: client.follower(
            run, record, queued=_queued(client, run)
        ),
        decoded=lambda output, folder: _decoded(client, run, output, folder / _FILES),
        noted=lambda _error: None,
        place=client.records,
    )


def _queued(client: Client, run: KnownRun) -> float | None:
    """Return the seconds that the task may wait to run; None once it has begun to."""
    name = names.call_name(run.document.name, ROOT, 0)
    found = client.cluster.find("ConfigMap", name)
    if found is None or has_begun(found):
        return None
    store = raw_data(run.document.raw_data_path)
    call = Reader(blobs=client.blobs, store=store).call(found)
    return call.settings.timeout.queued_seconds if call.settings.timeout else None


def _decoded(client: Client, run: KnownRun, output: Json, files: Path) -> Any:
    """Return an output with the classes of this process, if they are the same."""
    task = Deployed(client.cluster, run.document).find(run.document.task).document
    here = find_task(task.name)
    if here is not None and here.interface.describe() == task.interface:
        return here.interface.decode_output(output, client.blobs, files=str(files))
    return client.readable(task, output, files)
