"""The cluster of the set-up: what tests of deployments and runs stand on works."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from machine.cluster import Cluster
from machine.cluster_access import Access, ApiError
from machine.debian_base import NAME, TAG

pytestmark = pytest.mark.engine

_READ_MAPS = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}
_TOKEN = "/var/run/access"
# Asks as a client in a pod does: the address from the variables, the rest from a volume.
_ASK = """
import json, os, ssl, sys, urllib.error, urllib.request
from pathlib import Path
folder = Path(sys.argv[1])
host = os.environ["KUBERNETES_SERVICE_HOST"]
port = os.environ["KUBERNETES_SERVICE_PORT"]
context = ssl.create_default_context(cafile=folder / "ca.crt")
namespace = (folder / "namespace").read_text()
def ask(kind):
    url = f"https://{host}:{port}/api/v1/namespaces/{namespace}/{kind}"
    token = (folder / "token").read_text()
    headers = {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, context=context) as response:
            return [item["metadata"]["name"] for item in json.load(response)["items"]]
    except urllib.error.HTTPError as error:
        return error.code
print(json.dumps([host, namespace, ask("configmaps"), ask("secrets")]))
"""


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    with cluster.namespace() as name:
        yield name


@pytest.fixture
def image(registry: str) -> str:
    url = f"http://{registry}/v2/{NAME}/manifests/{TAG}"
    accept = {"Accept": "application/vnd.oci.image.index.v1+json"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=accept)) as found:
        return f"{registry}/{NAME}@{found.headers['Docker-Content-Digest']}"


def test_job_runs_to_its_end_and_its_log_is_read(
    cluster: Cluster, image: str, namespace: str
) -> None:
    program = "import sys; print(sys.version_info[:2])"

    _run(cluster, namespace, "python", image, ["python3", "-c", program])

    assert cluster.log(namespace, _pod(cluster, namespace)) == "(3, 11)\n"


def test_pod_reaches_the_api_with_its_own_account_and_no_more(
    cluster: Cluster, image: str, namespace: str
) -> None:
    cluster.service_account(namespace, "reader", [_READ_MAPS])
    _create(cluster, namespace, "configmaps", {"metadata": {"name": "mine"}})

    _run(
        cluster,
        namespace,
        "asks",
        image,
        ["python3", "-c", _ASK, _TOKEN],
        serviceAccountName="reader",
    )

    printed = json.loads(cluster.log(namespace, _pod(cluster, namespace)))
    assert printed == ["10.96.0.1", namespace, ["kube-root-ca.crt", "mine"], 403]


def test_user_may_do_what_the_rules_say_in_one_namespace(
    cluster: Cluster, namespace: str
) -> None:
    with cluster.namespace() as other:
        user = Access.read_kubeconfig(cluster.user(namespace, [_READ_MAPS]))
        seen = user.request("GET", f"/api/v1/namespaces/{namespace}/configmaps")

        refused = [
            _status(user.request, f"/api/v1/namespaces/{name}/{kind}")
            for name, kind in ((namespace, "pods"), (other, "configmaps"))
        ]

    assert [found["metadata"]["name"] for found in seen["items"]] == [
        "kube-root-ca.crt"
    ]
    assert refused == [403, 403]
    assert user.namespace == namespace


def test_namespaces_are_apart_and_vanish_with_their_pods(
    cluster: Cluster, image: str
) -> None:
    sleep = ["python3", "-c", "import time; time.sleep(600)"]
    with cluster.namespace() as one, cluster.namespace() as other:
        _create(cluster, one, "configmaps", {"metadata": {"name": "same"}})
        path = f"/api/v1/namespaces/{other}/configmaps/same"
        assert _status(cluster.request, path) == 404
        _create(cluster, other, "configmaps", {"metadata": {"name": "same"}})
        _create_job(cluster, one, "sleeps", image, sleep)
        cluster.wait_for(
            f"/api/v1/namespaces/{one}/pods",
            lambda found: (
                [pod["status"]["phase"] for pod in found["items"]] == ["Running"]
            ),
        )

    pods = cluster.request("GET", "/api/v1/pods")["items"]
    assert {one, other}.isdisjoint(pod["metadata"]["namespace"] for pod in pods)


def test_api_server_comes_back_with_what_it_knew(
    cluster: Cluster, image: str, namespace: str
) -> None:
    program = "import sys; print(sys.stdin.read())"
    _create(cluster, namespace, "configmaps", {"metadata": {"name": "kept"}})
    path = f"/api/v1/namespaces/{namespace}/configmaps/kept"
    before = cluster.request("GET", path)

    with cluster.api_server_down(), pytest.raises(OSError):
        cluster.request("GET", path)

    assert cluster.request("GET", path) == before
    _run(cluster, namespace, "after", image, ["python3", "-c", program])


def test_authority_is_checked(cluster: Cluster, tmp_path: Path) -> None:
    document = json.loads(cluster.kubeconfig.read_text())
    (found,) = document["clusters"]

    assert "insecure-skip-tls-verify" not in found["cluster"]
    with pytest.raises(urllib.error.URLError) as stranger:
        urllib.request.urlopen(cluster.server, context=ssl.create_default_context())
    assert isinstance(stranger.value.reason, ssl.SSLCertVerificationError)


def _run(
    cluster: Cluster,
    namespace: str,
    name: str,
    image: str,
    command: list[str],
    **pod: Any,
) -> None:
    _create_job(cluster, namespace, name, image, command, **pod)
    job = cluster.wait_for(
        f"/apis/batch/v1/namespaces/{namespace}/jobs/{name}",
        lambda found: found["status"].get("conditions"),
    )
    assert [found["type"] for found in job["status"]["conditions"]] == ["Complete"]


def _create_job(
    cluster: Cluster,
    namespace: str,
    name: str,
    image: str,
    command: list[str],
    **pod: Any,
) -> None:
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
        {
            "configMap": {
                "name": "kube-root-ca.crt",
                "items": [{"key": "ca.crt", "path": "ca.crt"}],
            }
        },
        {
            "downwardAPI": {
                "items": [
                    {
                        "path": "namespace",
                        "fieldRef": {"fieldPath": "metadata.namespace"},
                    }
                ]
            }
        },
    ]
    container = {
        "name": "main",
        "image": image,
        "command": command,
        "volumeMounts": [{"name": "access", "mountPath": _TOKEN}],
    }
    spec = {
        "serviceAccountName": "default",  # a token is somebody's
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [{"name": "access", "projected": {"sources": sources}}],
        **pod,
    }
    job = {
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"spec": spec}},
    }
    cluster.request("POST", f"/apis/batch/v1/namespaces/{namespace}/jobs", job)


def _create(
    cluster: Cluster, namespace: str, kind: str, document: dict[str, Any]
) -> None:
    cluster.request("POST", f"/api/v1/namespaces/{namespace}/{kind}", document)


def _pod(cluster: Cluster, namespace: str) -> str:
    (pod,) = cluster.request("GET", f"/api/v1/namespaces/{namespace}/pods")["items"]
    name: str = pod["metadata"]["name"]
    return name


def _status(request: Any, path: str) -> int:
    with pytest.raises(ApiError) as refused:
        request("GET", path)
    return refused.value.status
