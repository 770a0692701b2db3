"""Access to a real cluster, with no more rights than a Role gives."""

import gc
import json
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from typing import Any

import pytest
from api_server import write_service_account
from machine.cluster import Cluster as Machine

from imagekit.cluster.api import Api, Cluster
from imagekit.cluster.api_errors import (
    AlreadyExistsError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    QuotaError,
)
from imagekit.cluster.in_pod import PodApi
from imagekit.cluster.kubeconfig import client_api
from imagekit.cluster.pod_logs import follow_log
from imagekit.cluster.stopping import Stop
from imagekit.cluster.watching import Added, Deleted, Listed, Modified, watch

pytestmark = pytest.mark.engine

_ALL = ["get", "list", "watch", "create", "patch", "delete"]
_RULES = [
    {"apiGroups": [""], "resources": ["pods", "podtemplates"], "verbs": _ALL},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": _ALL},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": _ALL},
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": _ALL},
]
#: The image that the cluster's own sandboxes are made of.
_IMAGE = "cluster/pause:1"


@pytest.fixture
def namespace(cluster: Machine) -> Iterator[str]:
    with cluster.namespace() as name:
        yield name


@pytest.fixture(params=["client", "pod"])
def api(
    request: pytest.FixtureRequest, cluster: Machine, namespace: str, tmp_path: Path
) -> Iterator[Api]:
    """Return access as a user who may do what imagekit has to."""
    kubeconfig = cluster.user(namespace, _RULES)
    if request.param == "client":
        api = client_api(kubeconfig=str(kubeconfig), context=None, namespace=None)
    else:
        document = json.loads(kubeconfig.read_text())
        folder = write_service_account(tmp_path / "account", cluster.ca, namespace)
        (folder / "token").write_text(document["users"][0]["user"]["token"])
        host, _, port = cluster.server.removeprefix("https://").partition(":")
        api = PodApi(str(folder), host=host, port=int(port))
    yield api
    api.close()


def _map(name: str, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"imagekit/test": "1"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _pod(name: str, script: str, **spec: Any) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": _IMAGE,
        "imagePullPolicy": "Never",
        "command": ["/busybox", "sh", "-c", script],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"imagekit/test": "1"}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "containers": [{**container, **spec}],
        },
    }


def test_objects_come_and_go(cluster: Machine, namespace: str, api: Api) -> None:
    objects = Cluster(api)
    assert api.namespace == namespace
    assert int(objects.version()["major"]) == 1

    made = objects.create(_map("m", a="1"))
    assert made["data"] == {"a": "1"}
    assert made["metadata"]["managedFields"][0]["manager"] == "imagekit"
    with pytest.raises(AlreadyExistsError):
        objects.create(_map("m", a="1"))

    version = made["metadata"]["resourceVersion"]
    merged = {"data": {"a": None, "b": "2"}}
    patched = objects.patch("ConfigMap", "m", merged, resource_version=version)
    assert patched["data"] == {"b": "2"}
    with pytest.raises(ConflictError):
        objects.patch("ConfigMap", "m", merged, resource_version=version)

    with pytest.raises(ConflictError):
        objects.delete("ConfigMap", "m", uid="another")
    objects.delete("ConfigMap", "m")
    objects.delete("ConfigMap", "m")
    assert objects.find("ConfigMap", "m") is None
    with pytest.raises(NotFoundError):
        objects.delete("ConfigMap", "m", missing_ok=False)


def test_lists_have_pages_and_are_deleted(
    cluster: Machine, namespace: str, api: Api
) -> None:
    objects = Cluster(api)
    objects.create({**_map("other"), "metadata": {"name": "other"}})
    names = [f"m{number:02}" for number in range(12)]
    for name in names:
        objects.create(_map(name))

    found = list(objects.list("ConfigMap", {"imagekit/test": "1"}, limit=5))

    assert [item["metadata"]["name"] for item in found] == names
    assert {(item["kind"], item["apiVersion"]) for item in found} == {
        ("ConfigMap", "v1")
    }
    slim = list(objects.list("ConfigMap", {"imagekit/test": "1"}, metadata=True))
    assert len(slim) == 12
    assert all("data" not in item for item in slim)
    assert objects.delete_all("ConfigMap", {"imagekit/test": "1"}) == 12
    left = {item["metadata"]["name"] for item in objects.list("ConfigMap")}
    assert "other" in left
    assert left.isdisjoint(names)


def test_apply_changes_what_is_ours(cluster: Machine, api: Api) -> None:
    objects = Cluster(api)
    template = {"spec": _pod("p", "true")["spec"]}
    obj = {
        "kind": "PodTemplate",
        "metadata": {"name": "t", "labels": {"a": "1"}},
        "template": template,
    }
    assert objects.apply(obj, dry_run=True)["metadata"]["labels"] == {"a": "1"}
    assert objects.find("PodTemplate", "t") is None
    first = objects.apply(obj)
    same = objects.apply(obj)
    theirs = {"kind": "PodTemplate", "metadata": {"name": "t", "labels": {"b": "1"}}}
    objects.apply(theirs, manager="somebody")
    without = {**obj, "metadata": {"name": "t"}}

    last = objects.apply(without)

    version = first["metadata"]["resourceVersion"]
    assert same["metadata"]["resourceVersion"] == version
    assert last["metadata"]["labels"] == {"b": "1"}
    taken = {**theirs, "metadata": {"name": "t", "labels": {"b": "2"}}}
    with pytest.raises(ConflictError, match="is set by 'somebody'"):
        objects.apply(taken, force=False)


def test_objects_that_make_no_sense(cluster: Machine, api: Api) -> None:
    objects = Cluster(api)
    odd = {"kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a b": "hunter2"}}
    begun = time.monotonic()

    with pytest.raises(InvalidError) as names:
        objects.create(odd)
    with pytest.raises(InvalidError) as schema:
        objects.apply({**_map("m"), "nothing": {"a": "hunter2"}})
    with pytest.raises(InvalidError) as decoding:
        objects.create({**_map("m"), "data": "hunter2"})
    wrong = _pod("p", "true", resources={"requests": {"cpu": "hunter2"}})
    with pytest.raises(InvalidError) as amount:
        objects.create(wrong)
    more = {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}
    with pytest.raises(InvalidError, match="must be less than or equal to cpu limit"):
        objects.create(_pod("p", "true", resources=more))

    assert time.monotonic() - begun < 5
    for caught in (names, schema, decoding, amount):
        assert "hunter2" not in f"{caught.value!r} {vars(caught.value)}"


def test_what_the_role_lacks_is_named(
    cluster: Machine, namespace: str, api: Api
) -> None:
    with pytest.raises(ForbiddenError) as caught:
        list(Cluster(api).list("Event"))

    error = caught.value
    assert (error.verb, error.resource, error.namespace) == (
        "list",
        "events",
        namespace,
    )


def test_secrets_are_never_read(cluster: Machine, namespace: str, api: Api) -> None:
    secret = {"metadata": {"name": "s"}, "stringData": {"password": "hunter2"}}
    cluster.request("POST", f"/api/v1/namespaces/{namespace}/secrets", secret)

    found = Cluster(api).get("Secret", "s")

    assert found["metadata"]["name"] == "s"
    assert "data" not in found
    assert Cluster(api).find("Secret", "t") is None


def test_quota_that_is_used_up(cluster: Machine, namespace: str, api: Api) -> None:
    quota = {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "0"}}}
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    cluster.request("POST", path, quota)
    cluster.wait_for(f"{path}/few", lambda found: found.get("status", {}).get("hard"))

    with pytest.raises(QuotaError, match="requested pods=1") as caught:
        Cluster(api).create(_pod("p", "true"))

    assert (caught.value.quota, caught.value.limited) == ("few", {"pods": "0"})


def test_log_is_as_printed(cluster: Machine, api: Api) -> None:
    # 100 kB are kept in parts; the last line has no end.
    script = (
        "/busybox echo one; /busybox echo >&2 two;"
        "/busybox yes 0123456789 | /busybox head -c 100000 | /busybox tr -d '\\n';"
        "/busybox echo; /busybox printf last"
    )
    Cluster(api).create(_pod("p", script))

    printed = b"".join(follow_log(api, "p", "main", stop=Stop()))

    digits = (b"0123456789\n" * 10000)[:100000].replace(b"\n", b"")
    assert sorted(printed.splitlines()) == sorted([b"one", b"two", digits, b"last"])
    assert printed.endswith(b"\nlast")


# Python forgets to close what is reset between its connection and its handshake.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
def test_api_server_that_restarts_is_not_noticed(
    cluster: Machine, namespace: str, api: Api
) -> None:
    objects, stop, again = Cluster(api), Stop(), Event()
    events: Queue[Any] = Queue()
    printed: Queue[bytes] = Queue()
    script = "i=0; while true; do i=$((i+1)); echo $i; /busybox sleep 0.2; done"
    objects.create(_pod("p", script))

    def see() -> None:
        for event in watch(api, "ConfigMap", "imagekit/test", stop=stop, period=5):
            events.put(event)

    def read() -> None:
        for line in follow_log(api, "p", "main", stop=stop):
            printed.put(line)

    def ask() -> None:
        objects.create(_map("while-down", a="1"))
        again.set()

    threads = [Thread(target=target) for target in (see, read)]
    for thread in threads:
        thread.start()
    assert events.get(timeout=20) == Listed()
    made = objects.create(_map("m", a="1"))
    assert events.get(timeout=20) == Added(made)
    lines = [printed.get(timeout=20)]
    with cluster.api_server_down():
        threads.append(Thread(target=ask))
        threads[-1].start()
        assert not again.wait(1)
    assert again.wait(30)
    added = _change(events)
    changed = objects.patch("ConfigMap", "m", {"data": {"a": "2"}})
    objects.delete("ConfigMap", "m")

    modified, deleted = _change(events), _change(events)
    while len(lines) < 30:
        lines.append(printed.get(timeout=20))
    stop.set()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()

    assert isinstance(added, Added)
    assert added.object["metadata"]["name"] == "while-down"
    assert modified == Modified(changed)
    assert isinstance(deleted, Deleted)
    assert deleted.object["metadata"]["uid"] == made["metadata"]["uid"]
    gc.collect()  # with the filter
    assert lines == [b"%d\n" % number for number in range(1, len(lines) + 1)]


def _change(events: Queue[Any]) -> Any:
    """Return the next change; a list may have come again before it.

    An API server that restarted may not know any more where a watch was.
    """
    while (event := events.get(timeout=20)) == Listed():
        pass
    return event
