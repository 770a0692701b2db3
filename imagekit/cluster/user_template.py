"""The task's container in a pod of the user's, which keeps all that it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagekit.cluster.documents import Json
from imagekit.cluster.labelling import check_annotations, check_labels, is_label, is_own
from imagekit.cluster.merge import merged
from imagekit.cluster.pod_lists import by_key, is_keyed
from imagekit.cluster.primary_container import (
    CONTAINER,
    DEFAULT,
    primary_container,
    renamed,
    with_primary,
)
from imagekit.pod_template import PodTemplate
from imagekit.task_errors import DeploymentError, PrimaryContainerNotFoundError

#: Annotation of pods that are still to be put into a pod template of the cluster.
NAMED = "imagekit/pod-template"
#: Where programs look for the token of their service account.
TOKEN_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105  (a path)
#: Names of volumes that are imagekit's begin so.
_VOLUMES = "imagekit-"
#: What a user's pod may say another way than imagekit does by default.
_THEIRS = frozenset(
    {
        "automountServiceAccountToken",
        "serviceAccountName",
        "terminationGracePeriodSeconds",
    }
)
_ACCOUNT, _OLD_ACCOUNT = "serviceAccountName", "serviceAccount"
#: No label is called so.
_LISTS = frozenset({"containers", "initContainers", "volumes", "volumeMounts"})
_OWNED = ("image", "command", "args")


def in_user_template(pod: Json, template: PodTemplate, origin: str | None) -> Json:
    """Return the pod of *template* with the task of *pod* in it.

    Raises:
        DeploymentError: it has something that imagekit has to decide, or that no pod
            can have.
        PrimaryContainerNotFoundError: the container that it names is of another kind.
    """
    user = _set(template.to_k8s_pod())
    _check_policy(user["spec"], origin)
    return _put_into(pod, user, template.primary_container_name, origin)


def named_template(pod: Json, user: Json) -> Json:
    """Return the pod of the PodTemplate object *user* with the task of *pod* in it.

    The task's container is the one that the object's annotation ``imagekit/container``
    names, else ``primary``. Kubernetes wants it to have an image, and gives the pod a
    restart policy: these are replaced.

    Raises:
        DeploymentError: it has something that imagekit has to decide.
        PrimaryContainerNotFoundError: the container that it names is of another kind.
    """
    metadata, template = user["metadata"], user.get("template") or {}
    name = (metadata.get("annotations") or {}).get(CONTAINER, DEFAULT)
    annotations = pod["metadata"].get("annotations", {})
    rest = {key: value for key, value in annotations.items() if key != NAMED}
    pod = {**pod, "metadata": {**pod["metadata"], "annotations": rest}}
    wanted = _set(
        {
            "metadata": {
                key: (template.get("metadata") or {}).get(key) or {}
                for key in ("labels", "annotations")
            },
            "spec": _without_image(template.get("spec") or {}, name),
        }
    )
    try:
        return _put_into(pod, wanted, name, None)
    except (DeploymentError, PrimaryContainerNotFoundError) as error:
        error.add_note(f"in the PodTemplate {metadata.get('name')!r} of the cluster")
        raise


def _put_into(pod: Json, user: Json, name: str, origin: str | None) -> Json:
    _check(user, name, origin)
    pod = renamed(pod, name)
    theirs = _container(user["spec"], name)
    ours = primary_container(pod)
    if "workingDir" in theirs:
        ours = {key: value for key, value in ours.items() if key != "workingDir"}
    if _mounts(theirs, TOKEN_FOLDER):
        mounts = [item for item in ours["volumeMounts"] if not _is_token(item)]
        ours = {**ours, "volumeMounts": mounts}
    pod = with_primary(pod, ours)
    said = user["spec"].keys() & _THEIRS
    if _OLD_ACCOUNT in user["spec"]:
        said.add(_ACCOUNT)
    spec = {key: value for key, value in pod["spec"].items() if key not in said}
    metadata = {**pod["metadata"]}
    for what in ("labels", "annotations"):
        given = user["metadata"].get(what, {})
        kept = metadata.get(what, {}).items()
        metadata[what] = {k: v for k, v in kept if is_own(k) or k not in given}
    return merged(user, {"metadata": metadata, "spec": spec})


def _check(user: Json, name: str, origin: str | None) -> None:
    if not is_label(name):
        raise DeploymentError(
            f"wanted a container that Kubernetes takes, found the name {name!r}",
            hint="at most 63 lower-case letters, digits and '-'",
            origin=origin,
        )
    check_labels(user["metadata"].get("labels", {}), origin)
    check_annotations(user["metadata"].get("annotations", {}), origin)
    spec = user["spec"]
    _check_lists(spec, origin)
    if any(item["name"] == name for item in spec.get("initContainers", ())):
        raise PrimaryContainerNotFoundError(
            f"wanted a container {name!r} for the task, found an init container",
            hint="give one of them another name",
            origin=origin,
        )
    for item in spec.get("volumes", ()):
        if str(item["name"]).startswith(_VOLUMES):
            raise DeploymentError(
                f"the volume {item['name']!r} of the pod template has a name of "
                "imagekit's",
                hint=f"begin it with something else than {_VOLUMES!r}",
                origin=origin,
            )
    _check_owned(_container(spec, name), origin)


def _check_lists(value: Any, origin: str | None) -> None:
    """Raise for lists that have an item twice, or one without a name."""
    if isinstance(value, Mapping):
        for field, item in value.items():
            is_list = isinstance(item, list)
            odd = by_key(field, item) is None if is_list else field in _LISTS
            if is_keyed(field) and odd:
                raise DeploymentError(
                    f"wanted {field} of the pod template as a list in which each has a "
                    f"name of its own, found {item!r}",
                    hint="write it as manifests have it",
                    origin=origin,
                )
            _check_lists(item, origin)
    elif isinstance(value, list):
        for item in value:
            _check_lists(item, origin)


def _check_owned(container: Json, origin: str | None) -> None:
    for field in _OWNED:
        if container.get(field):
            raise DeploymentError(
                f"the pod template sets {field!r} of the container "
                f"{container['name']!r}, which runs the task",
                hint="the image is that of the task's environment, and imagekit starts "
                f"the task in it: leave {field!r} out, or use another container",
                origin=origin,
            )


def _check_policy(spec: Json, origin: str | None) -> None:
    policy = spec.get("restartPolicy", "Never")
    if policy != "Never":
        raise DeploymentError(
            f"wanted a pod template with the restart policy 'Never', found {policy!r}",
            hint="tasks are tried again with retries=; sidecars that restart are init "
            "containers with a restart policy of their own",
            origin=origin,
        )


def _without_image(spec: Json, name: str) -> Json:
    containers = [
        {key: value for key, value in item.items() if key != "image"}
        if item.get("name") == name
        else item
        for item in spec.get("containers") or ()
    ]
    return {**spec, "containers": containers}


def _container(spec: Json, name: str) -> Json:
    found = (item for item in spec.get("containers", ()) if item["name"] == name)
    return next(found, {})


def _mounts(container: Json, path: str) -> bool:
    return any(
        item.get("mountPath") == path for item in container.get("volumeMounts", ())
    )


def _is_token(mount: Json) -> bool:
    return bool(mount["mountPath"] == TOKEN_FOLDER)


def _set(value: Any) -> Any:
    """Return *value* without what is not set: manifests may say so with a null."""
    if isinstance(value, Mapping):
        return {k: _set(item) for k, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_set(item) for item in value if item is not None]
    return value
