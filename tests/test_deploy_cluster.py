"""Deployments on a cluster: what is applied, when, and what is left alone."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from machine import debian_base
from machine.cluster import Cluster as Machine
from machine.push import push_layout
from machine.registry import Registry

import imagekit
from imagekit.bundle import code_bundle
from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.applying import Applied, apply_objects
from imagekit.cluster.documents import (
    DOCUMENT,
    EnvironmentDocument,
    ImageDocument,
    RunDocument,
)
from imagekit.cluster.kubeconfig import client_api
from imagekit.cluster.manifests import config_map, current_object, environment_objects
from imagekit.cluster.pod_options import PodOptions
from imagekit.cluster.pruning import Pruning
from imagekit.cluster.role import client_rules
from imagekit.deployment_documents import environment_document, with_version
from imagekit.task_environment import TaskEnvironment

pytestmark = pytest.mark.engine

_ROOT = Path(__file__).parent.parent
_MODULE = """\
from imagekit import Image, Resources, TaskEnvironment

leaf = TaskEnvironment("leaf", image="{base}")
top = TaskEnvironment(
    "top",
    image=Image.from_base("{base}").clone(name="top").with_env_vars({{"A": "1"}}),
    resources=Resources(cpu=1, memory="64Mi"),
    depends_on=[leaf],
)

@leaf.task
def double(number: int = 3) -> int:
    return 2 * number

@top.task(retries=1)
async def total(numbers: list[int]) -> int:
    return sum([double(item) for item in numbers])
"""


@pytest.fixture
def namespace(cluster: Machine) -> Iterator[str]:
    with cluster.namespace() as name:
        yield name


@pytest.fixture
def client(cluster: Machine, namespace: str) -> Cluster:
    """Return access with the rights of the documented Role, and no more."""
    config = cluster.user(namespace, client_rules())
    return Cluster(client_api(kubeconfig=str(config)))


@dataclass
class Project:
    """A project of a user, who deploys it with the command."""

    folder: Path
    server: Registry

    @property
    def base(self) -> str:
        return f"{self.server.address}/{debian_base.NAME}:{debian_base.TAG}"

    def edit(self, old: str, new: str) -> None:
        file = self.folder / "pipeline.py"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def command(
        self, *words: str, good: bool = True
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "imagekit", *words],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode == 0) is good, done.stderr
        return done

    def deploy(self, *words: str) -> dict[str, Any]:
        done = self.command("deploy", "pipeline.py", "--json", *words)
        document: dict[str, Any] = json.loads(done.stdout)
        return document


@pytest.fixture
def project(
    cluster: Machine,
    namespace: str,
    empty_registry: Callable[..., Registry],
    base_layout: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Project:
    server = empty_registry()
    push_layout(base_layout, server.address, debian_base.NAME, debian_base.TAG)
    config = cluster.user(namespace, client_rules())
    monkeypatch.setenv("IMAGEKIT_KUBECONFIG", str(config))
    monkeypatch.setenv("IMAGEKIT_REGISTRY", f"{server.address}/team")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("")
    found = Project(folder, server)
    (folder / "pipeline.py").write_text(_MODULE.format(base=found.base))
    return found


def outcomes(document: dict[str, Any]) -> list[str]:
    return [item["outcome"] for item in document["objects"]]


@pytest.mark.alone
def test_a_project_is_deployed_again_and_again(
    project: Project, client: Cluster
) -> None:
    first = project.deploy()

    assert outcomes(first) == ["created"] * 6
    (deployment,) = first["deployments"]
    assert deployment["environments"] == ["top", "leaf"]
    assert all("@sha256:" in image for image in deployment["images"].values())
    current = client.get("ConfigMap", names.current_name("top"))
    assert current["data"]["version"] == deployment["version"]
    described = client.get("ConfigMap", current["data"]["environment"])
    document = EnvironmentDocument.from_json(json.loads(described["data"][DOCUMENT]))
    assert document.image.reference == deployment["images"]["top"]
    template = client.get("PodTemplate", document.tasks[0].template)
    container = template["template"]["spec"]["containers"][0]
    assert container["image"] == document.image.reference

    # Unchanged: nothing is uploaded, nothing is applied.
    before = objects(client)
    log = project.server.log.stat().st_size
    again = project.deploy()
    assert outcomes(again) == ["unchanged"] * 6
    assert again["uploaded"] == 0
    assert objects(client) == before
    with project.server.log.open() as lines:
        lines.seek(log)
        assert not [line for line in lines if '"PUT ' in line or '"POST ' in line]
    assert again["deployments"] == first["deployments"]
    said = project.command("deploy", "pipeline.py")
    assert said.stdout == f"top@{deployment['version']}\n"
    assert "no upload, objects: 6 unchanged" in said.stderr

    # One function edited: little is uploaded, quickly, and the old version stays.
    seconds: list[float] = []
    for number in range(6):
        if seconds and min(seconds) < 2:
            break  # whatever else the machine was busy with before
        project.edit(f"{number + 2} * number", f"{number + 3} * number")
        began = time.monotonic()
        edited = project.deploy()
        seconds.append(time.monotonic() - began)
        assert 0 < edited["uploaded"] < 100_000
        assert sorted(outcomes(edited)) == ["changed"] * 2 + ["created"] * 4
    assert min(seconds) < 2
    said = project.command("deploy", "pipeline.py", "top", "--version", "v1")
    assert said.stdout == "top@v1\n"
    assert "created PodTemplate ik-task-" in said.stderr
    assert client.get("ConfigMap", described["metadata"]["name"]) == described
    assert client.get("PodTemplate", template["metadata"]["name"]) == template


def test_a_dry_run_shows_what_would_be_applied(
    project: Project, client: Cluster
) -> None:
    dry = project.deploy("--dry-run")
    done = project.deploy()

    assert dry["dry_run"]
    assert [item["version"] for item in dry["deployments"]] == [
        item["version"] for item in done["deployments"]
    ]
    for item in dry["manifests"]:
        found = client.get(item["kind"], item["metadata"]["name"])
        assert item["metadata"]["labels"] == found["metadata"]["labels"]
        # The server takes them as they are, and the images are there by their tags.
        client.apply(item, dry_run=True)
        for container in pod_spec(item).get("containers", ()):
            assert ":deployed-" in container["image"]


def test_what_is_written_for_git_is_what_would_be_applied(
    project: Project, client: Cluster, tmp_path: Path
) -> None:
    import yaml

    folder = tmp_path / "manifests"
    written = project.deploy("--output", str(folder))
    assert not list(client.list("ConfigMap", names.selector()))

    index = yaml.safe_load((folder / "kustomization.yaml").read_text())
    listed = [
        item
        for file in index["resources"]
        for item in yaml.safe_load_all((folder / file).read_text())
    ]
    for item in listed:
        client.apply(item)
    done = project.deploy()

    assert outcomes(done) == ["unchanged"] * 6
    assert done["deployments"] == written["deployments"]


def test_what_imagekit_does_not_manage_is_left_alone(
    project: Project, client: Cluster
) -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": names.current_name("leaf")},
        "data": {"a": "b"},
    }
    client.create(theirs)

    done = project.command("deploy", "pipeline.py", good=False)

    assert "'ik-current-leaf'" in done.stderr
    assert "does not manage" in done.stderr
    assert client.get("ConfigMap", "ik-current-leaf")["data"] == {"a": "b"}
    assert not list(client.list("PodTemplate"))


def test_a_namespace_that_is_not_there_is_told_before_anything_is_built(
    project: Project, monkeypatch: pytest.MonkeyPatch, cluster: Machine
) -> None:
    monkeypatch.setenv("IMAGEKIT_KUBECONFIG", str(cluster.kubeconfig))
    monkeypatch.setenv("IMAGEKIT_NAMESPACE", "no-such-namespace")

    done = project.command("deploy", "pipeline.py", good=False)

    assert "no namespace 'no-such-namespace'" in done.stderr
    assert "/team/" not in project.server.log.read_text()


def test_what_was_deployed_is_told(project: Project, client: Cluster) -> None:
    one = TaskEnvironment("one", image=project.base)
    other = TaskEnvironment("other", image=project.base, depends_on=[one])

    deployed, alone = imagekit.deploy(other, one, copy_style="none", version="7")

    assert (deployed.version, deployed.dryrun) == ("7", False)
    assert list(deployed.envs) == ["other", "one"]
    assert deployed.images["one"] == deployed.images["other"] == alone.images["one"]
    assert "@sha256:" in deployed.images["one"]
    kinds = [item["metadata"]["name"] for item in deployed.manifests]
    assert kinds == [item.name for item in deployed.applied]
    assert len(kinds) == 4
    for item in deployed.manifests:
        assert (
            client.get(item["kind"], item["metadata"]["name"])["data"] == item["data"]
        )
    (again, _) = imagekit.deploy(other, one, copy_style="none", version="7")
    assert {item.outcome for item in again.applied} == {"unchanged"}


def documents(version: str, *, code: str = "0") -> EnvironmentDocument:
    """Return an environment with two tasks, as deployed."""
    environment = TaskEnvironment("pair", image="ghcr.io/x/y:1")
    for function in (_one, _two):
        environment.task(function)
    image = ImageDocument(
        reference=f"ghcr.io/x/y@sha256:{code * 64}",
        python="python3",
        runtime="",
        code="",
    )
    bundle = code_bundle("none", _ROOT)
    return with_version(environment_document(environment, image, bundle), version)


def _one(number: int) -> int:
    return number


def _two(number: int) -> int:
    return number


def manifests(version: str, **options: str) -> list[Any]:
    document = documents(version, **options)
    return [*environment_objects(document, PodOptions()), current_object(document)]


def objects(client: Cluster) -> dict[str, str]:
    """Return all that imagekit manages, with its resource versions."""
    return {
        f"{kind}/{item['metadata']['name']}": item["metadata"]["resourceVersion"]
        for kind in ("ConfigMap", "PodTemplate")
        for item in client.list(kind, names.selector(), metadata=True)
    }


def pod_spec(item: Any) -> dict[str, Any]:
    spec: dict[str, Any] = item.get("template", {}).get("spec", {})
    return spec


def current(client: Cluster) -> str:
    version: str = client.get("ConfigMap", "ik-current-pair")["data"]["version"]
    return version


class Breaking(Cluster):
    """Breaks off before it applies an object of some kind."""

    def __init__(self, client: Cluster, purpose: str) -> None:
        super().__init__(client.api)
        self._purpose = purpose

    def apply(self, obj: Any, **options: Any) -> Any:
        if obj["metadata"]["labels"][names.KIND] == self._purpose:
            raise ConnectionError("the client went away")
        return super().apply(obj, **options)


@pytest.mark.parametrize(
    "purpose", [names.TEMPLATE_KIND, names.ENVIRONMENT_KIND, names.CURRENT_KIND]
)
def test_a_deploy_that_breaks_off_leaves_what_was_current(
    client: Cluster, purpose: str
) -> None:
    apply_objects(client, manifests("1"))

    with pytest.raises(ConnectionError):
        apply_objects(Breaking(client, purpose), manifests("2"))
    assert current(client) == "1"

    # And the next one goes on where it broke off.
    apply_objects(client, manifests("2"))
    assert current(client) == "2"
    assert {item.outcome for item in apply_objects(client, manifests("2"))} == {
        "unchanged"
    }


def test_deploys_at_once_end_with_one_of_them(client: Cluster) -> None:
    results: dict[str, tuple[Applied, ...]] = {}
    start = threading.Barrier(4)

    def deploy(version: str, key: str) -> None:
        start.wait(30)
        results[key] = apply_objects(client, manifests(version))

    threads = [
        threading.Thread(target=deploy, args=(version, f"{version}{number}"))
        for version in ("1", "2")
        for number in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(results) == 4
    assert current(client) in {"1", "2"}
    for version in ("1", "2"):
        for item in manifests(version)[:-1]:
            found = client.get(item["kind"], item["metadata"]["name"])
            assert found.get("data") == item.get("data")


def test_the_same_version_with_other_content_is_changed(client: Cluster) -> None:
    apply_objects(client, manifests("v1"))

    done = apply_objects(client, manifests("v1", code="1"))

    assert [item.outcome for item in done] == ["changed"] * 3 + ["unchanged"]


class Pruned(Cluster):
    """Has a template pruned by somebody else, just before a version is current."""

    lost: str = ""

    def apply(self, obj: Any, **options: Any) -> Any:
        if obj["metadata"]["labels"][names.KIND] == names.CURRENT_KIND:
            self.lost = manifests("1")[1]["metadata"]["name"]
            self.delete("PodTemplate", self.lost, missing_ok=False)
        return super().apply(obj, **options)


def test_what_is_pruned_meanwhile_is_applied_again(client: Cluster) -> None:
    apply_objects(client, manifests("1"))
    apply_objects(client, manifests("2"))
    pruned = Pruned(client.api)

    done = apply_objects(pruned, manifests("1"))

    assert current(client) == "1"
    assert client.find("PodTemplate", pruned.lost) is not None
    (again,) = [item for item in done if item.name == pruned.lost]
    assert again.outcome == "created"


def versions(client: Cluster) -> set[str]:
    found = client.list("ConfigMap", names.selector(kind=names.ENVIRONMENT_KIND))
    templates = client.list("PodTemplate", names.selector())
    described = {item["metadata"]["labels"][names.VERSION] for item in found}
    assert described == {
        item["metadata"]["labels"][names.VERSION] for item in templates
    }
    return described


def pruning(client: Cluster, **options: Any) -> Pruning:
    values: dict[str, Any] = {"keep": 1, "older_than": -60.0, "runs": False}
    return Pruning(client, **{**values, "now": time.time(), **options})


def run_object(client: Cluster, name: str, version: str) -> Any:
    document = RunDocument(
        name=name,
        task="pair._one",
        version=version,
        environments={"pair": names.environment_name("pair", version)},
        started=time.time(),
    )
    return client.create(
        config_map(
            names.run_name(name),
            kind=names.RUN_KIND,
            labels={names.RUN: name},
            data={DOCUMENT: json.dumps(document.to_json())},
        )
    )


def result_object(client: Cluster, name: str) -> None:
    call = names.call_name(name, "a0", 0)
    client.create(
        config_map(
            names.result_name(call),
            kind=names.RESULT_KIND,
            labels={names.RUN: name, names.ACTION: "a0"},
            data={},
        )
    )


def test_old_versions_are_pruned_that_nobody_uses(client: Cluster) -> None:
    for version in ("1", "2", "3", "4"):
        apply_objects(client, manifests(version))
    # Back to an old one: it is current, though not the newest.
    apply_objects(client, manifests("1"))
    run_object(client, "going", "2")
    theirs = manifests("3")[0]
    theirs["metadata"]["name"] = "not-ours"
    del theirs["metadata"]["labels"][names.MANAGED_BY]
    client.create(theirs)

    said = pruning(client).prune(dry_run=True)
    assert versions(client) == {"1", "2", "3", "4"}
    assert not pruning(client, older_than=3600.0).prune()
    assert not pruning(client, keep=4).prune()
    done = pruning(client).prune()

    assert said == done
    assert [(item.what, item.name, item.version) for item in done] == [
        ("version", "pair", "3")
    ]
    assert versions(client) == {"1", "2", "4"}
    assert client.find("ConfigMap", "not-ours") is not None
    assert not pruning(client).prune()

    result_object(client, "going")
    assert [item.version for item in pruning(client).prune()] == ["2"]
    # What is current was never gone.
    assert {item.outcome for item in apply_objects(client, manifests("1"))} == {
        "unchanged"
    }


def test_runs_that_are_over_are_pruned_with_what_they_own(client: Cluster) -> None:
    over, going = (run_object(client, name, "1") for name in ("over", "going"))
    result_object(client, "over")

    assert not pruning(client).prune()
    assert not pruning(client, runs=True, older_than=3600.0).prune()
    (done,) = pruning(client, runs=True).prune()

    assert (done.what, done.name) == ("run", "over")
    assert client.find("ConfigMap", over["metadata"]["name"]) is None
    assert client.find("ConfigMap", going["metadata"]["name"]) is not None
    # Long after it began, without a Job, it is over too.
    later = time.time() + 7200
    (done,) = pruning(client, runs=True, older_than=3700.0, now=later).prune()
    assert done.name == "going"


def test_the_command_prunes(project: Project, client: Cluster) -> None:
    for number in range(3):
        project.edit(f"{number + 2} * number", f"{number + 3} * number")
        project.deploy()
    words = ("prune", "--keep", "1", "--older-than", "0s")

    said = project.command(*words, "--dry-run").stdout.splitlines()
    done = project.command(*words).stdout.splitlines()

    assert [line.removeprefix("would delete ") for line in said] == [
        line.removeprefix("deleted ") for line in done
    ]
    # Two versions of two environments.
    assert len(done) == 4
    assert len(versions(client)) == 1
    assert "nothing to delete" in project.command(*words).stderr
