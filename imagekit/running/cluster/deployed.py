"""What a run knows of the environments that were deployed for it."""

from __future__ import annotations

import json
import threading

from imagekit.cluster.api import Cluster
from imagekit.cluster.documents import (
    DOCUMENT,
    EnvironmentDocument,
    RunDocument,
)
from imagekit.cluster.manifests import options_of, owner_reference
from imagekit.cluster.pod_spec import overridden
from imagekit.cluster.user_template import named_template
from imagekit.run_events import Json
from imagekit.running.cluster.deployed_task import DeployedTask
from imagekit.task_errors import ModuleLoadError, RuntimeUserError
from imagekit.task_settings import TaskSettings


class Deployed:
    """The environments of a run, each read when a task of it is first called.

    Safe to use from many threads.
    """

    def __init__(self, cluster: Cluster, run: RunDocument) -> None:
        self._cluster = cluster
        self._run = run
        self._lock = threading.Lock()
        self._environments: dict[str, EnvironmentDocument] = {}
        self._references: dict[str, Json] = {}
        self._templates: dict[str, Json] = {}

    def find(self, name: str) -> DeployedTask:
        """Return the task of a full name.

        Raises:
            ModuleLoadError: it was not deployed with the run.
            RuntimeUserError: it was removed since.
        """
        environment = self.environment(name.rpartition(".")[0], name)
        task = environment.task(name)
        if task is None:
            raise ModuleLoadError(
                f"the environment {environment.name!r} was deployed without a task "
                f"{name!r}",
                hint="define it where the module is imported that was deployed",
            )
        return DeployedTask.of(environment, task)

    def environment(self, name: str, task: str) -> EnvironmentDocument:
        """Return the environment *name*, of whose *task* something has to be known.

        Raises:
            ModuleLoadError: it was not deployed with the run.
            RuntimeUserError: it was removed since.
        """
        with self._lock:
            found = self._environments.get(name)
        if found is not None:
            return found
        place = self._run.environments.get(name)
        if place is None:
            raise ModuleLoadError(
                f"{task!r} can't be called: its environment {name!r} was not deployed "
                "with the run",
                hint="name it in depends_on=[...] of the environment that calls it",
            )
        described = self._described(place)
        found = EnvironmentDocument.from_json(json.loads(described["data"][DOCUMENT]))
        with self._lock:
            self._environments[name] = found
            self._references[name] = owner_reference(described)
        return found

    def reference(self, task: str) -> Json:
        """Return what names the object that describes the environment of *task*.

        Errors are those of :meth:`environment`.
        """
        name = task.rpartition(".")[0]
        self.environment(name, task)
        with self._lock:
            return self._references[name]

    def pod(self, task: str, settings: TaskSettings) -> Json:
        """Return ``metadata`` and ``spec`` of the pod for a call of a task.

        Args:
            task: full name.
            settings: of the call.

        Raises:
            DeploymentError: no pod can be what they ask for.
            RuntimeUserError: a template was removed.
        """
        deployed = self.find(task)
        template = self._template(deployed.document.template)
        pod = template["template"]
        if settings != deployed.document.settings:
            pod = overridden(
                pod,
                deployed.document,
                deployed.image,
                settings,
                options_of(template),
            )
        if isinstance(settings.pod_template, str):
            # Its owner may change it at any time.
            pod = named_template(pod, self._found(settings.pod_template))
        return pod

    def _template(self, name: str) -> Json:
        """Return the template that was deployed for a task, read once."""
        with self._lock:
            found = self._templates.get(name)
        if found is None:
            found = self._found(name)
            with self._lock:
                self._templates[name] = found
        return found

    def _found(self, name: str) -> Json:
        found = self._cluster.find("PodTemplate", name)
        if found is None:
            raise _removed("pod template", name)
        return found

    def _described(self, name: str) -> Json:
        found = self._cluster.find("ConfigMap", name)
        if found is None:
            raise _removed("description", name)
        return found


def _removed(what: str, name: str) -> RuntimeUserError:
    return RuntimeUserError(
        f"the {what} {name!r} of an environment is not on the cluster any more",
        hint="deploy the environment again, and start a new run",
    )
