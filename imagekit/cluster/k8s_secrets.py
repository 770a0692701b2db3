"""Secrets of tasks as references to Kubernetes Secrets; values are never seen here."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from imagekit.cluster.documents import Json
from imagekit.cluster.labelling import is_domain
from imagekit.cluster.pod_options import PodOptions
from imagekit.cluster.user_template import TOKEN_FOLDER
from imagekit.cluster.variables import check_variable
from imagekit.secret import Secret
from imagekit.task_errors import DeploymentError
from imagekit.task_settings import TaskSettings

_VOLUME = "imagekit-secrets"
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_KERNEL = ("/dev", "/proc", "/sys")


def secret_references(
    settings: TaskSettings, options: PodOptions, origin: str | None = None
) -> tuple[str, ...]:
    """Return the names of the Kubernetes Secrets that a task needs, sorted.

    Raises:
        DeploymentError: a secret has a name that no Kubernetes Secret can have.
    """
    found = {_place(secret, options, origin)[0] for secret in settings.secrets}
    return tuple(sorted(found))


def secret_fields(
    secrets: Sequence[Secret], options: PodOptions, origin: str | None
) -> tuple[Json, Json]:
    """Return what *secrets* are in a pod's spec, and in its container.

    Files are mounted one by one, so that what else is in their folders stays there.

    Raises:
        DeploymentError: a secret has a name that no Kubernetes Secret can have, or is
            to be where no file can be.
    """
    variables: dict[str, Json] = {}
    files: dict[str, tuple[str, str]] = {}
    for secret in secrets:
        name, key = place = _place(secret, options, origin)
        if secret.as_env_var is not None:
            check_variable(secret.as_env_var, origin)
            source = {"secretKeyRef": {"name": name, "key": key}}
            variables[secret.as_env_var] = {
                "name": secret.as_env_var,
                "valueFrom": source,
            }
        if secret.mount is not None:
            files[_path(secret, origin)] = place
    spec: Json = {"volumes": [_volume(set(files.values()))]} if files else {}
    container: Json = {"env": list(variables.values())} if variables else {}
    if files:
        container["volumeMounts"] = [
            {
                "name": _VOLUME,
                "mountPath": path,
                "subPath": posixpath.join(*place),
                "readOnly": True,
            }
            for path, place in sorted(files.items())
        ]
    return spec, container


def _volume(places: set[tuple[str, str]]) -> Json:
    keys: dict[str, list[str]] = {}
    for name, key in sorted(places):
        keys.setdefault(name, []).append(key)
    sources = [
        {
            "secret": {
                "name": name,
                "items": [{"key": key, "path": f"{name}/{key}"} for key in found],
            }
        }
        for name, found in keys.items()
    ]
    return {"name": _VOLUME, "projected": {"sources": sources}}


def _place(secret: Secret, options: PodOptions, origin: str | None) -> tuple[str, str]:
    """Return name and key of the Kubernetes Secret that has the value of *secret*."""
    name = secret.group or options.secret_name
    if not is_domain(name):
        what = "give it a group" if secret.group else "set 'secret-name' to one"
        raise DeploymentError(
            f"the secret {secret.key!r} is to be in a Kubernetes Secret that is called "
            f"{name!r}, which none can be",
            hint=f"{what} of lower-case letters, digits, '-' and '.'",
            origin=origin,
        )
    if not _KEY.fullmatch(secret.key) or secret.key == "." or secret.key[:2] == "..":
        raise DeploymentError(
            f"the Kubernetes Secret {name!r} can't have a key {secret.key!r}",
            hint="a key has letters, digits, '-', '_' and '.' only",
            origin=origin,
        )
    return name, secret.key


def _path(secret: Secret, origin: str | None) -> str:
    path = "/" + posixpath.normpath(str(secret.mount)).lstrip("/")
    in_kernel = any(f"{path}/".startswith(f"{place}/") for place in _KERNEL)
    if in_kernel or path == "/" or ":" in path or _hides(path, TOKEN_FOLDER):
        raise DeploymentError(
            f"the secret {secret.key!r} can't be the file {path!r} of a pod",
            hint="mount it at '/run/secrets/NAME'",
            origin=origin,
        )
    return path


def _hides(path: str, folder: str) -> bool:
    """Return whether a file can't be at *path* because a folder is mounted."""
    # In nearly all images /var/run is a link to /run.
    one, other = (f"{item.removeprefix('/var')}/" for item in (path, folder))
    return one.startswith(other) or other.startswith(one)
