"""What a deployment would be: worked out anywhere, the same everywhere."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import imagekit
from imagekit import Image, TaskEnvironment
from imagekit.bundle import bundle_root, code_bundle
from imagekit.deploying import Deploying
from imagekit.initialization import configuration
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
    return printed(_PRINT, folder, **environ)


def printed(script: str, folder: Path, **environ: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
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


def test_a_version_is_the_same_by_way_of_a_link(project: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(project)
    # The root is the link, while the module was imported from where that leads.
    script = _PRINT.replace(
        "root_dir=sys.argv[1]", "root_dir=sys.argv[1].replace('project', 'link')"
    )

    assert printed(script, project) == deployed(project)


_PROGRAM = """\
import dataclasses
import imagekit

@dataclasses.dataclass
class Options:
    size: int = 1

env = imagekit.TaskEnvironment("program", image="ghcr.io/x/y:1")

@env.task(cache="auto")
def step(options: Options = Options()) -> Options:
    return options

if __name__ == "__main__":
    found, = imagekit.deploy(env, dryrun=True)
    print(found.version)
"""


def test_a_version_is_the_same_for_a_program_and_its_module(project: Path) -> None:
    (project / "program.py").write_text(_PROGRAM)
    run = subprocess.run(
        [sys.executable, "program.py"],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
    )

    found = cli(project, "deploy", "program.py", "--dry-run", "--json")
    assert run.stdout.split() == [found["deployments"][0]["version"]]


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


@pytest.mark.parametrize(
    ("name", "value"),
    [("SERVICE_ACCOUNT", "robot"), ("PULL_SECRETS", "login"), ("REGISTRY", "other.io")],
)
def test_what_changes_pods_is_another_version(
    project: Path, name: str, value: str
) -> None:
    before = deployed(project)

    assert deployed(project, **{f"IMAGEKIT_{name}": value})[0] != before[0]
    # Where they are is no part of what they are.
    assert deployed(project, IMAGEKIT_NAMESPACE="elsewhere") == before


def test_a_dry_run_touches_nothing(project: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    program = """
import os, socket, subprocess, sys
def refuse(*args, **kwargs): raise AssertionError("a dry run touched the world")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
subprocess.Popen.__init__ = refuse
def watch(event, args):
    # A write: a way to open that may change a file, or another change of a folder.
    if event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        refuse()
    if event in ("os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink"):
        refuse()
sys.dont_write_bytecode = True
sys.addaudithook(watch)
from imagekit.cli import main
sys.exit(main(["deploy", "module.py", "--dry-run"]))
"""
    environ = {
        "HOME": str(home),
        "KUBECONFIG": "/nowhere",
        "IMAGEKIT_REGISTRY": "registry.invalid/team",
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=project,
        env={**os.environ, **environ},
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = list(yaml.safe_load_all(done.stdout))
    assert [item["kind"] for item in found] == [
        *("ConfigMap", "PodTemplate") * 2,
        *("ConfigMap",) * 2,
    ]
    assert not list(home.iterdir())


def test_manifests_name_images_by_tags_that_are_not_pinned(project: Path) -> None:
    found = cli(project, "deploy", "module.py", "--dry-run", "--json")

    (deployment,) = found["deployments"]
    assert deployment["version"] == deployed(project)[0]
    assert set(deployment["images"]) == {"env", "base"}
    for item in found["manifests"]:
        assert item["metadata"]["annotations"]["imagekit/unpinned"] == "true"
        for container in item.get("template", {}).get("spec", {}).get("containers", ()):
            assert container["image"] in deployment["images"].values()


def test_defaults_go_along_where_they_can(project: Path) -> None:
    module = project / "module.py"
    text = module.read_text()
    text = text.replace("number: int", "number: int = 3, at: Path = Path('x')")
    module.write_text(f"from pathlib import Path\n{text}")

    found = cli(project, "deploy", "module.py", "--dry-run", "--json")

    documents = [
        json.loads(item["data"]["document.json"])
        for item in found["manifests"]
        if "document.json" in item.get("data", {})
    ]
    (task,) = next(item for item in documents if item["name"] == "base")["tasks"]
    assert task["defaults"]["number"] == 3
    assert task["origin"].startswith("module.py:")
    assert (task["module"], task["called"]) == ("module", "module")


def test_no_value_of_a_secret_is_in_a_manifest(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "value-of-the-secret")
    module = project / "module.py"
    module.write_text(
        module.read_text().replace(
            "depends_on=[base],",
            'depends_on=[base], secrets=[imagekit.Secret("TOKEN", as_env_var="TOKEN")],',
        )
    )

    found = cli(project, "deploy", "module.py", "--dry-run", "--json")

    assert "TOKEN" in json.dumps(found)
    assert "value-of-the-secret" not in json.dumps(found)


def test_the_namespace_is_in_manifests_if_it_was_named(project: Path) -> None:
    words = ("deploy", "module.py", "--dry-run", "--json")

    def namespaces(**environ: str) -> set[str | None]:
        found = cli(project, *words, **environ)
        return {item["metadata"].get("namespace") for item in found["manifests"]}

    assert namespaces() == {None}
    assert namespaces(IMAGEKIT_NAMESPACE="team") == {"team"}


def test_environments_are_chosen_by_name(project: Path) -> None:
    words = ("deploy", "module.py", "--dry-run", "--json")

    def roots(*names: str) -> list[str]:
        found = cli(project, *words, *names)
        return [item["name"] for item in found["deployments"]]

    assert roots() == ["env"]
    assert roots("base") == ["base"]
    assert roots("base", "env") == ["base", "env"]
    done = subprocess.run(
        [sys.executable, "-m", "imagekit", "deploy", "module.py", "bas", "--dry-run"],
        capture_output=True,
        text=True,
        check=False,
        cwd=project,
    )
    assert done.returncode == 1
    assert "no environment 'bas'" in done.stderr
    assert "'base'" in done.stderr


def cli(folder: Path, *words: str, **environ: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "imagekit", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, **environ},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


_TWICE = """\
from imagekit import TaskEnvironment

one = TaskEnvironment("env", image="ghcr.io/x/y:1")
two = TaskEnvironment("env", image="ghcr.io/x/y:2")
on_top = TaskEnvironment("on-top", image="ghcr.io/x/y:1", depends_on=[one])
other = TaskEnvironment("other", image="ghcr.io/x/y:1")
"""


@pytest.mark.parametrize("name", ["env", "one", "two", "on-top"])
def test_a_name_that_two_environments_have_is_refused(project: Path, name: str) -> None:
    (project / "twice.py").write_text(_TWICE)
    words = [sys.executable, "-m", "imagekit", "deploy", "twice.py", "--dry-run"]

    done = subprocess.run(
        [*words, name], capture_output=True, text=True, check=False, cwd=project
    )
    assert done.returncode == 1
    assert "two environments are called 'env'" in done.stderr
    assert "twice.py:3" in done.stderr
    assert "twice.py:4" in done.stderr
    cli(project, *words[3:], "other", "--json")


def test_what_is_current_is_the_same_in_any_order() -> None:
    image = Image.from_base("ghcr.io/x/y:1")
    base = TaskEnvironment("shared", image=image)
    roots = [
        TaskEnvironment(f"root-{number}", image=image, depends_on=[base])
        for number in range(4)
    ]

    def current(*environments: TaskEnvironment) -> dict[str, str]:
        # As the command does it: all of them in one go.
        configured = configuration()
        deploying = Deploying.of(
            code_bundle("loaded_modules", bundle_root()),
            settings=configured.settings(),
            configuration=configured,
        )
        plans = deploying.plan(environments)
        own = {plan.environments[0].name: plan.version for plan in plans}
        found = {
            item["metadata"]["labels"]["imagekit/environment"]: item["data"]["version"]
            for item in deploying.manifests(plans, pinned=False)
            if item["metadata"]["name"].startswith("ik-current-")
        }
        assert found == {**found, **own}
        return found

    wanted = current(*roots)
    assert wanted["shared"] in {wanted[root.name] for root in roots}
    assert current(*roots[::-1]) == wanted
    assert current(*roots[2:], *roots[:2]) == wanted
    assert current(base, *roots)["shared"] == current(base)["shared"]


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


def test_an_environment_that_is_too_large_is_told_with_its_line() -> None:
    env = TaskEnvironment("large", image="ghcr.io/x/y:1", description="x" * 2**20)

    with pytest.raises(DeploymentError, match="'large' is too large") as caught:
        imagekit.deploy(env, dryrun=True)
    assert caught.value.origin == str(env.origin)


@pytest.mark.parametrize("version", ["", 5, "v\udcff"])
def test_what_is_no_version_is_refused(version: Any) -> None:
    env = TaskEnvironment("alone", image="ghcr.io/x/y:1")

    with pytest.raises(DeploymentError, match="wanted a version that is a text"):
        imagekit.deploy(env, dryrun=True, version=version)


def test_what_is_no_environment_is_refused() -> None:
    with pytest.raises(DeploymentError, match="wanted environments"):
        imagekit.deploy(Image.from_base("x"), dryrun=True)  # type: ignore[arg-type]
    with pytest.raises(DeploymentError, match="found none"):
        imagekit.deploy(dryrun=True)


def test_a_deploy_without_a_registry_says_so() -> None:
    env = TaskEnvironment("alone", image="ghcr.io/x/y:1")

    with pytest.raises(InitializationError, match=r"no registry.*'alone'"):
        imagekit.deploy(env)
    with pytest.raises(InitializationError):
        asyncio.run(imagekit.deploy.aio(env))


def test_a_deploy_without_a_cluster_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("IMAGEKIT_REGISTRY", "registry.invalid/x")
    env = TaskEnvironment("alone", image="ghcr.io/x/y:1")

    with pytest.raises(InitializationError, match="wanted a kubeconfig"):
        imagekit.deploy(env)
