"""Manifests as files of a folder, for Git and kustomize.

Versions have files of their own, which are never changed by later ones, as the objects
on a cluster are not: whoever has an old version no more deletes its file.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

from imagekit.cluster.names import (
    CURRENT_KIND,
    ENVIRONMENT,
    ENVIRONMENT_KIND,
    KIND,
    VERSION,
)
from imagekit.cluster.yaml_text import yaml_stream, yaml_text
from imagekit.task_errors import DeploymentError

Json: TypeAlias = Any

_HEADER = "# Written by 'imagekit deploy'."
_INDEX = "kustomization.yaml"


def write_manifests(folder: Path, objects: Iterable[Json]) -> tuple[Path, ...]:
    """Write *objects* into *folder*, and a ``kustomization.yaml`` that lists them.

    It lists files of earlier versions too, as long as they are there. Files that are
    as they should be are left alone, and so are all that imagekit did not write.

    Returns:
        The files of *objects*, and the ``kustomization.yaml``.

    Raises:
        DeploymentError: somebody else's file has a name that is needed, or the folder
            can't be written to.
    """
    files = _files(objects)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (*files, _INDEX):
            _check(folder / name)
        for name, group in files.items():
            _write(folder / name, yaml_stream(group))
        _write(folder / _INDEX, yaml_text(_index(folder)))
    except OSError as error:
        raise DeploymentError(
            f"can't write manifests to {str(folder)!r}: {error.strerror}",
            hint="name another folder with --output",
        ) from error
    return tuple(folder / name for name in (*files, _INDEX))


def _files(objects: Iterable[Json]) -> dict[str, list[Json]]:
    """Return the objects of each file: of a version of an environment, or a pointer."""
    files: dict[str, list[Json]] = {}
    places: dict[tuple[str, str], str] = {}
    templates = []
    for item in objects:
        labels, name = item["metadata"]["labels"], item["metadata"]["name"]
        if labels[KIND] not in (ENVIRONMENT_KIND, CURRENT_KIND):
            templates.append(item)
            continue
        files[f"{name}.yaml"] = [item]
        if labels[KIND] == ENVIRONMENT_KIND:
            places[labels[ENVIRONMENT], labels[VERSION]] = f"{name}.yaml"
    for item in templates:
        labels = item["metadata"]["labels"]
        files[places[labels[ENVIRONMENT], labels[VERSION]]].append(item)
    return files


def _index(folder: Path) -> Json:
    ours = [
        path.name
        for path in folder.glob("*.yaml")
        if path.name != _INDEX and _is_ours(path)
    ]
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(ours),
    }


def _check(path: Path) -> None:
    if path.exists() and not _is_ours(path):
        raise DeploymentError(
            f"{str(path)!r} is there, and imagekit did not write it",
            hint="name a folder of its own with --output; a kustomization.yaml of "
            "yours can name that folder under 'resources'",
        )


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_HEADER)) == _HEADER.encode()


def _write(path: Path, text: str) -> None:
    content = f"{_HEADER}\n{text}".encode()
    if path.exists() and path.read_bytes() == content:
        return
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        # mkstemp() lets nobody else read it.
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
