"""Calls that a task makes on a cluster in memory, and the pods and results of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any

from api_in_memory import ApiInMemory
from cluster_environments import image_document, options_of, task_document

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.documents import EnvironmentDocument, ResultDocument, RunDocument
from imagekit.cluster.manifests import environment_objects
from imagekit.records import replace
from imagekit.running.attempt import Attempt
from imagekit.running.cluster.call_objects import CallObjects
from imagekit.running.cluster.callees import JOB_NAME
from imagekit.running.cluster.deployed import Deployed
from imagekit.running.cluster.parcel_objects import parcel_object
from imagekit.running.controller import RunFacts, task_context
from imagekit.task_settings import TaskSettings
from imagekit.value_blobs import ValueBlobs

TASK = "training.step"
CALLER = "ik-run-a0-0"


class Calls:
    """A run on a cluster in memory, whose root call calls :data:`TASK`."""

    def __init__(self, folder: Path, settings: TaskSettings | None = None) -> None:
        self.api = ApiInMemory()
        self.cluster = Cluster(self.api)
        self.settings = settings or TaskSettings()
        self.blobs = ValueBlobs(folder / "blobs")
        environment = EnvironmentDocument(
            name="training",
            version="1",
            code="c0de",
            image=image_document(),
            tasks=(task_document(self.settings, TASK),),
            description="",
        )
        for item in environment_objects(environment, options_of(Random(0))):
            self.cluster.create(item)
        self.run = RunDocument(
            name="run",
            task=TASK,
            version="1",
            environments={"training": names.environment_name("training", "1")},
            started=0.0,
        )
        self.deployed = Deployed(self.cluster, self.run)
        self.owner = self._object("ConfigMap", names.run_name("run"))
        self.objects = CallObjects(
            self.cluster,
            self.run,
            caller=CALLER,
            owner=self.owner,
            deployed=self.deployed,
            blobs=self.blobs,
            store=None,
            parent=self._object("Job", CALLER),
        )
        self.begun: list[str | None] = []

    def attempt(self, action: str = "a0.1", **changes: Any) -> Attempt:
        """Return an attempt at the task, as the call *action*."""
        nothing: Any = None
        context = task_context(RunFacts(name="run", mode="remote"), action, TASK)
        return Attempt(
            task=self.deployed.find(TASK),
            settings=replace(self.settings, **changes),
            inputs={"x": 1},
            context=replace(context, attempt=1),
            caller=nothing,
            encoded=nothing,
            recorder=nothing,
        )

    def placed(self, image: str | None = None, place: str | None = None) -> None:
        """Take note of where attempts run."""
        del image
        self.begun.append(place)

    def name_of(self, action: str) -> str:
        """Return the name of the call object and the Job of the call *action*."""
        return names.call_name("run", action, 1)

    def job_of(self, action: str) -> Any:
        """Wait for the Job of a call, and return it."""
        name = self.name_of(action)

        def found() -> list[Any]:
            jobs = self.api.of_kind("Job")
            return [job for job in jobs if job["metadata"]["name"] == name]

        self.api.wait(lambda: bool(found()))
        return found()[0]

    def pod(self, action: str, phase: str = "Running", **status: Any) -> Any:
        """Have a pod of a call's Job be like that."""
        job = self.job_of(action)
        template = job["spec"]["template"]
        name = job["metadata"]["name"]
        labels = {**template["metadata"]["labels"], JOB_NAME: name}
        return self.api.put(
            {
                "kind": "Pod",
                "metadata": {"name": f"{name}-pod", "uid": action, "labels": labels},
                "spec": template["spec"],
                "status": {"phase": phase, **status},
            }
        )

    def going(self, pod: Any, grace: int) -> None:
        """Have a pod be deleted, and stay."""
        metadata = pod["metadata"] | {
            "deletionTimestamp": "2026-01-01T00:00:00Z",
            "deletionGracePeriodSeconds": grace,
        }
        self.api.put({**pod, "metadata": metadata})

    def result(self, action: str, output: Any) -> None:
        """Have a call have a result."""
        name = self.name_of(action)
        document = ResultDocument(
            output=output, error=None, events=(), journals=0, pod=f"{name}-pod"
        )
        self.cluster.create(
            parcel_object(
                names.result_name(name),
                document.to_json(),
                kind=names.RESULT_KIND,
                labels={names.CALLER: CALLER},
                owner=self.owner,
                blobs=self.blobs,
                store=None,
            )
        )

    async def do(self, action: Any, *arguments: Any, **named: Any) -> Any:
        """Call something that waits for the cluster."""
        return await asyncio.to_thread(action, *arguments, **named)

    def _object(self, kind: str, name: str) -> Any:
        version = "batch/v1" if kind == "Job" else "v1"
        return self.cluster.create(
            {"apiVersion": version, "kind": kind, "metadata": {"name": name}}
        )
