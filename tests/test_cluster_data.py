"""Large inputs and outputs on a cluster, and what else a pod is given."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import data_tasks as tasks
import pod_tasks
import pytest
from cluster_user import cluster_user
from machine.cluster import Cluster
from machine.object_store import BUCKET, KEY, SECRET, ObjectStore
from machine.state import UnsupportedMachineError

import imagekit
from imagekit.cluster import names
from imagekit.io import File
from imagekit.task_errors import InlineIOMaxBytesBreached

#: Bytes; objects of the API take less than 2 MB.
LARGE = 3 << 20

pytestmark = pytest.mark.engine


@pytest.fixture
def namespace(
    cluster: Cluster, registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Make this process that of a user with the least rights; return the namespace."""
    with cluster_user(cluster, registry, tmp_path) as environ:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        yield environ["NAMESPACE"]


@pytest.fixture
def object_store(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ObjectStore]:
    """Start a store that pods reach, and whose keys are in the namespace."""
    bridge = cluster.engine.docker(
        *("network", "inspect", "bridge"),
        *("--format", "{{(index .IPAM.Config 0).Gateway}}"),
    )
    try:
        started = ObjectStore(bridge.strip())
    except UnsupportedMachineError as error:
        pytest.skip(f"this machine can't be set up: {error}")
    with started:
        for name, value in started.variables.items():
            monkeypatch.setenv(name, value)
        create(
            cluster,
            namespace,
            "secrets",
            "store",
            stringData={"id": KEY, "key": SECRET},
        )
        yield started


def create(cluster: Cluster, namespace: str, kind: str, name: str, **rest: Any) -> None:
    cluster.request(
        "POST",
        f"/api/v1/namespaces/{namespace}/{kind}",
        {"metadata": {"name": name}, **rest},
    )


def run(task: Any, *inputs: Any, **settings: Any) -> Any:
    found: Any = imagekit.with_runcontext(mode="remote", **settings).run(task, *inputs)
    found.wait()
    return found.outputs()


def test_through_an_object_store(
    object_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = random.Random("input").randbytes(LARGE)
    (tmp_path / "input").write_bytes(content)
    path = f"s3://{BUCKET}/{os.urandom(4).hex()}"
    variables = {"AWS_ENDPOINT_URL": object_store.url}

    found = run(
        tasks.there_and_back,
        File.from_local(tmp_path / "input"),
        raw_data_path=path,
        env_vars=variables,
    )

    assert Path(found.file).read_bytes() == content
    there = tasks.made(LARGE, str(tmp_path / "same"))
    there.file = found.file
    assert tasks.digest(found) == tasks.digest(there)


@pytest.fixture
def claim(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Path]:
    """Make the claim ``data``; return the folder that its volume is."""
    folder = tmp_path / "volume"
    (folder / "some").mkdir(parents=True)
    size = {"storage": "1Gi"}
    common = {"storageClassName": "", "accessModes": ["ReadWriteMany"]}
    path = "/api/v1/persistentvolumes"
    volume = {
        **common,
        "capacity": size,
        "persistentVolumeReclaimPolicy": "Retain",
        "hostPath": {"path": str(folder), "type": "Directory"},
        "claimRef": {"namespace": namespace, "name": "data"},
    }
    metadata = {"name": namespace}
    cluster.request("POST", path, {"metadata": metadata, "spec": volume})
    spec = {**common, "volumeName": namespace, "resources": {"requests": size}}
    create(cluster, namespace, "persistentvolumeclaims", "data", spec=spec)
    yield folder
    cluster.request("DELETE", f"{path}/{namespace}")


def test_between_pods_on_a_claim(claim: Path, tmp_path: Path) -> None:
    found = run(tasks.between_pods, LARGE, raw_data_path="pvc://data/some")

    assert found == tasks.digest(tasks.made(LARGE, str(tmp_path / "same")))
    kept = [path for path in (claim / "some").rglob("*") if path.is_file()]
    # Two of the three kinds have the same name for what is the same.
    assert sorted(path.stat().st_size >> 20 for path in kept) == [3, 3, 3, 3]


def test_without_a_place_they_are_refused(namespace: str, tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(random.Random(1).randbytes(LARGE))

    with pytest.raises(InlineIOMaxBytesBreached) as here:
        run(tasks.there_and_back, File.from_local(tmp_path / "input"))
    with pytest.raises(InlineIOMaxBytesBreached) as there:
        run(tasks.between_pods, LARGE)

    for error in (here.value, there.value):
        assert "raw_data_path" in str(error.hint)


def test_memory_does_not_grow_with_the_data(claim: Path, cluster: Cluster) -> None:
    """What a pod may have in all is less than what its task returns."""
    found = run(tasks.copies, 200 << 20, raw_data_path="pvc://data/some")

    assert found == 200 << 20


def test_a_pod_is_given_what_was_asked_for(namespace: str, cluster: Cluster) -> None:
    # Its definition says which registry, so it is read when that is known.
    words = (
        "run",
        pod_tasks.__file__,
        "look_around",
        "--mode",
        "remote",
        "--name",
        "around",
    )
    done = subprocess.run(
        [sys.executable, "-m", "imagekit", *words, "--json"],
        capture_output=True,
        text=True,
        timeout=200,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["tree"]["outputs"]
    assert dict(found["variables"]) == {**pod_tasks.ODD, "FROM_TEMPLATE": "yes"}
    assert found["workdir"] == "/srv/work"
    assert found["shm_kind"] == "tmpfs"
    # An engine gives 64 MB of its own accord.
    assert found["shm"] >= 128 << 20
    assert found["between"] == ["init", "seen", "side"]
    pods = cluster.request("GET", f"/api/v1/namespaces/{namespace}/pods")["items"]
    (pod,) = pods
    assert pod["metadata"]["labels"]["team"] == "test"
    assert pod["metadata"]["labels"][names.RUN] == "around"
    assert pod["metadata"]["annotations"]["example.com/note"] == "any $(text)"
    assert [item["name"] for item in pod["spec"]["containers"]] == ["main", "beside"]
