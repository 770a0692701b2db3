"""The objects that a deployment applies, and ConfigMaps in general."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping

from imagekit.cluster.documents import DOCUMENT, EnvironmentDocument, Json
from imagekit.cluster.merge import merged
from imagekit.cluster.names import (
    CURRENT_KIND,
    ENVIRONMENT,
    ENVIRONMENT_KIND,
    KIND,
    MANAGED_BY,
    MANAGER,
    TASK,
    TEMPLATE_KIND,
    VERSION,
    current_name,
    environment_name,
    label_value,
)
from imagekit.cluster.pod_options import PodOptions
from imagekit.cluster.pod_spec import task_pod
from imagekit.task_errors import DeploymentError

#: Annotation with the digest of all else of an object that was applied.
CONTENT = "imagekit/content"
#: Annotation of pod templates with the options that they were made with.
OPTIONS = "imagekit/options"
#: What a ConfigMap may hold.
MAX_BYTES = 2**20


def environment_objects(
    document: EnvironmentDocument, options: PodOptions
) -> list[Json]:
    """Return the objects of a version of an environment, which never change.

    Raises:
        DeploymentError: no pod can be what a task asks for, or the environment is too
            large.
        PrimaryContainerNotFoundError: a pod template has no place for the task.
    """
    text = compact(document.to_json())
    if len(text) > MAX_BYTES:
        raise DeploymentError(
            f"the description of the environment {document.name!r} is too large for "
            f"Kubernetes: wanted at most {MAX_BYTES} bytes, found {len(text)}",
            hint="divide its tasks among several environments",
        )
    labels = {ENVIRONMENT: document.name, VERSION: document.version}
    described = config_map(
        environment_name(document.name, document.version),
        kind=ENVIRONMENT_KIND,
        labels=labels,
        data={DOCUMENT: text},
    )
    return [_signed(described), *_templates(document, options, labels)]


def current_object(document: EnvironmentDocument) -> Json:
    """Return the object that makes a version of an environment the current one."""
    version = document.version
    data = {
        "version": version,
        "environment": environment_name(document.name, version),
    }
    labels = {ENVIRONMENT: document.name, VERSION: version}
    name = current_name(document.name)
    return _signed(config_map(name, kind=CURRENT_KIND, labels=labels, data=data))


def options_of(template: Json) -> PodOptions:
    """Return the options that a PodTemplate object was made with."""
    annotations = template["metadata"].get("annotations") or {}
    return PodOptions.from_json(json.loads(annotations.get(OPTIONS, "{}")))


def config_map(
    name: str,
    *,
    kind: str,
    labels: Mapping[str, str],
    data: Mapping[str, str],
    binary: Mapping[str, bytes] | None = None,
    owner: Json | None = None,
) -> Json:
    """Return a ConfigMap.

    Args:
        name: see :mod:`imagekit.cluster.names`.
        kind: what it is for.
        labels: of any texts.
        data: texts by name.
        binary: bytes by name.
        owner: what it is deleted with, as :func:`owner_reference` returns it.
    """
    metadata: Json = {"name": name, "labels": object_labels(kind, labels)}
    if owner is not None:
        metadata["ownerReferences"] = [owner]
    found: Json = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": dict(data),
    }
    if binary:
        found["binaryData"] = {
            key: base64.b64encode(value).decode() for key, value in binary.items()
        }
    return found


def owner_reference(owner: Json) -> Json:
    """Return what says that an object is deleted with *owner*, which is on the cluster.

    Whoever makes the object needs no rights on *owner* for that.
    """
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }


def object_labels(kind: str, labels: Mapping[str, str]) -> dict[str, str]:
    """Return *labels*, of any texts, as those of an object of a kind."""
    found = {key: label_value(value) for key, value in labels.items()}
    return {MANAGED_BY: MANAGER, KIND: kind, **found}


def content_digest(manifest: Json) -> str:
    """Return the SHA-256 of an object, whatever it says of its own digest."""
    metadata = dict(manifest["metadata"])
    others = {k: v for k, v in metadata.pop("annotations", {}).items() if k != CONTENT}
    content = {**manifest, "metadata": metadata | {"annotations": others}}
    return hashlib.sha256(compact(content).encode()).hexdigest()


def compact(document: Json) -> str:
    """Return *document* as a text; equal ones give equal texts."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def _templates(
    document: EnvironmentDocument, options: PodOptions, labels: dict[str, str]
) -> list[Json]:
    annotations = {OPTIONS: compact(options.to_json())}
    version = {VERSION: label_value(document.version)}
    found = []
    for task in document.tasks:
        pod = task_pod(task, document.image, task.settings, options)
        metadata = {
            "name": task.template,
            "labels": object_labels(TEMPLATE_KIND, labels | {TASK: task.name}),
            "annotations": annotations,
        }
        template = {
            "apiVersion": "v1",
            "kind": "PodTemplate",
            "metadata": metadata,
            "template": merged(pod, {"metadata": {"labels": version}}),
        }
        found.append(_signed(template))
    return found


def _signed(manifest: Json) -> Json:
    digest = {CONTENT: content_digest(manifest)}
    return merged(manifest, {"metadata": {"annotations": digest}})
