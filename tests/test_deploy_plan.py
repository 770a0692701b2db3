"""What a deployment would be: worked out anywhere, the same everywhere."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import imagekit
from imagekit import Image, TaskEnvironment
from imagekit.task_errors import DeploymentError, InitializationError

_MODULE = """\
import imagekit
from imagekit import Image, Resources, TaskEnvironment

base = TaskEnvironment("base", image=Image.from_base("ghcr.io/x/y:1"))
env = TaskEnvironment(
    "env",
    image=Image.from_debian_base(python_version=(3, 11), name="x").with_source_file("data.txt"),
    resources=Resources(cpu=1, memory="1Gi"),
    depends_on=[base],
)
TAGS = {"a", "b", "c", "d"}

@base.task
def first(number: int) -> int:
    return number

@env.task(cache="auto", retries=2)
async def second(names: list[str]) -> dict[str, int]:
    return {name: len(TAGS) for name in names}
"""
_PRINT = """
import sys
sys.path.insert(0, sys.argv[1])
import imagekit, module
imagekit.init(root_dir=sys.argv[1])
found, = imagekit.deploy(module.env, dryrun=True)
print(found.version, *found.envs, *found.tasks)
"""


def deployed(folder: Path, **environ: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _PRINT, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environ},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "module.py").write_text(_MODULE)
    (folder / "data.txt").write_text("data")
    return folder


def test_a_version_is_the_same_everywhere(project: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "checkout"
    shutil.copytree(project, elsewhere)
    (elsewhere / "module.py").touch()

    first = deployed(project, PYTHONHASHSEED="1")
    second = deployed(elsewhere, PYTHONHASHSEED="2")

    assert first == second
    assert first[1:] == ["env", "base", "env.second", "base.first"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return number", "return number + 1"),
        ('memory="1Gi"', 'memory="2Gi"'),
        ("retries=2", "retries=3"),
        ("ghcr.io/x/y:1", "ghcr.io/x/y:2"),
        ("list[str]", "list[int]"),
    ],
    ids=["code", "resources", "retries", "image", "signature"],
)
def test_another_definition_is_another_version(
    project: Path, old: str, new: str
) -> None:
    before = deployed(project)
    module = project / "module.py"
    assert old in _MODULE
    module.write_text(_MODULE.replace(old, new))

    assert deployed(project)[0] != before[0]


def test_another_file_in_an_image_is_another_version(project: Path) -> None:
    before = deployed(project)
    (project / "data.txt").write_text("other")

    assert deployed(project)[0] != before[0]


def test_no_code_needs_a_version() -> None:
    env = TaskEnvironment("alone", image="ghcr.io/x/y:1")

    with pytest.raises(DeploymentError, match="wanted a version"):
        imagekit.deploy(env, dryrun=True, copy_style="none")

    (found,) = imagekit.deploy(env, dryrun=True, copy_style="none", version="v1")
    assert found.version == "v1"
    assert found.images == {"alone": "ghcr.io/x/y:1"}
    assert found.summary_repr() == "alone: 0 tasks, version v1"


def test_two_environments_of_one_name_are_refused() -> None:
    one = TaskEnvironment("twice", image="ghcr.io/x/y:1")
    other = TaskEnvironment("twice", image="ghcr.io/x/z:1")
    root = TaskEnvironment("root", image="ghcr.io/x/y:1", depends_on=[one])
    root.add_dependency(TaskEnvironment("between", depends_on=[other]))

    with pytest.raises(DeploymentError, match=r"'twice'.*test_deploy_plan\.py:\d+"):
        imagekit.deploy(root, dryrun=True, copy_style="none", version="1")


def test_what_is_no_environment_is_refused() -> None:
    with pytest.raises(DeploymentError, match="wanted environments"):
        imagekit.deploy(Image.from_base("x"), dryrun=True)  # type: ignore[arg-type]
    with pytest.raises(DeploymentError, match="found none"):
        imagekit.deploy(dryrun=True)


def test_a_deploy_without_a_cluster_says_so() -> None:
    env = TaskEnvironment("alone", image="ghcr.io/x/y:1")

    with pytest.raises(InitializationError, match="no cluster"):
        imagekit.deploy(env)
    with pytest.raises(InitializationError):
        asyncio.run(imagekit.deploy.aio(env))
