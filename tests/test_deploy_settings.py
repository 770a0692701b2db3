"""What settings say of pods gets into their templates, if Kubernetes takes it."""

from __future__ import annotations

from typing import Any

import pytest

import imagekit
from imagekit import Resources, Secret, TaskEnvironment
from imagekit.errors import SettingsError
from imagekit.task_errors import DeploymentError


@pytest.fixture(autouse=True)
def clean() -> Any:
    yield
    imagekit.init()


def pod_of(env: TaskEnvironment, **settings: object) -> Any:
    """Return the pod of the task of *env*, deployed with *settings*."""

    @env.task
    def step() -> None: ...

    imagekit.init(settings={"registry": "127.0.0.1:9/team", **settings})
    (found,) = imagekit.deploy(env, dryrun=True)
    (template,) = (item for item in found.manifests if item["kind"] == "PodTemplate")
    return template["template"]


def test_what_settings_say_is_in_pods() -> None:
    env = TaskEnvironment(
        "options",
        resources=Resources(gpu="T4:1"),
        interruptible=True,
        secrets=[Secret("token")],
    )
    pod = pod_of(
        env,
        service_account="runner",
        pull_secrets=["login"],
        secret_name="team",
        pod_labels={"team": "research"},
        pod_annotations={"x.lan/owner": "a=b"},
        gpu_label="x.lan/gpu",
        gpu_products={"T4": ["tesla-t4", "t4"]},
        spot="x.lan/spot=yes",
    )
    spec, affinity = pod["spec"], pod["spec"]["affinity"]["nodeAffinity"]

    assert spec["serviceAccountName"] == "runner"
    assert spec["imagePullSecrets"] == [{"name": "login"}]
    assert pod["metadata"]["labels"]["team"] == "research"
    assert pod["metadata"]["annotations"]["x.lan/owner"] == "a=b"
    (token,) = (e for e in spec["containers"][0]["env"] if e["name"] == "TOKEN")
    assert token["valueFrom"]["secretKeyRef"] == {"name": "team", "key": "token"}
    (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    (condition,) = term["matchExpressions"]
    assert (condition["key"], condition["values"]) == ("x.lan/gpu", ["tesla-t4", "t4"])
    assert "preferredDuringSchedulingIgnoredDuringExecution" in affinity
    assert any(
        (item["key"], item.get("value")) == ("x.lan/spot", "yes")
        for item in spec["tolerations"]
    )


def test_no_kind_of_gpu_is_asked_for_without_a_label() -> None:
    env = TaskEnvironment("any_gpu", resources=Resources(gpu="T4:1"))

    assert "affinity" not in pod_of(env, gpu_label="none")["spec"]


def test_products_of_one_label_are_none_of_another() -> None:
    env = TaskEnvironment("other_gpu", resources=Resources(gpu="L4:1"))

    with pytest.raises(DeploymentError, match="found 'L4'") as caught:
        pod_of(env, gpu_label="x.lan/gpu", gpu_products={"T4": "t4"})
    assert "'gpu-products'" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("service_account", "Bad Name"),
        ("pull_secrets", ["Bad_x"]),
        ("secret_name", "UP"),
        ("pod_labels", {"team": "two words"}),
        ("pod_labels", {"imagekit/kind": "mine"}),
        ("pod_annotations", {"two words": "x"}),
        ("gpu_label", "two words"),
        ("gpu_products", {"T4": "two words"}),
        ("spot", "two words=true"),
    ],
)
def test_what_kubernetes_refuses_is_refused_before(field: str, value: object) -> None:
    env = TaskEnvironment("refused")
    key = field.replace("_", "-")

    with pytest.raises(SettingsError, match=f"the setting '{key}'") as caught:
        pod_of(env, **{field: value})
    assert caught.value.hint
