"""The objects of deployments and runs: environments, ConfigMaps, Jobs, pools, Roles."""

from __future__ import annotations

import base64
import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from cluster_environments import (
    drawn,
    environment_document,
    options_of,
    task_document,
)
from hypothesis import given

from imagekit import PodTemplate
from imagekit.cluster import role
from imagekit.cluster.documents import DOCUMENT, EnvironmentDocument, Json
from imagekit.cluster.jobs import DATA_FOLDER, data_location, job_of, pool_pod_of
from imagekit.cluster.manifests import (
    CONTENT,
    MAX_BYTES,
    config_map,
    content_digest,
    current_object,
    environment_objects,
    owner_reference,
)
from imagekit.cluster.manifests import options_of as options_of_template
from imagekit.cluster.names import (
    environment_name,
    label_value,
)
from imagekit.cluster.pod_options import PodOptions
from imagekit.cluster.pod_spec import task_pod
from imagekit.cluster.primary_container import primary_container
from imagekit.records import replace
from imagekit.task_errors import (
    DeploymentError,
    PrimaryContainerNotFoundError,
    RuntimeUserError,
)
from imagekit.task_settings import TaskSettings

PAGE = Path(__file__).parents[1] / "docs" / "kubernetes.md"
OWNER = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "ik-run-x", "uid": "1-2-3", "labels": {}},
}


def environment(**changes: Any) -> EnvironmentDocument:
    found = environment_document(Random(1))
    return replace(found, **changes)


def pod_of(**settings: Any) -> Json:
    given_settings = TaskSettings(**settings)
    task = task_document(given_settings)
    return task_pod(task, environment().image, given_settings, PodOptions())


def refused(
    error: type[RuntimeUserError], message: str, make: Callable[[], object]
) -> None:
    with pytest.raises(error, match=message) as caught:
        make()
    assert caught.value.hint


# -- Environments


@given(drawn(environment_document), drawn(options_of))
def test_objects_of_an_environment(
    document: EnvironmentDocument, options: PodOptions
) -> None:
    described, *templates = environment_objects(document, options)
    assert described["kind"] == "ConfigMap"
    assert described["metadata"]["name"] == environment_name(
        document.name, document.version
    )
    text = described["data"][DOCUMENT]
    assert EnvironmentDocument.from_json(json.loads(text)).version == document.version
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    assert [item["metadata"]["name"] for item in templates] == [
        task.template for task in document.tasks
    ]
    for task, item in zip(document.tasks, templates, strict=True):
        pod = task_pod(task, document.image, task.settings, options)
        version = label_value(document.version)
        pod["metadata"]["labels"]["imagekit/version"] = version
        assert item["template"] == pod
        assert options_of_template(item) == options
    for item in (described, *templates, current_object(document)):
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "imagekit"
        assert labels["imagekit/environment"] == label_value(document.name)
        assert labels["imagekit/version"] == label_value(document.version)
        assert "namespace" not in item["metadata"]
        assert item["metadata"]["annotations"][CONTENT] == content_digest(item)
    kinds = [item["metadata"]["labels"]["imagekit/kind"] for item in templates]
    assert set(kinds) == {"template"}
    assert environment_objects(document, options) == [described, *templates]


def test_the_current_version() -> None:
    document = environment()
    found = current_object(document)
    assert found["data"] == {
        "version": document.version,
        "environment": environment_name(document.name, document.version),
    }
    later = current_object(replace(document, version="later"))
    assert later["metadata"]["name"] == found["metadata"]["name"]
    assert later["metadata"]["annotations"] != found["metadata"]["annotations"]


def test_the_digest_is_of_all_but_itself() -> None:
    [found, *_] = environment_objects(environment(), PodOptions())
    digest = content_digest(found)
    other = copy.deepcopy(found)
    other["metadata"]["annotations"][CONTENT] = "another"
    assert content_digest(other) == digest
    other["metadata"]["annotations"]["note"] = "another"
    assert content_digest(other) != digest


def test_an_environment_that_is_too_large() -> None:
    document = environment()
    large = replace(document, description="x" * MAX_BYTES)
    message = f"{document.name!r} is too large"
    refused(DeploymentError, message, lambda: environment_objects(large, PodOptions()))


def test_config_maps() -> None:
    found = config_map(
        "name",
        kind="call",
        labels={"imagekit/run": "a run"},
        data={"a": "text"},
        binary={"b": b"\0\xff"},
        owner=owner_reference(OWNER),
    )
    assert base64.b64decode(found["binaryData"]["b"]) == b"\0\xff"
    assert found["data"] == {"a": "text"}
    assert found["metadata"]["labels"]["imagekit/run"] == label_value("a run")
    assert found["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "ik-run-x", "uid": "1-2-3"}
    ]
    plain = config_map("name", kind="call", labels={}, data={})
    assert "binaryData" not in plain
    assert "ownerReferences" not in plain["metadata"]


# -- Jobs


def job(template: Json | None = None, **changes: Any) -> Json:
    values: dict[str, Any] = {
        "name": "ik-run-a0-1",
        "run": "Run 1",
        "action": "a0.1",
        "attempt": 1,
    }
    return job_of(template or pod_of(), **{**values, **changes})


def values_of(pod: Json) -> dict[str, str]:
    found = primary_container(pod)["env"]
    assert len({item["name"] for item in found}) == len(found)
    return {item["name"]: item["value"] for item in found if "value" in item}


def test_a_job() -> None:
    template = pod_of(env_vars=(("A", "1"),))
    before = copy.deepcopy(template)
    found = job(
        template,
        caller="ik-run-a0-0",
        owner=owner_reference(OWNER),
        labels={"team": "blue"},
        annotations={"note": "text"},
        backoff=3,
        deadline=60,
        ttl=10,
        service_account="runner",
        extra_env={"B": "$(A)", "IMAGEKIT_CALL": "not this"},
    )
    assert template == before
    spec, pod = found["spec"], found["spec"]["template"]
    assert spec["backoffLimit"] == 3
    assert spec["activeDeadlineSeconds"] == 60
    assert spec["ttlSecondsAfterFinished"] == 10
    assert found["metadata"]["ownerReferences"][0]["uid"] == "1-2-3"
    for labels in (found["metadata"]["labels"], pod["metadata"]["labels"]):
        assert labels == {
            "app.kubernetes.io/managed-by": "imagekit",
            "imagekit/kind": "call",
            "imagekit/environment": "training",
            "imagekit/task": "training.step",
            "imagekit/run": label_value("Run 1"),
            "imagekit/action": "a0.1",
            "imagekit/attempt": "1",
            "imagekit/caller": "ik-run-a0-0",
            "team": "blue",
        }
    assert found["metadata"]["annotations"] == {"note": "text"}
    assert pod["metadata"]["annotations"]["note"] == "text"
    assert pod["spec"]["restartPolicy"] == "Never"
    assert pod["spec"]["serviceAccountName"] == "runner"
    assert values_of(pod) == {"A": "1", "B": "$$(A)", "IMAGEKIT_CALL": "ik-run-a0-1"}


def test_a_job_without_more() -> None:
    found = job()
    assert set(found["spec"]) == {"backoffLimit", "template"}
    assert found["spec"]["backoffLimit"] == 0
    assert "imagekit/caller" not in found["metadata"]["labels"]
    assert "ownerReferences" not in found["metadata"]


@pytest.mark.parametrize("field", ["serviceAccountName", "serviceAccount"])
def test_the_account_of_a_job(field: str) -> None:
    def account(template: Json, **changes: Any) -> Json:
        spec = job(template, **changes)["spec"]["template"]["spec"]
        return {key: value for key, value in spec.items() if "serviceAcc" in key}

    # A pod with a token needs an account; not all clusters fill it in.
    assert account(pod_of()) == {"serviceAccountName": "default"}
    mine = pod_of(pod_template=PodTemplate({field: "me"}))
    assert account(mine) == {field: "me"}
    both = {field: "runner", "serviceAccountName": "runner"}
    assert account(mine, service_account="runner") == both


def test_autoscalers_keep_pods_that_are_not_interruptible() -> None:
    key = "cluster-autoscaler.kubernetes.io/safe-to-evict"

    def annotations(**settings: Any) -> Json:
        return job(pod_of(**settings))["spec"]["template"]["metadata"]["annotations"]

    assert annotations()[key] == "false"
    assert key not in annotations(interruptible=True)
    mine = PodTemplate(annotations={key: "true"})
    assert annotations(pod_template=mine)[key] == "true"


def test_labels_of_a_run_do_not_replace_those_of_a_template() -> None:
    template = pod_of(pod_template=PodTemplate(labels={"team": "red"}))
    found = job(template, labels={"team": "blue"})
    assert found["metadata"]["labels"]["team"] == "blue"
    assert found["spec"]["template"]["metadata"]["labels"]["team"] == "red"
    refused(DeploymentError, "imagekit's", lambda: job(labels={"imagekit/run": "x"}))
    refused(DeploymentError, "'b c'", lambda: job(labels={"a": "b c"}))


def test_the_label_that_says_who_manages_an_object_is_replaced() -> None:
    theirs = {"app.kubernetes.io/managed-by": "Helm", "team": "red"}
    template = pod_of(pod_template=PodTemplate(labels=theirs))
    found = job(template, labels=theirs)
    for labels in (
        template["metadata"]["labels"],
        found["metadata"]["labels"],
        found["spec"]["template"]["metadata"]["labels"],
    ):
        assert labels["app.kubernetes.io/managed-by"] == "imagekit"
        assert labels["team"] == "red"


def test_data_on_a_claim() -> None:
    found = job(raw_data_path="pvc://data/runs/x/")["spec"]["template"]
    claims = [
        item for item in found["spec"]["volumes"] if "persistentVolumeClaim" in item
    ]
    [claim] = claims
    assert claim["persistentVolumeClaim"] == {"claimName": "data"}
    mounts = primary_container(found)["volumeMounts"]
    assert {"name": claim["name"], "mountPath": DATA_FOLDER} in mounts
    assert data_location("pvc://data/runs/x/") == f"{DATA_FOLDER}/runs/x"
    assert data_location("pvc://data") == f"{DATA_FOLDER}/"
    assert data_location("s3://bucket/x") == "s3://bucket/x"
    assert job(raw_data_path="s3://bucket/x") == job()


@pytest.mark.parametrize("path", ["pvc://", "pvc://A_b/x", "pvc://data/../etc"])
def test_claims_that_mean_nothing(path: str) -> None:
    refused(RuntimeUserError, re.escape(path), lambda: job(raw_data_path=path))


def test_a_template_that_lost_its_container() -> None:
    template = pod_of()
    template["spec"]["containers"] = [{"name": "proxy", "image": "x"}]
    refused(PrimaryContainerNotFoundError, "found proxy", lambda: job(template))


def test_templates_as_the_server_has_them() -> None:
    template = pod_of()
    template["metadata"]["creationTimestamp"] = None
    assert job(template) == job()


def test_a_pod_of_a_pool() -> None:
    found = pool_pod_of(
        pod_of(),
        name="ik-pool-1",
        pool="ik-pool",
        owner=owner_reference(OWNER),
        labels={"team": "blue"},
        service_account="runner",
        extra_env={"B": "2"},
    )
    assert found["kind"] == "Pod"
    assert found["metadata"]["name"] == "ik-pool-1"
    assert found["metadata"]["ownerReferences"][0]["uid"] == "1-2-3"
    labels = found["metadata"]["labels"]
    assert labels["imagekit/pool"] == "ik-pool"
    assert labels["imagekit/kind"] == "pool"
    assert labels["team"] == "blue"
    assert found["spec"]["serviceAccountName"] == "runner"
    assert values_of(found) == {"B": "2", "IMAGEKIT_POOL": "ik-pool"}


# -- The Role


def test_the_documented_roles_are_those_of_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    documents = [item for block in blocks for item in yaml.safe_load_all(block)]
    found = [
        item
        for item in documents
        if item["kind"] in {"Role", "RoleBinding", "ServiceAccount"}
    ]
    account = {"apiVersion": "v1", "kind": "ServiceAccount"}
    assert found == [
        role.role(role.CLIENT, role.client_rules(), "team"),
        role.role(role.POD, role.pod_rules(), "team"),
        role.binding(role.CLIENT, role.user("you@example.com"), "team"),
        {**account, "metadata": {"name": "imagekit-pod", "namespace": "team"}},
        role.binding(role.POD, role.service_account(role.POD, "team"), "team"),
    ]


def test_nobody_may_read_secrets() -> None:
    rules = [*role.client_rules(), *role.pod_rules()]
    resources = {item for rule in rules for item in rule["resources"]}
    assert "secrets" not in resources
    words = {item for rule in rules for field in rule.values() for item in field}
    assert "*" not in words
