"""What the calls of a run are on the cluster: objects that hold them, Jobs, results."""

from __future__ import annotations

import threading

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.api_errors import NotFoundError
from imagekit.cluster.documents import CallDocument, ResultDocument, RunDocument
from imagekit.cluster.jobs import job_of
from imagekit.cluster.manifests import owner_reference
from imagekit.run_events import Json
from imagekit.running.attempt import Attempt
from imagekit.running.cluster.deployed import Deployed
from imagekit.running.cluster.parcel_objects import parcel_object, parcel_of
from imagekit.running.cluster.raw_data import RawData
from imagekit.value_blobs import ValueBlobs
from imagekit.values import blob_digests

_TAIL_LINES = "12"


class CallObjects:
    """Makes and reads the objects of the calls that one call makes.

    Args:
        cluster: where they are.
        run: the run that they belong to.
        caller: name of the call object of what calls; empty on the client.
        owner: the run's object, which owns them.
        deployed: the environments of the run.
        blobs: the large parts of inputs and outputs.
        store: where they are kept if they are very large.
    """

    def __init__(
        self,
        cluster: Cluster,
        run: RunDocument,
        *,
        caller: str,
        owner: Json,
        deployed: Deployed,
        blobs: ValueBlobs,
        store: RawData | None,
    ) -> None:
        self._cluster = cluster
        self._run = run
        self._caller = caller
        self._owner = owner
        self._deployed = deployed
        self._blobs = blobs
        self._store = store
        self._lock = threading.Lock()
        self._parent_job: Json = None

    def name_of(self, attempt: Attempt) -> str:
        """Return the name of the call object of an attempt, and of its Job."""
        context = attempt.context
        return names.call_name(self._run.name, context.action.name, context.attempt)

    def create(self, name: str, attempt: Attempt) -> None:
        """Make the call object and the Job of an attempt.

        Raises:
            ImageKitError: the cluster refuses, or the inputs are too large.
        """
        context = attempt.context
        call = CallDocument(
            run=self._run.name,
            action=context.action.name,
            attempt=context.attempt,
            task=attempt.task.name,
            settings=attempt.settings.with_cache_version(""),
            inputs=attempt.inputs,
            caller=self._caller,
        )
        self.create_call(name, call)
        self.create_job(name, call, owner=self._job_of_caller(), backoff=0)

    def create_call(self, name: str, call: CallDocument) -> None:
        """Make the object of a call.

        Raises:
            ImageKitError: the cluster refuses, or the inputs are too large.
        """
        found = parcel_object(
            name,
            call.to_json(),
            blob_digests(call.inputs),
            kind=names.CALL_KIND,
            labels=self._labels(call),
            owner=self._owner,
            blobs=self._blobs,
            store=self._store,
        )
        self._cluster.create(found)

    def create_job(
        self, name: str, call: CallDocument, *, owner: Json, backoff: int
    ) -> None:
        """Make the Job that runs a call.

        Args:
            name: of the call object, and of the Job.
            call: what it runs.
            owner: the object that it is deleted with.
            backoff: how many pods may fail before the Job does.

        Raises:
            ImageKitError: the cluster refuses, or no pod can be what the call asks for.
        """
        run = self._run
        job = job_of(
            self._deployed.pod(call.task, call.settings),
            name=name,
            run=run.name,
            action=call.action,
            attempt=call.attempt,
            caller=call.caller,
            labels=dict(run.labels),
            annotations=dict(run.annotations),
            owner=owner_reference(owner),
            backoff=backoff,
            service_account=run.service_account,
            raw_data_path=run.raw_data_path,
        )
        self._cluster.create(job)

    def result(self, call: str) -> ResultDocument | None:
        """Return the result of a call object; None if there is none."""
        found = self._cluster.find("ConfigMap", names.result_name(call))
        return None if found is None else self.read(found)

    def read(self, result: Json) -> ResultDocument:
        """Return the document of a result object; its blobs are here then."""
        return ResultDocument.from_json(parcel_of(result, self._blobs, self._store))

    def tail(self, pod: Json) -> str:
        """Return what a pod has printed last; empty if nobody knows."""
        name = pod["metadata"]["name"]
        path = f"/api/v1/namespaces/{self._cluster.namespace}/pods/{name}/log"
        query = {"tailLines": _TAIL_LINES}
        try:
            with self._cluster.api.stream(path, query=query, timeout=10) as chunks:
                return b"".join(chunks).decode(errors="replace")
        except Exception:  # noqa: BLE001  (the error that it is for says the rest)
            return ""

    def refusal(self, job: str) -> str | None:
        """Return why a Job gets no pod, where somebody says so."""
        fields = f"involvedObject.kind=Job,involvedObject.name={job}"
        found = [
            item
            for item in self._cluster.list("Event", fields=fields)
            if item.get("reason") == "FailedCreate"
        ]
        return str(found[-1].get("message")) if found else None

    def delete(self, job: str) -> None:
        """Delete a Job, its pods, and the Jobs that these have made."""
        self._cluster.delete("Job", job, propagation="Background")

    def _labels(self, call: CallDocument) -> dict[str, str]:
        return {
            names.RUN: call.run,
            names.ACTION: call.action,
            names.ATTEMPT: str(call.attempt),
            names.TASK: call.task,
            **({names.CALLER: call.caller} if call.caller else {}),
        }

    def _job_of_caller(self) -> Json:
        """Return the Job of what calls: it owns those of its callees."""
        with self._lock:
            if self._parent_job is None:
                try:
                    self._parent_job = self._cluster.get("Job", self._caller)
                except NotFoundError:
                    return self._owner  # a pool's pod runs it
            return self._parent_job
