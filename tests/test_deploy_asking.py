"""What a cluster would refuse is told before anything is built."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import imagekit
from imagekit import PodTemplate, TaskEnvironment
from imagekit.bundle import bundle_root, code_bundle
from imagekit.cluster.api import Cluster
from imagekit.cluster.api_errors import InvalidError
from imagekit.deploying import Deploying
from imagekit.errors import ImageKitError
from imagekit.initialization import configuration


class Asked:
    """Access to a cluster that notes what it is asked, and refuses some of it."""

    namespace = "team"

    def __init__(self, refused: str = "\0") -> None:
        self.refused = refused
        self.requests: list[tuple[str, Any, Any]] = []

    def request(
        self, method: str, _path: str, body: Any, *, query: Any, **_options: Any
    ) -> Any:
        self.requests.append((method, body, query))
        if self.refused in json.dumps(body):
            raise InvalidError(f"no {self.refused!r}", status=422)
        return body


@pytest.fixture
def tasks() -> TaskEnvironment:
    env = TaskEnvironment("asked", image="ghcr.io/x/y:1")

    @env.task
    def one() -> None: ...

    @env.task
    def other() -> None: ...

    @env.task(pod_template=PodTemplate(pod_spec={"containrs": []}))
    def odd() -> None: ...

    return env


def carry_out(
    env: TaskEnvironment, api: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deploy *env*, until images would be built."""

    def built(*_arguments: object) -> None:
        raise StopIteration

    monkeypatch.setenv("IMAGEKIT_REGISTRY", "registry.invalid/x")
    access: Any = api  # it can do no more than is wanted here
    monkeypatch.setattr(Deploying, "cluster", lambda _self: Cluster(access))
    monkeypatch.setattr(Deploying, "push", built)
    configured = configuration()
    deploying = Deploying.of(
        code_bundle("loaded_modules", bundle_root()),
        settings=configured.settings(),
        configuration=configured,
    )
    deploying.carry_out(deploying.plan([env]))


def test_the_cluster_is_asked_for_each_kind_of_pod(
    tasks: TaskEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = Asked()

    with pytest.raises(StopIteration):
        carry_out(tasks, api, monkeypatch)

    kinds = sorted(body["kind"] for _, body, _ in api.requests)
    assert kinds == ["ConfigMap", "PodTemplate", "PodTemplate"]
    assert {method for method, _, _ in api.requests} == {"PATCH"}
    assert {query["dryRun"] for _, _, query in api.requests} == {"All"}


def test_what_it_refuses_is_told_before_anything_is_built(
    tasks: TaskEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidError, match="containrs") as caught:
        carry_out(tasks, Asked("containrs"), monkeypatch)

    origin = tasks.tasks["asked.odd"].origin
    assert caught.value.origin
    assert caught.value.origin.endswith(f"test_deploy_asking.py:{origin.line}")


@pytest.mark.parametrize("image", ["UPPER/Case:x y", "x y", "ghcr.io/x@sha256:0"])
def test_what_can_be_no_image_is_refused(image: str) -> None:
    env = TaskEnvironment("odd-image", image=image)

    with pytest.raises(ImageKitError) as caught:
        imagekit.deploy(env, dryrun=True)
    assert str(caught.value.origin) == str(env.origin)


def test_a_dry_run_says_that_a_deploy_would_have_no_registry(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(
        "import imagekit\nenv = imagekit.TaskEnvironment('env', image='ghcr.io/x/y')\n"
    )
    words = [sys.executable, "-m", "imagekit", "deploy", "main.py", "--dry-run"]

    done = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert "warning: no registry is known" in done.stderr
    assert "IMAGEKIT_REGISTRY" in done.stderr
