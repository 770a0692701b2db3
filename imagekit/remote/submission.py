"""Puts a run on a cluster: what describes it, its first call, and the Job for that."""

from __future__ import annotations

from contextlib import suppress

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.api_errors import AlreadyExistsError, ClusterError
from imagekit.cluster.documents import DOCUMENT, CallDocument, RunDocument
from imagekit.cluster.labelling import check_annotations, check_labels
from imagekit.cluster.manifests import compact, config_map
from imagekit.errors import DefinitionError
from imagekit.records import dataclass
from imagekit.remote.known_run import KnownRun
from imagekit.run_events import ROOT
from imagekit.run_records import made_up_name
from imagekit.running.cluster.call_objects import CallObjects
from imagekit.running.cluster.deployed import Deployed
from imagekit.running.cluster.raw_data import RawData
from imagekit.task_errors import RuntimeUserError
from imagekit.value_blobs import ValueBlobs

#: How often a pod of the run's own task may be lost.
_BACKOFF = 6


def name_of_run(name: str | None) -> str:
    """Return the name of a run: *name*, or one that is made up.

    Raises:
        DefinitionError: it can't be the value of a label on Kubernetes.
    """
    if name is None:
        return made_up_name()
    if not name or names.label_value(name) != name:
        raise DefinitionError(
            f"wanted the name of a run that Kubernetes takes, found {name!r}",
            hint="at most 63 letters, digits, '-', '_' and '.', with letters or digits "
            "at both ends",
        )
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A run that is about to begin; its environments are on the cluster.

    Attributes:
        call: of its own task.
        blobs: has the large parts of the inputs.
        store: takes those that are very large.
    """

    cluster: Cluster
    run: RunDocument
    call: CallDocument
    blobs: ValueBlobs
    store: RawData | None

    def check(self) -> None:
        """Raise what is known to be wrong before anything is made.

        Raises:
            DeploymentError: Kubernetes takes no such labels or annotations.
        """
        check_labels(dict(self.run.labels))
        check_annotations(dict(self.run.annotations))

    def submit(self) -> KnownRun:
        """Begin the run; from here on, it needs this process no more.

        Raises:
            RuntimeUserError: there is a run of that name.
            ImageKitError: the cluster refuses, or the inputs are too large.
        """
        run = KnownRun(document=self.run, object=self._describe())
        try:
            self._call(run)
        except BaseException:
            with suppress(ClusterError):  # what was wrong before says more
                # The rest goes with it.
                self.cluster.delete("ConfigMap", names.run_name(self.run.name))
            raise
        return run

    def _describe(self) -> object:
        run = self.run
        labels = {
            names.RUN: run.name,
            names.TASK: run.task,
            names.VERSION: run.version,
        }
        try:
            return self.cluster.create(
                config_map(
                    names.run_name(run.name),
                    kind=names.RUN_KIND,
                    labels=labels,
                    data={DOCUMENT: compact(run.to_json())},
                )
            )
        except AlreadyExistsError as error:
            raise RuntimeUserError(
                f"there is a run named {run.name!r} already in the namespace "
                f"{self.cluster.namespace!r}",
                hint="choose another name, or leave it to imagekit",
            ) from error

    def _call(self, run: KnownRun) -> None:
        objects = CallObjects(
            self.cluster,
            self.run,
            caller="",
            owner=run.object,
            deployed=Deployed(self.cluster, self.run),
            blobs=self.blobs,
            store=self.store,
        )
        name = names.call_name(self.run.name, ROOT, 0)
        objects.create_call(name, self.call)
        objects.create_job(name, self.call, owner=run.object, backoff=_BACKOFF)
