"""What the calls of a run are on the cluster: objects that hold them, Jobs, results."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.api_errors import AlreadyExistsError, ConflictError
from imagekit.cluster.documents import CallDocument, ResultDocument, RunDocument
from imagekit.cluster.jobs import job_of
from imagekit.cluster.manifests import owner_reference
from imagekit.run_events import Json
from imagekit.running.attempt import Attempt
from imagekit.running.cluster.deployed import Deployed
from imagekit.running.cluster.last_words import last_words
from imagekit.running.cluster.parcel_objects import parcel_object, parcel_of
from imagekit.running.cluster.pod_endings import Trouble
from imagekit.running.cluster.pod_events import no_pod, start_trouble
from imagekit.running.cluster.pool_claims import details, open_labels
from imagekit.running.cluster.pool_pods import Pool, pool_of
from imagekit.running.cluster.raw_data import RawData
from imagekit.value_blobs import ValueBlobs
from imagekit.values import blob_digests


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
        parent: the object on the cluster that what is called ends with; None for the
            Job of what calls.
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
        parent: Json = None,
    ) -> None:
        self.cluster = cluster
        self._run = run
        self._caller = caller
        self._owner = owner
        self._deployed = deployed
        self._blobs = blobs
        self._store = store
        self._lock = threading.Lock()
        self._parent = parent

    def name_of(self, attempt: Attempt) -> str:
        """Return the name of the call object of an attempt, and of its Job."""
        context = attempt.context
        return names.call_name(self._run.name, context.action.name, context.attempt)

    def create(self, name: str, attempt: Attempt, *, again: bool = False) -> None:
        """Make the call object and the Job of an attempt.

        Args:
            name: of both.
            attempt: what they are for.
            again: whether an earlier try may have made the call object.

        Raises:
            ImageKitError: the cluster refuses, or the inputs are too large.
        """
        call = self._document(attempt)
        with suppress(*([AlreadyExistsError] if again else [])):
            self.create_call(name, call)
        self.create_job(name, call, owner=self._parent_object(), backoff=0)

    def create_pooled(self, name: str, attempt: Attempt, pool: Pool) -> Json:
        """Make the call object of an attempt that a pod of *pool* is to run.

        Returns:
            The object.

        Raises:
            ImageKitError: the cluster refuses, or the inputs are too large.
        """
        call = self._document(attempt)
        found = self._object(
            name,
            call,
            labels={**self._labels(call), **open_labels(pool.name)},
            owner=self._parent_object(),
        )
        found["metadata"]["annotations"] = details(
            call.action, pool.places, run=self._owner["metadata"]["uid"]
        )
        try:
            return self.cluster.create(found)
        except AlreadyExistsError as error:
            if not error.after_fault:
                raise
            # It was made, and a pod may have changed it since.
            return self.cluster.get("ConfigMap", name)

    def pool_of(self, attempt: Attempt) -> Pool:
        """Return the pool that an attempt is to run in.

        Raises:
            ImageKitError: no pod can be what the call asks for.
        """
        return pool_of(self._deployed, self._run, attempt.task.name, attempt.settings)

    def create_call(self, name: str, call: CallDocument) -> None:
        """Make the object of a call.

        Raises:
            ImageKitError: the cluster refuses, or the inputs are too large.
        """
        found = self._object(name, call, labels=self._labels(call), owner=self._owner)
        self.cluster.create(found)

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
        self.cluster.create(job)

    def result(self, call: str) -> ResultDocument | None:
        """Return the result of a call object; None if there is none."""
        found = self.cluster.find("ConfigMap", names.result_name(call))
        return None if found is None else self.read(found)

    def read(self, result: Json) -> ResultDocument:
        """Return the document of a result object; its blobs are here then."""
        return ResultDocument.from_json(parcel_of(result, self._blobs, self._store))

    def tail(self, pod: Json) -> str | None:
        """Return what a pod has printed last; None if that can't be read."""
        return last_words(self.cluster, pod)

    def no_pod(self, job: str) -> Trouble | None:
        """Return why a Job gets no pod, where events say so."""
        return no_pod(self.cluster, job)

    def start_trouble(self, pod: Json) -> Trouble | None:
        """Return why a pod does not start, where events say so."""
        return start_trouble(self.cluster, pod["metadata"]["name"])

    def delete(self, job: str) -> None:
        """Delete a Job, its pods, and the Jobs that these have made."""
        self.cluster.delete("Job", job, propagation="Background")

    def delete_call(self, name: str, uid: str) -> None:
        """Delete the object of a call: whoever runs it ends that, and what it began."""
        with suppress(ConflictError):  # another one has its name by now
            self.cluster.delete("ConfigMap", name, uid=uid)

    def _document(self, attempt: Attempt) -> CallDocument:
        context = attempt.context
        return CallDocument(
            run=self._run.name,
            action=context.action.name,
            attempt=context.attempt,
            task=attempt.task.name,
            settings=attempt.settings.with_cache_version(""),
            inputs=attempt.inputs,
            caller=self._caller,
        )

    def _object(
        self, name: str, call: CallDocument, *, labels: Mapping[str, str], owner: Json
    ) -> Json:
        return parcel_object(
            name,
            call.to_json(),
            blob_digests(call.inputs),
            kind=names.CALL_KIND,
            labels=labels,
            owner=owner,
            blobs=self._blobs,
            store=self._store,
        )

    def _labels(self, call: CallDocument) -> dict[str, str]:
        return {
            names.RUN: call.run,
            names.ACTION: call.action,
            names.ATTEMPT: str(call.attempt),
            names.TASK: call.task,
            **({names.CALLER: call.caller} if call.caller else {}),
        }

    def _parent_object(self) -> Json:
        """Return what owns the Jobs and calls that end with what calls."""
        with self._lock:
            if self._parent is None:
                self._parent = self.cluster.get("Job", self._caller)
            return self._parent
