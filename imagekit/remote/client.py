"""What a client needs to begin and to follow runs on a cluster."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagekit.cluster.client import client_cluster
from imagekit.progress import Note
from imagekit.records import dataclass, replace
from imagekit.remote.follower import Follower
from imagekit.remote.parts import Reader
from imagekit.running.cluster.raw_data import raw_data
from imagekit.running.streaming import StreamingRecorder
from imagekit.value_blobs import ValueBlobs
from imagekit.values import decode
from imagekit.values.described import annotation_of
from imagekit.values.misfit import UnsupportedError

if TYPE_CHECKING:
    from imagekit.cluster.api import Cluster
    from imagekit.cluster.documents import Json, TaskDocument
    from imagekit.initialization import Configuration
    from imagekit.remote.known_run import KnownRun
    from imagekit.run import Runner
    from imagekit.run_record import RunRecord
    from imagekit.settings import Settings

_BLOBS = "blobs"


def configured_for(runner: Runner, configuration: Configuration) -> Configuration:
    """Return *configuration* with the project and domain that *runner* names, if any.

    They say which namespace a run is in, with all that is deployed for it.
    """
    return replace(
        configuration,
        project=runner.project or configuration.project,
        domain=runner.domain or configuration.domain,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A way into a cluster, and the place on this machine for what comes from there.

    Attributes:
        runner: what the user wants.
        blobs: large parts of inputs and outputs.
        records: the folder of records.
    """

    cluster: Cluster
    settings: Settings
    configuration: Configuration
    runner: Runner
    blobs: ValueBlobs
    records: Path

    @classmethod
    def of(
        cls, settings: Settings, configuration: Configuration, runner: Runner
    ) -> Client:
        """Return a client; nothing is asked of the cluster yet.

        Raises:
            InitializationError: there is no kubeconfig, or it can't be used.
            SettingsError: no namespace can be called what is set.
        """
        if runner.log_level is not None:
            import logging  # noqa: PLC0415  (only where a level is set)

            logging.getLogger("imagekit").setLevel(runner.log_level)
        base = runner.run_base_dir
        return cls(
            cluster=client_cluster(settings, configured_for(runner, configuration)),
            settings=settings,
            configuration=configuration,
            runner=runner,
            blobs=ValueBlobs(settings.record_dir / _BLOBS),
            records=settings.record_dir if base is None else Path(base).absolute(),
        )

    def follower(
        self,
        run: KnownRun,
        record: RunRecord,
        *,
        queued: float | None,
        hidden: Collection[str] = (),
    ) -> Follower:
        """Return what follows a run into *record*, and shows it as the user wants.

        Args:
            run: the run.
            record: the record.
            queued: seconds that its task may wait to run; None if nobody said.
            hidden: values of secrets.
        """
        runner = self.runner
        recorder = StreamingRecorder(
            record, stream=runner.stream or sys.stderr, listener=runner.listener
        )
        recorder.hide(hidden)
        store = raw_data(run.document.raw_data_path)
        return Follower(
            self.cluster,
            run,
            reader=Reader(blobs=self.blobs, store=store),
            recorder=recorder,
            queued=queued,
            note=lambda text: runner.progress(Note(text)),
        )

    def readable(self, task: TaskDocument, output: Json, files: Path) -> Any:
        """Return an output of a task whose code is not here.

        In place of classes there are some of the same name with the same fields; what
        can't be had here is as the document has it.
        """
        try:
            annotation = annotation_of(task.interface["output"])
        except UnsupportedError:
            return output
        return decode(
            output,
            annotation,
            self.blobs,
            subject=f"output of {task.name}",
            files=str(files),
        )
