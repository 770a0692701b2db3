"""The pod of a task, made of its settings; what its Jobs and pools are made from."""

from __future__ import annotations

from imagekit.cluster.documents import ImageDocument, Json, TaskDocument
from imagekit.cluster.k8s_secrets import secret_fields
from imagekit.cluster.labelling import check_annotations, check_labels, is_domain
from imagekit.cluster.merge import merged
from imagekit.cluster.names import (
    ENVIRONMENT,
    MANAGED_BY,
    MANAGER,
    TASK,
    label_value,
)
from imagekit.cluster.pod_changes import rebased
from imagekit.cluster.pod_options import PodOptions
from imagekit.cluster.pod_resources import resource_fields
from imagekit.cluster.primary_container import (
    CONTAINER,
    DEFAULT,
    primary_name,
    renamed,
)
from imagekit.cluster.user_template import (
    NAMED,
    TOKEN_FOLDER,
    in_user_template,
)
from imagekit.cluster.variables import POD_NAME, check_variable, literal, variable
from imagekit.task_errors import DeploymentError
from imagekit.task_settings import TaskSettings

#: Label of pods that may be killed at any time.
INTERRUPTIBLE = "imagekit/interruptible"
#: PYTHONPATH is the user's: the path is set where only this program sees it.
_START = (
    "import sys; sys.path.insert(0, {runtime!r}); "
    "from imagekit.runtime.pod import main; main()"
)
_MODULE = "imagekit.runtime.pod"
_GRACE_SECONDS = 30
_TOKEN = "imagekit-token"  # noqa: S105  (the name of a volume)
#: A little more than an hour, as Kubernetes' own: the kubelet renews it in time.
_TOKEN_SECONDS = 3607
_AUTHORITY = "kube-root-ca.crt"
_SPOT_WEIGHT = 100


def task_pod(
    task: TaskDocument,
    image: ImageDocument,
    settings: TaskSettings,
    options: PodOptions,
) -> Json:
    """Return ``metadata`` and ``spec`` of the pods of *task*, run with *settings*.

    Where a pod template is only named, the pod is still to be put into it, with
    :func:`imagekit.cluster.user_template.named_template`.

    Raises:
        DeploymentError: no pod can be what the settings ask for.
        PrimaryContainerNotFoundError: the pod template has no place for the task.
    """
    pod = _own_pod(task, image, settings, options)
    template = settings.pod_template
    if template is None:
        return pod
    if not isinstance(template, str):
        return in_user_template(pod, template, task.origin)
    if not is_domain(template):
        raise DeploymentError(
            f"wanted the name of a pod template, found {template!r}",
            hint="lower-case letters, digits, '-' and '.'",
            origin=task.origin,
        )
    return merged(pod, {"metadata": {"annotations": {NAMED: template}}})


def overridden(
    template: Json,
    task: TaskDocument,
    image: ImageDocument,
    settings: TaskSettings,
    options: PodOptions,
) -> Json:
    """Return the deployed *template* of *task*, run with other settings than its own.

    What the task's own settings put there and *settings* don't goes, and what is new
    comes. All else stays: users may have changed the template.

    Raises:
        DeploymentError: no pod can be what the settings ask for.
        PrimaryContainerNotFoundError: the pod template has no place for the task.
    """
    before = task_pod(task, image, task.settings, options)
    after = task_pod(task, image, settings, options)
    name = primary_name(after)
    return rebased(renamed(template, name), renamed(before, name), after)


def _own_pod(
    task: TaskDocument,
    image: ImageDocument,
    settings: TaskSettings,
    options: PodOptions,
) -> Json:
    """Return the pod as it is without a template of the user's."""
    spec = _base_spec(options)
    container = _base_container(image)
    for fields, more in (
        _token_fields(),
        resource_fields(settings.resources, options, task.origin),
        _variable_fields(settings, task.origin),
        secret_fields(settings.secrets, options, task.origin),
        (_spot_fields(options) if settings.interruptible else {}, {}),
    ):
        spec, container = _joined(spec, fields), _joined(container, more)
    return {
        "metadata": _metadata(task, settings, options),
        "spec": {**spec, "containers": [container]},
    }


def _joined(fields: Json, more: Json) -> Json:
    """Return both; of lists, which are of different makers, all items."""
    found = dict(fields)
    for key, value in more.items():
        if key == "env":
            # A secret has the last word, as everywhere.
            names = {item["name"] for item in value}
            kept = [item for item in found.get(key, ()) if item["name"] not in names]
            found[key] = kept + value
        elif isinstance(value, list):
            found[key] = [*found.get(key, ()), *value]
        else:
            found[key] = merged(found[key], value) if key in found else value
    return found


def _metadata(task: TaskDocument, settings: TaskSettings, options: PodOptions) -> Json:
    labels, annotations = dict(options.labels), dict(options.annotations)
    check_labels(labels)
    check_annotations(annotations)
    labels |= {
        MANAGED_BY: MANAGER,
        ENVIRONMENT: label_value(task.name.rpartition(".")[0]),
        TASK: label_value(task.name),
    }
    if settings.interruptible:
        labels[INTERRUPTIBLE] = "true"
    return {"labels": labels, "annotations": annotations | {CONTAINER: DEFAULT}}


def _base_spec(options: PodOptions) -> Json:
    spec: Json = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        # The task's container has a token; others get none unless they ask for it.
        "automountServiceAccountToken": False,
    }
    if options.service_account:
        spec["serviceAccountName"] = options.service_account
    if options.image_pull_secrets:
        names = dict.fromkeys(options.image_pull_secrets)
        spec["imagePullSecrets"] = [{"name": name} for name in names]
    return spec


def _base_container(image: ImageDocument) -> Json:
    # -P: the working directory may have modules that are named like the library's.
    command = [image.python, "-P"]
    if image.runtime:
        command += ["-c", _START.format(runtime=image.runtime)]
    else:
        command += ["-m", _MODULE]
    field = {"fieldPath": "metadata.name"}
    container: Json = {
        "name": DEFAULT,
        "image": image.reference,
        "command": [literal(item) for item in command],
        "env": [{"name": POD_NAME, "valueFrom": {"fieldRef": field}}],
    }
    if image.workdir is not None:
        container["workingDir"] = image.workdir
    return container


def _token_fields() -> tuple[Json, Json]:
    sources = [
        {
            "serviceAccountToken": {
                "path": "token",
                "expirationSeconds": _TOKEN_SECONDS,
            }
        },
        {
            "configMap": {
                "name": _AUTHORITY,
                "items": [{"key": "ca.crt", "path": "ca.crt"}],
            }
        },
        {
            "downwardAPI": {
                "items": [
                    {
                        "path": "namespace",
                        "fieldRef": {"fieldPath": "metadata.namespace"},
                    }
                ]
            }
        },
    ]
    volume = {"name": _TOKEN, "projected": {"sources": sources}}
    mount = {"name": _TOKEN, "mountPath": TOKEN_FOLDER, "readOnly": True}
    return {"volumes": [volume]}, {"volumeMounts": [mount]}


def _variable_fields(settings: TaskSettings, origin: str | None) -> tuple[Json, Json]:
    for name, _ in settings.env_vars:
        check_variable(name, origin)
    return {}, {"env": [variable(name, value) for name, value in settings.env_vars]}


def _spot_fields(options: PodOptions) -> Json:
    if options.spot is None:
        return {}
    key, value = options.spot
    condition = {"key": key, "operator": "In", "values": [value]}
    preferred = {
        "weight": _SPOT_WEIGHT,
        "preference": {"matchExpressions": [condition]},
    }
    toleration = {
        "key": key,
        "operator": "Equal",
        "value": value,
        "effect": "NoSchedule",
    }
    field = "preferredDuringSchedulingIgnoredDuringExecution"
    return {
        "tolerations": [toleration],
        "affinity": {"nodeAffinity": {field: [preferred]}},
    }
