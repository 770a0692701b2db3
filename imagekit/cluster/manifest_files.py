"""Manifests as files of a folder, for Git and kustomize.

Versions have files of their own, which are never changed by later ones, as the objects
on a cluster are not: whoever has an old version no more deletes its file.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from imagekit.cluster.names import (
    CURRENT_KIND,
    ENVIRONMENT,
    ENVIRONMENT_KIND,
    KIND,
    UNPINNED,
    VERSION,
)
from imagekit.cluster.yaml_text import yaml_stream, yaml_text
from imagekit.manifest_mark import MARK, is_manifest
from imagekit.task_errors import DeploymentError

Json: TypeAlias = Any

_INDEX = "kustomization.yaml"
#: What kustomize takes for it too; it refuses a folder with two of them.
_OTHERS = ("kustomization.yml", "Kustomization")


def check_folder(folder: Path, objects: Iterable[Json]) -> None:
    """Check that *objects* can be written into *folder*, which is made.

    Raises:
        DeploymentError: see :func:`write_manifests`.
    """
    with _told(folder):
        _check_all(folder, _files(objects))
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def write_manifests(folder: Path, objects: Iterable[Json]) -> tuple[Path, ...]:
    """Write *objects* into *folder*, and a ``kustomization.yaml`` that lists them.

    It lists files of earlier versions too, as long as they are there. Files that are
    as they should be are left alone, and so are all that imagekit did not write, and
    those of the same versions that have digests where *objects* have none.

    Returns:
        The files of *objects*, and the ``kustomization.yaml``.

    Raises:
        DeploymentError: somebody else's file has a name that is needed, or the folder
            can't be written to.
    """
    files = _files(objects)
    with _told(folder):
        _check_all(folder, files)
        for name, group in files.items():
            if not _is_kept(folder / name, group):
                _write(folder / name, yaml_stream(group))
        _write(folder / _INDEX, yaml_text(_index(folder)))
    return tuple(folder / name for name in (*files, _INDEX))


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DeploymentError(
            f"can't write manifests to {str(folder)!r}: {error.strerror}",
            hint="name another folder with --output",
        ) from error


def _check_all(folder: Path, names: Iterable[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*names, _INDEX, *_OTHERS):
        _check(folder / name)


def _is_kept(path: Path, group: Sequence[Json]) -> bool:
    """Return whether *path* is there with digests, which *group* is without."""
    if not path.exists() or not any(_is_unpinned(item) for item in group):
        return False
    text = path.read_text()
    if UNPINNED in text:
        return False
    if group[0]["metadata"]["labels"][KIND] != CURRENT_KIND:
        return True  # it is of just this version
    return text == _content(yaml_stream([_pinned(item) for item in group]))


def _is_unpinned(item: Json) -> bool:
    return UNPINNED in (item["metadata"].get("annotations") or {})


def _pinned(item: Json) -> Json:
    metadata = item["metadata"]
    annotations = {k: v for k, v in metadata["annotations"].items() if k != UNPINNED}
    return {**item, "metadata": {**metadata, "annotations": annotations}}


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
        if path.name != _INDEX and is_manifest(path)
    ]
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(ours),
    }


def _check(path: Path) -> None:
    if path.exists() and not is_manifest(path):
        raise DeploymentError(
            f"{str(path)!r} is there, and imagekit did not write it",
            hint="name a folder of its own with --output; a kustomization.yaml of "
            "yours can name that folder under 'resources'",
        )


def _content(text: str) -> str:
    return f"{MARK}\n{text}"


def _write(path: Path, text: str) -> None:
    content = _content(text).encode()
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
