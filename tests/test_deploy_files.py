"""Manifests in a folder, for Git; and the namespace that they are for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from imagekit.cluster.documents import EnvironmentDocument, ImageDocument
from imagekit.cluster.manifest_files import check_folder, write_manifests
from imagekit.cluster.manifests import current_object, environment_objects
from imagekit.cluster.names import UNPINNED
from imagekit.cluster.namespaces import namespace_of
from imagekit.cluster.pod_options import PodOptions
from imagekit.errors import SettingsError
from imagekit.initialization import Configuration
from imagekit.settings import load_settings
from imagekit.task_errors import DeploymentError


def manifests(version: str) -> list[Any]:
    document = EnvironmentDocument(
        name="env",
        version=version,
        code="",
        image=ImageDocument(
            reference="ghcr.io/x/y@sha256:0", python="python3", runtime="", code=""
        ),
        tasks=(),
    )
    return [*environment_objects(document, PodOptions()), current_object(document)]


def read(folder: Path) -> list[Any]:
    """Return the objects that the folder's kustomization lists."""
    index = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert index["kind"] == "Kustomization"
    return [
        item
        for name in index["resources"]
        for item in yaml.safe_load_all((folder / name).read_text())
    ]


def names(objects: list[Any]) -> set[str]:
    return {item["metadata"]["name"] for item in objects}


def test_a_folder_holds_what_would_be_applied(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"

    files = write_manifests(folder, manifests("1"))

    assert sorted(files) == sorted(folder.iterdir())
    assert sorted(map(str, read(folder))) == sorted(map(str, manifests("1")))


def test_the_same_again_changes_no_file(tmp_path: Path) -> None:
    first = write_manifests(tmp_path, manifests("1"))
    before = {path: path.stat() for path in tmp_path.iterdir()}

    assert write_manifests(tmp_path, manifests("1")) == first

    assert {path: path.stat().st_ino for path in tmp_path.iterdir()} == {
        path: found.st_ino for path, found in before.items()
    }


def test_earlier_versions_and_files_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "theirs.yaml").write_text("a: b\n")
    write_manifests(tmp_path, manifests("1"))

    write_manifests(tmp_path, manifests("2"))

    assert (tmp_path / "theirs.yaml").read_text() == "a: b\n"
    assert names(read(tmp_path)) == names([*manifests("1"), *manifests("2")])
    # Somebody has no use for the old version any more.
    (tmp_path / f"{manifests('1')[0]['metadata']['name']}.yaml").unlink()
    write_manifests(tmp_path, manifests("2"))
    assert names(read(tmp_path)) == names(manifests("2"))


def unpinned(version: str) -> list[Any]:
    found = manifests(version)
    for item in found:
        item["metadata"].setdefault("annotations", {})[UNPINNED] = "true"
    return found


def test_digests_are_not_lost_to_a_dry_run_of_the_same_version(tmp_path: Path) -> None:
    write_manifests(tmp_path, unpinned("1"))
    assert UNPINNED in str(read(tmp_path))
    write_manifests(tmp_path, manifests("1"))
    before = {path: path.read_text() for path in tmp_path.iterdir()}

    write_manifests(tmp_path, unpinned("1"))

    assert {path: path.read_text() for path in tmp_path.iterdir()} == before
    # Of another version, it is what is current.
    write_manifests(tmp_path, unpinned("2"))
    assert names(read(tmp_path)) == names([*manifests("1"), *manifests("2")])
    pointer = next(i for i in read(tmp_path) if "current" in i["metadata"]["name"])
    assert pointer["data"]["version"] == "2"


@pytest.mark.parametrize(
    "name", ["kustomization.yaml", "kustomization.yml", "Kustomization"]
)
@pytest.mark.parametrize("write", [write_manifests, check_folder])
def test_what_imagekit_did_not_write_is_not_written_over(
    tmp_path: Path, name: str, write: Callable[[Path, list[Any]], object]
) -> None:
    (tmp_path / name).write_text("resources: []\n")

    with pytest.raises(DeploymentError, match=f"{name}' is there"):
        write(tmp_path, manifests("1"))

    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_folder_that_can_not_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    for write in (write_manifests, check_folder):
        with pytest.raises(DeploymentError, match="can't write manifests"):
            write(tmp_path / "file" / "below", manifests("1"))


def test_the_folder_is_checked_before_anything_is_pushed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "main.py").write_text(
        "import imagekit\n"
        "env = imagekit.TaskEnvironment('env', image='ghcr.io/x/y:1')\n"
    )

    done = subprocess.run(
        [sys.executable, "-m", "imagekit", "deploy", "main.py", "--output", "file/x"],
        cwd=tmp_path,
        env={**os.environ, "IMAGEKIT_REGISTRY": "registry.invalid/team"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "can't write manifests to 'file/x'" in done.stderr


@pytest.mark.parametrize(
    ("setting", "project", "domain", "wanted"),
    [
        (None, None, None, None),
        ("team", None, None, "team"),
        ("team", "project", "domain", "team"),
        (None, "project", "domain", "project-domain"),
        (None, "project", None, "project"),
        (None, None, "domain", None),
    ],
)
def test_the_namespace_is_the_setting_else_project_and_domain(
    tmp_path: Path,
    setting: str | None,
    project: str | None,
    domain: str | None,
    wanted: str | None,
) -> None:
    settings = load_settings(start=tmp_path, arguments={"namespace": setting})
    configuration = Configuration(project=project, domain=domain)

    assert namespace_of(settings, configuration) == wanted


@pytest.mark.parametrize("name", ["Team", "a_b", "-a", "a" * 64, "a.b"])
def test_what_can_be_no_namespace_is_refused(tmp_path: Path, name: str) -> None:
    settings = load_settings(start=tmp_path, arguments={"namespace": name})
    with pytest.raises(SettingsError, match=r"'namespace' \(argument\)"):
        namespace_of(settings, Configuration())

    with pytest.raises(SettingsError, match=r"the project of init\(\)"):
        namespace_of(load_settings(start=tmp_path), Configuration(project=name))
