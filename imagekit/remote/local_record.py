"""The record on this machine of a run that is followed from here.

It holds nothing that the cluster does not, so it can be made again at any time.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from imagekit.cluster.documents import RunDocument
from imagekit.run_records import RUNS, RunRecord, RunRecords
from imagekit.task_errors import RuntimeUserError

MODE = "remote"


def begin_record(records: Path, run: RunDocument, *, is_new: bool) -> RunRecord:
    """Return the record of a run that is followed from its beginning.

    Args:
        records: the folder of records.
        run: the run.
        is_new: whether it is only now begun, so that no record may have its name.
            Else, a record of an earlier client is replaced; while another process
            writes one, this one gets a temporary folder.

    Raises:
        RuntimeUserError: there is a run of that name which is another one.
        RuntimeSystemError: the folder can't be written to.
    """
    found = RunRecords(records / RUNS)
    if is_new:
        return _created(found, run)
    _check_same(found, run)
    if found.discard(run.name):
        with suppress(RuntimeUserError):  # another process was faster
            return _created(found, run)
    aside = Path(tempfile.mkdtemp(prefix="imagekit-run-"))
    atexit.register(shutil.rmtree, aside, ignore_errors=True)
    return _created(RunRecords(aside / RUNS), run)


def _created(records: RunRecords, run: RunDocument) -> RunRecord:
    return records.create(
        run.name,
        task=run.task,
        mode=MODE,
        version=run.version,
        labels=run.labels,
        annotations=run.annotations,
        started=run.started,
    )


def _check_same(records: RunRecords, run: RunDocument) -> None:
    """Refuse to replace the record of a run that was not on a cluster."""
    if run.name not in records.names():
        return
    view = records.open(run.name)
    if view.mode != MODE:
        raise RuntimeUserError(
            f"there is a run named {run.name!r} already, in {str(records.folder)!r}, "
            f"which ran in mode {view.mode!r}",
            hint="remove its folder, or set 'record-dir' to another one",
        )
