"""Manifests of generated environments, judged by Kubernetes: schemas and a server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from random import Random

import pytest
from cluster_environments import (
    environment_document,
    options_of,
    template_of,
)
from jsonschema import Draft202012Validator
from kubernetes_validate import utils as schemas  # type: ignore[import-untyped]
from machine.cluster import Cluster
from machine.cluster_access import ApiError
from referencing import Registry, Resource

from imagekit.cluster import role
from imagekit.cluster.documents import EnvironmentDocument, Json
from imagekit.cluster.jobs import job_of, pool_pod_of
from imagekit.cluster.manifests import (
    config_map,
    current_object,
    environment_objects,
    owner_reference,
)
from imagekit.cluster.names import call_name, object_name
from imagekit.cluster.user_template import NAMED, named_template

ENVIRONMENTS = 60
VERSIONS = (schemas.all_versions()[-1], "1.28.0")
PATHS = {
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "PodTemplate": "/api/v1/namespaces/{}/podtemplates",
    "Pod": "/api/v1/namespaces/{}/pods",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
}
#: What the environments have to have, to be worth judging.
FEATURES = {
    "shm": '"medium": "Memory"',
    "auto shm": '{"medium": "Memory"}',
    "gpu": '"nvidia.com/gpu"',
    "partition": '"nvidia.com/mig-',
    "tpu": '"google.com/tpu"',
    "kind": '"values": ["NVIDIA-L4',
    "disk": '"ephemeral-storage"',
    "variable": '"LEVEL", "value"',
    "secret": '"secretKeyRef"',
    "secret file": '"subPath": "tls/cert.pem"',
    "interruptible": '"imagekit/interruptible"',
    "spot": '"cloud.google.com/gke-spot"',
    "sidecar": '"name": "proxy", "image"',
    "user's affinity": '"podAntiAffinity"',
    "user's name": '"imagekit/container": "main"',
    "named template": f'"{NAMED}": "base-pod"',
    "account": '"serviceAccountName": "runner"',
    "pull secrets": '"imagePullSecrets": [{"name": "registry-login"}',
    "workdir": '"workingDir": "/opt/imagekit/code"',
    "claim": '"claimName"',
    "owner": '"ownerReferences"',
}


def objects_of(number: int) -> Iterator[Json]:
    """Yield all objects of an environment, and of a run of each task."""
    random = Random(number)
    document = environment_document(random, number)
    objects = environment_objects(document, options_of(random))
    yield from objects
    yield current_object(document)
    for task, template in zip(document.tasks, objects[1:], strict=True):
        yield from run_objects(document, task.name, template["template"], random)


def run_objects(
    document: EnvironmentDocument, task: str, pod: Json, random: Random
) -> Iterator[Json]:
    name = call_name(f"Run of {document.name}", "a0.1", 1)
    call = config_map(
        name,
        kind="call",
        labels={"imagekit/run": document.name, "imagekit/task": task},
        data={"document.json": "{}"},
        binary={"blob": random.randbytes(9)},
    )
    yield call
    owner = owner_reference(
        {
            **call,
            "metadata": {"name": name, "uid": "6a8f9c7e-0000-4000-8000-000000000000"},
        }
    )
    if NAMED in pod["metadata"]["annotations"]:
        template = template_of(random, "primary").to_k8s_pod()
        pod = named_template(pod, {"metadata": {"name": "base"}, "template": template})
    yield job_of(
        pod,
        name=name,
        run=document.name,
        action="a0.1",
        attempt=random.randint(0, 2),
        caller=random.choice(["", "ik-caller"]),
        labels={"team": "blue"},
        annotations={"example.com/note": "a text"},
        owner=random.choice([None, owner]),
        backoff=random.randint(0, 6),
        deadline=random.choice([None, 60]),
        service_account=random.choice(["", "runner"]),
        raw_data_path=random.choice(["", "pvc://data/x", "s3://bucket"]),
        extra_env={"IMAGEKIT_LOG": "debug"},
        ttl=random.choice([None, 0]),
    )
    yield pool_pod_of(pod, name=object_name("ik-pool", task), pool=task, owner=owner)


@cache
def everything() -> tuple[Json, ...]:
    roles = [
        role.role(role.CLIENT, role.client_rules(), "team"),
        role.role(role.POD, role.pod_rules(), "team"),
        role.binding(role.CLIENT, role.user("somebody"), "team"),
        role.binding(role.POD, role.service_account(role.POD, "team"), "team"),
    ]
    found = [item for number in range(ENVIRONMENTS) for item in objects_of(number)]
    return (*found, *roles)


@cache
def validator(version: str, kind: str, api_version: str) -> Draft202012Validator:
    """Return what judges a kind as strictly as kubernetes-validate, but loads once."""
    folder = f"kubernetes-json-schema/v{version}-local-strict"
    api = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    own, shared = (
        Resource.from_contents(
            schemas.schema_contents(f"{folder}/{name}.json", version)
        )
        for name in (f"{kind.lower()}-{api}", "_definitions")
    )
    registry: Registry[Json] = shared @ (own @ Registry())
    return Draft202012Validator(own.contents, registry=registry)


def judged(item: Json, version: str) -> list[str]:
    judge = validator(version, item["kind"], item["apiVersion"])
    return [f"{error.json_path}: {error.message}" for error in judge.iter_errors(item)]


@pytest.mark.parametrize("feature", FEATURES)
def test_the_environments_have_all_features(feature: str) -> None:
    text = json.dumps(everything())
    assert FEATURES[feature] in text


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_are_valid(version: str) -> None:
    faults = {
        f"{item['kind']} {item['metadata']['name']}": found
        for item in everything()
        if (found := judged(item, version))
    }
    assert not faults


@pytest.mark.parametrize("version", VERSIONS)
def test_the_judge_finds_faults(version: str) -> None:
    [job, *_] = [item for item in everything() if item["kind"] == "Job"]
    odd = json.loads(json.dumps(job))
    odd["spec"]["template"]["spec"]["restartPolice"] = "Never"
    assert any("restartPolice" in fault for fault in judged(odd, version))
    odd = json.loads(json.dumps(job))
    odd["spec"]["backoffLimit"] = "3"
    assert judged(odd, version)
    schemas.validate(job, version, strict=True)


def pod_of_job(job: Json) -> Json:
    """Return the pod that a Job makes, which nobody judges when the Job is made."""
    template = job["spec"]["template"]
    metadata = {**template["metadata"], "name": job["metadata"]["name"]}
    return {**template, "apiVersion": "v1", "kind": "Pod", "metadata": metadata}


@contextmanager
def priority_class(cluster: Cluster, name: str) -> Iterator[None]:
    path = "/apis/scheduling.k8s.io/v1/priorityclasses"
    cluster.request("POST", path, {"metadata": {"name": name}, "value": -1})
    try:
        yield
    finally:
        cluster.request("DELETE", f"{path}/{name}")


@pytest.mark.engine
def test_a_server_accepts_the_manifests(cluster: Cluster) -> None:
    faults = {}
    pods = [pod_of_job(item) for item in everything() if item["kind"] == "Job"]
    with cluster.namespace() as namespace, priority_class(cluster, "low"):
        for item in (*everything(), *pods):
            kind, name = item["kind"], item["metadata"]["name"]
            manifest = json.loads(json.dumps(item))
            manifest["metadata"].pop("namespace", None)
            path = f"{PATHS[kind].format(namespace)}/{name}"
            try:
                answer = cluster.request(
                    "PATCH",
                    f"{path}?dryRun=All&fieldManager=imagekit&force=true",
                    manifest,
                    content_type="application/apply-patch+yaml",
                )
            except ApiError as error:
                faults[f"{kind} {name}"] = error.answer
            else:
                assert answer["metadata"]["name"] == name
        path = PATHS["ConfigMap"].format(namespace)
        found = cluster.request("GET", path)["items"]
        # Nothing was made but what the cluster itself makes.
        assert {item["metadata"]["name"] for item in found} == {"kube-root-ca.crt"}
    assert not faults, "\n".join(map(str, faults.items()))
