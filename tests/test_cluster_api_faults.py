"""Access to the Kubernetes API outlasts its faults, from pods and from the client."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from api_server import (
    TOKEN,
    Act,
    ApiServer,
    Chunks,
    Hang,
    Lose,
    Reply,
    kubeconfig_document,
    refused,
    write_service_account,
)
from machine.certificates import MutualTLS, mutual_tls

from imagekit.cluster import retrying
from imagekit.cluster.api import Api, Cluster
from imagekit.cluster.api_errors import (
    AlreadyExistsError,
    BrokenOffError,
    ClusterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnauthorizedError,
    UnreachableError,
)
from imagekit.cluster.in_pod import PodApi
from imagekit.cluster.kubeconfig import client_api
from imagekit.cluster.pod_logs import follow_log
from imagekit.cluster.retrying import Pauses
from imagekit.cluster.stopping import Stop
from imagekit.cluster.watching import Added, Deleted, Listed, Modified, watch
from imagekit.task_errors import InitializationError

_MAPS = "/api/v1/namespaces/tests/configmaps"
_POD = "/api/v1/namespaces/tests/pods/p"
_PATIENCE = 20.0
_EXISTS = refused(409, "AlreadyExists", 'configmaps "m" already exists')
_CONFLICT = refused(409, "Conflict", "the object has been modified")
_MISSING = refused(404, "NotFound", 'configmaps "m" not found')
_DENIED = refused(
    403,
    "Forbidden",
    'configmaps "m" is forbidden: User "u" cannot get resource "configmaps" in API '
    'group "" in the namespace "tests"',
)

Open = Callable[..., Api]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> MutualTLS:
    return mutual_tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "Pauses", lambda: Pauses(0.02, 0.2))


@pytest.fixture
def server(tls: MutualTLS) -> Iterator[ApiServer]:
    with ApiServer(tls) as running:
        yield running


@pytest.fixture(params=["pod", "client"])
def open_api(
    request: pytest.FixtureRequest, server: ApiServer, tmp_path: Path
) -> Iterator[Open]:
    """Return a maker of access; files are in the test's folder."""
    opened: list[Api] = []

    def make(
        patience: float = _PATIENCE,
        waiting: Callable[[str], None] | None = None,
        ca: Path | None = None,
    ) -> Api:
        ca = ca or server.ca
        if request.param == "pod":
            folder = write_service_account(tmp_path / "account", ca)
            api: Api = PodApi(
                str(folder),
                host="127.0.0.1",
                port=server.port,
                patience=patience,
                waiting=waiting,
            )
        else:
            account = tmp_path / "account"
            account.mkdir()
            (account / "token").write_text(TOKEN)
            user = {"tokenFile": str(account / "token")}
            address = f"https://127.0.0.1:{server.port}"
            document = kubeconfig_document(address, ca, user)
            (tmp_path / "config").write_text(json.dumps(document))
            api = client_api(
                kubeconfig=str(tmp_path / "config"), patience=patience, waiting=waiting
            )
        opened.append(api)
        return api

    yield make
    for api in opened:
        api.close()


@pytest.fixture
def api(open_api: Open) -> Api:
    return open_api()


def _map(
    name: str = "m", version: str = "1", metadata: Any = None, data: Any = None
) -> dict[str, Any]:
    own = {"name": name, "uid": f"uid-{name}", "resourceVersion": version}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {**own, **(metadata or {})},
        **({"data": data} if data else {}),
    }


def _page(*items: Any, version: str = "10", token: str = "") -> Reply:
    metadata = {"resourceVersion": version, **({"continue": token} if token else {})}
    return Reply(body={"metadata": metadata, "items": list(items)})


def _line(kind: str, obj: Any) -> bytes:
    return json.dumps({"type": kind, "object": obj}).encode() + b"\n"


# Requests.


@pytest.mark.parametrize(
    "fault",
    [
        Lose(),
        Reply(body={"half": "an answer"}, missing=5),
        refused(429, "TooManyRequests"),
        refused(500, "InternalError", "etcdserver: request timed out"),
        Reply(502, b"<html>a proxy's page</html>"),
        refused(503, "ServiceUnavailable"),
        refused(504, "Timeout"),
        refused(403, "Forbidden", "x is forbidden: not yet ready to handle request"),
        refused(409, "Conflict", "modified", kind="resourcequotas", name="q"),
    ],
    ids=str,
)
def test_transient_fault_is_outlasted(
    server: ApiServer, open_api: Open, fault: Act
) -> None:
    said: list[str] = []
    api = open_api(waiting=said.append)
    server.script += [fault, Reply(body=_map())]

    found = Cluster(api).apply({"kind": "ConfigMap", "metadata": {"name": "m"}})

    assert found == _map()
    assert len(server.received) == 2
    assert len(said) == 1
    assert all(TOKEN not in text for text in said)


def test_retry_after_is_obeyed(server: ApiServer, api: Api) -> None:
    busy = refused(429, "TooManyRequests", headers=[("Retry-After", "1")])
    server.script += [busy, Reply(body={})]
    begun = time.monotonic()

    api.request("GET", "/version")

    assert time.monotonic() - begun >= 1


def test_server_that_is_down_is_waited_for(server: ApiServer, open_api: Open) -> None:
    down = Event()
    api = open_api(waiting=lambda _reason: down.set())
    server.script += [Reply(body=1), Reply(body=2)]
    assert api.request("GET", "/version") == 1
    server.stop()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(api.request, "GET", "/version")
        assert down.wait(10)
        server.start()
        assert asked.result(10) == 2


def test_patience_ends(server: ApiServer, open_api: Open) -> None:
    api = open_api(patience=0.5)
    server.stop()
    begun = time.monotonic()

    with pytest.raises(UnreachableError) as caught:
        api.request("GET", "/version")

    assert 0.5 <= time.monotonic() - begun < 3
    assert str(caught.value) == (
        f"no answer from '127.0.0.1:{server.port}': connection refused"
    )
    assert caught.value.hint


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refused(400, "BadRequest"), ClusterError),
        (_DENIED, ForbiddenError),
        (_MISSING, NotFoundError),
        (_EXISTS, AlreadyExistsError),
        (_CONFLICT, ConflictError),
        (refused(410, "Expired"), ClusterError),
        (refused(422, "Invalid"), ClusterError),
        (Reply(418, b"not Kubernetes"), ClusterError),
        (Reply(200, b"<html>a login page</html>"), ClusterError),
    ],
    ids=str,
)
def test_refusal_is_final(
    server: ApiServer, api: Api, answer: Reply, kind: type[Exception]
) -> None:
    server.script += [answer, Reply(body={})]

    with pytest.raises(kind):
        api.request("GET", f"{_MAPS}/m")

    assert len(server.received) == 1


def test_slow_answer_is_asked_for_again(server: ApiServer, api: Api) -> None:
    server.script += [Hang(), Reply(body=1)]

    assert api.request("GET", "/version", timeout=0.3) == 1


def test_certificate_that_is_not_trusted_is_final(
    server: ApiServer, open_api: Open, tmp_path: Path
) -> None:
    api = open_api(ca=mutual_tls(tmp_path / "other").ca)
    server.script += [Reply(body={})]

    with pytest.raises(UnreachableError, match="its certificate is not trusted"):
        api.request("GET", "/version")

    assert server.connections == 1
    assert not server.received


def test_stop_ends_a_request(server: ApiServer, api: Api) -> None:
    stop, hang = Stop(), Hang()
    server.script += [hang]
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(api.request, "GET", "/version", stop=stop)
        assert hang.reached.wait(10)
        stop.set()
        with pytest.raises(UnreachableError):
            asked.result(2)


def test_threads_share_an_access(server: ApiServer, api: Api) -> None:
    server.script += [Reply(body=_map())] * 200
    cluster = Cluster(api)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: cluster.get("ConfigMap", "m"), range(200)))

    assert found == [_map()] * 200
    assert server.connections <= 8


def test_connection_that_the_server_closed_is_not_used(
    server: ApiServer, open_api: Open
) -> None:
    said: list[str] = []
    api = open_api(waiting=said.append)
    server.script += [Reply(body=1), Reply(body=2)]
    assert api.request("GET", "/version") == 1
    server.stop()
    server.start()

    assert api.request("GET", "/version") == 2
    assert server.connections == 2
    assert not said


# Credentials.


def test_token_that_was_rotated_is_used(
    server: ApiServer, api: Api, tmp_path: Path
) -> None:
    def rotate() -> None:
        (tmp_path / "account/token").write_text("the new one")

    server.script += [Reply(401, before=rotate), Reply(body={})]

    api.request("GET", "/version")

    sent = [received.headers["authorization"] for received in server.received]
    assert [text.split() for text in sent] == [
        ["Bearer", *TOKEN.split()],
        ["Bearer", "the", "new", "one"],
    ]


def test_token_that_changed_is_read_again_in_pods(
    server: ApiServer, tmp_path: Path
) -> None:
    folder = write_service_account(tmp_path / "account", server.ca)
    api = PodApi(str(folder), host="127.0.0.1", port=server.port)
    server.script += [Reply(body={})] * 2
    api.request("GET", "/version")
    (folder / "token.new").write_text("new")
    (folder / "token.new").rename(folder / "token")

    api.request("GET", "/version")
    api.close()

    assert api.namespace == "tests"
    assert server.received[1].headers["authorization"] == "Bearer new"


def test_credentials_that_stay_refused_are_an_error_without_the_token(
    server: ApiServer, api: Api
) -> None:
    server.script += [refused(401, "Unauthorized", "Unauthorized")] * 3

    with pytest.raises(UnauthorizedError) as caught:
        api.request("GET", f"{_MAPS}/m")

    assert len(server.received) == 2
    assert caught.value.hint
    assert TOKEN not in f"{caught.value!r} {caught.value.hint}"


@pytest.mark.parametrize(
    "denied", [_DENIED, refused(401, "Unauthorized")], ids=["403", "401"]
)
def test_server_that_starts_may_not_know_its_users_yet(
    server: ApiServer, api: Api, denied: Reply
) -> None:
    server.script += [Lose(), denied, denied, denied, Reply(body=_map())]

    assert Cluster(api).get("ConfigMap", "m") == _map()


@pytest.mark.parametrize("missing", ["token", "ca.crt", "namespace"])
def test_pod_without_service_account_is_told_so(
    server: ApiServer, tmp_path: Path, missing: str
) -> None:
    folder = write_service_account(tmp_path / "account", server.ca)
    (folder / missing).unlink()

    with pytest.raises(InitializationError, match=f"can't read '.*{missing}'"):
        PodApi(str(folder), host="127.0.0.1", port=server.port)


def test_pod_without_address_is_told_so(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    folder = write_service_account(tmp_path / "account", server.ca)

    with pytest.raises(InitializationError, match="'KUBERNETES_SERVICE_HOST'"):
        PodApi(str(folder))


# Requests whose answer was lost.


@pytest.mark.parametrize("fault", [Lose(), refused(504, "Timeout")], ids=str)
def test_create_whose_answer_was_lost_finds_what_it_made(
    server: ApiServer, api: Api, fault: Act
) -> None:
    ours = {"labels": {"imagekit/run": "r"}}
    made = _map(metadata={"labels": {"imagekit/run": "r", "other": "1"}}, data={"a": 1})
    server.script += [fault, _EXISTS, Reply(body=made)]
    sent = {"kind": "ConfigMap", "metadata": {"name": "m", **ours}, "data": {"a": 1}}

    assert Cluster(api).create(sent) == made
    assert server.received[0].query == {"fieldManager": "imagekit"}
    assert [item.method for item in server.received] == ["POST", "POST", "GET"]


@pytest.mark.parametrize(
    "other",
    [
        {"data": {"a": "2"}},
        {"data": {"a": "1"}, "metadata": {"labels": {"imagekit/run": "s"}}},
        {
            "data": {"a": "1"},
            "metadata": {"labels": {"imagekit/run": "r"}, "deletionTimestamp": "now"},
        },
    ],
    ids=str,
)
def test_create_whose_answer_was_lost_finds_another_object(
    server: ApiServer, api: Api, other: dict[str, Any]
) -> None:
    server.script += [Lose(), _EXISTS, Reply(body=_map(**other))]
    labels = {"imagekit/run": "r"}
    sent = {"kind": "ConfigMap", "metadata": {"name": "m", "labels": labels}}

    with pytest.raises(AlreadyExistsError):
        Cluster(api).create({**sent, "data": {"a": "1"}})


def test_create_of_what_exists_does_not_look(server: ApiServer, api: Api) -> None:
    server.script += [_EXISTS]

    with pytest.raises(AlreadyExistsError):
        Cluster(api).create({"kind": "ConfigMap", "metadata": {"name": "m"}})

    assert len(server.received) == 1


def test_create_that_never_got_there_is_not_taken_for_done(
    server: ApiServer, open_api: Open
) -> None:
    down = Event()
    api = open_api(waiting=lambda _reason: down.set())
    server.stop()
    server.script += [_EXISTS]
    sent = {"kind": "ConfigMap", "metadata": {"name": "m"}}
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(Cluster(api).create, sent)
        assert down.wait(10)
        server.start()
        with pytest.raises(AlreadyExistsError):
            asked.result(10)
    assert len(server.received) == 1


def test_claim_whose_answer_was_lost_is_known_as_ours(
    server: ApiServer, api: Api
) -> None:
    claim: Any = {"metadata": {"labels": {"imagekit/claimed-by": "pod-1"}}}
    server.script += [Lose(), _CONFLICT, Reply(body=_map(**claim))]

    found = Cluster(api).patch("ConfigMap", "m", claim, resource_version="7")

    assert found == _map(**claim)
    assert server.received[0].body["metadata"]["resourceVersion"] == "7"
    assert claim == {"metadata": {"labels": {"imagekit/claimed-by": "pod-1"}}}


def test_claim_that_somebody_else_made_is_a_conflict(
    server: ApiServer, api: Api
) -> None:
    claim: Any = {"metadata": {"labels": {"imagekit/claimed-by": "pod-1"}}}
    theirs = _map(metadata={"labels": {"imagekit/claimed-by": "pod-2"}})
    server.script += [Lose(), _CONFLICT, Reply(body=theirs), _CONFLICT]

    for _ in range(2):
        with pytest.raises(ConflictError):
            Cluster(api).patch("ConfigMap", "m", claim, resource_version="7")


def test_delete_whose_answer_was_lost_is_done(server: ApiServer, api: Api) -> None:
    server.script += [Lose(), _MISSING, _MISSING]

    Cluster(api).delete("ConfigMap", "m", missing_ok=False)
    with pytest.raises(NotFoundError):
        Cluster(api).delete("ConfigMap", "m", missing_ok=False)


# Lists.


def test_list_begins_again_when_its_pages_expire(server: ApiServer, api: Api) -> None:
    server.script += [
        _page(_map("a"), _map("b"), token="t1"),
        refused(410, "Expired"),
        _page(_map("a"), _map("c"), token="t2"),
        _page(_map("d")),
    ]

    found = list(Cluster(api).list("ConfigMap", {"x": "1", "y": "2"}, limit=2))

    assert [item["metadata"]["name"] for item in found] == ["a", "b", "c", "d"]
    assert server.received[3].query == {
        "labelSelector": "x=1,y=2",
        "limit": "2",
        "continue": "t2",
    }


def test_deleting_all_needs_labels(api: Api) -> None:
    with pytest.raises(ValueError, match="wanted labels"):
        Cluster(api).delete_all("ConfigMap", {})


# Watches.


def test_watch_loses_nothing_between_connections(server: ApiServer, api: Api) -> None:
    bookmark = {"kind": "ConfigMap", "metadata": {"resourceVersion": "30"}}
    whole = _line("MODIFIED", _map("a", "31", data={"text": "x" * 5000}))
    server.script += [
        _page(_map("a", "1"), token="t"),
        _page(_map("b", "2")),
        Chunks([_line("ADDED", _map("c", "20")), _line("BOOKMARK", bookmark)]),
        Lose(),
        Chunks([whole[:3000]], end="cut"),
        Chunks([whole[:3000], whole[3000:] + _line("DELETED", _map("b", "32"))]),
        Chunks([], end="silent"),
    ]
    stop = Stop()
    found = []
    for event in watch(api, "ConfigMap", "imagekit/run", stop=stop):
        found.append(event)
        if isinstance(event, Deleted):
            stop.set()

    assert found == [
        Added(_map("a", "1")),
        Added(_map("b", "2")),
        Listed(),
        Added(_map("c", "20")),
        Modified(_map("a", "31", data={"text": "x" * 5000})),
        Deleted(_map("b", "32")),
    ]
    versions = [item.query.get("resourceVersion") for item in server.received]
    assert versions == [None, None, "10", "30", "30", "30"]
    assert server.received[2].query["allowWatchBookmarks"] == "true"


@pytest.mark.parametrize("by_event", [True, False], ids=["event", "status"])
def test_watch_that_expired_tells_what_changed_meanwhile(
    server: ApiServer, api: Api, by_event: bool
) -> None:
    expired = refused(410, "Expired")
    gone = Chunks([_line("ERROR", expired.body)]) if by_event else expired
    labels: Any = {"metadata": {"labels": {"l": "1"}}}
    again: Any = {"metadata": {"uid": "another"}}
    server.script += [
        _page(_map("same"), _map("changed"), _map("gone", **labels), _map("again")),
        gone,
        _page(_map("same"), _map("changed", "2"), _map("new"), _map("again", **again)),
        Chunks([], end="silent"),
    ]
    stop = Stop()
    events = watch(api, "ConfigMap", stop=stop)
    first = [next(events) for _ in range(5)]
    second = [next(events) for _ in range(6)]
    stop.set()

    assert list(events) == []
    assert first[4] == second[5] == Listed()
    kept = {"name": "gone", "uid": "uid-gone", "resourceVersion": "1"}
    assert second[:5] == [
        Modified(_map("changed", "2")),
        Added(_map("new")),
        Deleted(
            {
                "kind": "ConfigMap",
                "metadata": {
                    "name": "again",
                    "uid": "uid-again",
                    "resourceVersion": "1",
                },
            }
        ),
        Added(_map("again", **again)),
        Deleted({"kind": "ConfigMap", "metadata": {**kept, "labels": {"l": "1"}}}),
    ]


def test_watch_that_is_refused_says_so(server: ApiServer, api: Api) -> None:
    server.script += [_page(), _DENIED]

    with pytest.raises(ForbiddenError):
        list(watch(api, "ConfigMap", stop=Stop()))


def test_watch_of_a_server_that_never_comes_back_fails(
    server: ApiServer, open_api: Open
) -> None:
    api = open_api(patience=0.5)
    server.script += [_page(_map())]
    events = watch(api, "ConfigMap", stop=Stop())
    assert next(events) == Added(_map())
    assert next(events) == Listed()
    server.stop()

    with pytest.raises(UnreachableError):
        next(events)


@pytest.mark.parametrize("where", ["list", "head", "body", "pause"])
def test_watch_ends_promptly(server: ApiServer, open_api: Open, where: str) -> None:
    down = Event()
    api = open_api(waiting=lambda _reason: down.set())
    silent = Chunks([_line("ADDED", _map())], end="silent")
    hang = Hang()
    first = Event()
    reached = {"body": first, "pause": down}.get(where, hang.reached)
    acts: dict[str, list[Act]] = {
        "list": [hang],
        "head": [_page(), hang],
        "body": [_page(), silent],
        "pause": [refused(503, "ServiceUnavailable")] * 100,
    }
    server.script += acts[where]
    stop = Stop()
    found: list[Any] = []

    def read() -> None:
        for event in watch(api, "ConfigMap", stop=stop):
            found.append(event)
            if isinstance(event, Added):
                first.set()

    reader = Thread(target=read)
    reader.start()
    assert reached.wait(10)
    begun = time.monotonic()
    stop.set()
    reader.join(10)

    assert time.monotonic() - begun < 1
    assert found == {"list": [], "pause": []}.get(
        where, [Listed(), Added(_map())][: 1 + (where == "body")]
    )


def test_stop_that_was_set_before_ends_at_once(api: Api) -> None:
    stop = Stop()
    stop.set()

    assert list(watch(api, "ConfigMap", stop=stop)) == []


def test_stream_that_breaks_off_says_so(server: ApiServer, api: Api) -> None:
    server.script += [Chunks([b"a"], end="cut")]
    got: list[bytes] = []
    with api.stream("/x") as chunks, pytest.raises(BrokenOffError):
        got += chunks

    assert got == [b"a"]


def test_server_whose_end_a_stream_has_noticed_may_be_starting(
    server: ApiServer, api: Api
) -> None:
    server.script += [Chunks([b"a"], end="cut"), _DENIED, Reply(body=_map())]
    with api.stream("/x") as chunks, pytest.raises(BrokenOffError):
        list(chunks)

    assert Cluster(api).get("ConfigMap", "m") == _map()


# Logs.


def _pod(state: str, phase: str = "Running", **more: Any) -> Reply:
    status = {"name": "c", "state": {state: more}}
    return Reply(
        body={
            "metadata": {"name": "p"},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]},
            "status": {"phase": phase, "containerStatuses": [status]},
        }
    )


def _at(second: int, text: str, nanoseconds: int = 0) -> bytes:
    return f"2024-05-01T10:00:{second:02}.{nanoseconds:09}Z {text}".encode()


_ENDED = _pod("terminated", "Succeeded", exitCode=0)


def test_log_is_followed_over_connections_that_break(
    server: ApiServer, api: Api
) -> None:
    waits = refused(400, "BadRequest", 'container "c" is waiting to start: Pulling')
    one, two, three = _at(5, "one\n"), _at(7, "two\n", 1), _at(7, "three\n", 1)
    four = _at(8, "no newline")
    server.script += [
        _pod("waiting", "Pending"),
        _pod("running"),
        waits,
        _pod("running"),
        Chunks([one, two + three[:9]], end="cut"),
        _pod("running"),
        Lose(),
        Chunks([two, three + four]),
        _ENDED,
        Chunks([two + three + four]),
    ]

    found = list(follow_log(api, "p", "c", stop=Stop()))

    assert found == [b"one\n", b"two\n", b"three\n", b"no newline"]
    logs = [item for item in server.received if item.path == f"{_POD}/log"]
    assert [item.query.get("sinceTime") for item in logs] == [
        None,
        None,
        *["2024-05-01T10:00:06Z"] * 3,
    ]
    assert [item.query.get("follow") for item in logs] == ["true"] * 4 + [None]


def test_log_of_a_pod_that_is_gone_ends(server: ApiServer, api: Api) -> None:
    server.script += [
        _pod("running"),
        Chunks([_at(1, "one\n")]),
        refused(404, "NotFound"),
    ]

    assert list(follow_log(api, "p", "c", stop=Stop())) == [b"one\n"]


def test_log_of_a_container_that_never_started_ends(
    server: ApiServer, api: Api
) -> None:
    server.script += [
        _pod("waiting", "Failed"),
        refused(400, "BadRequest", 'container "c" in pod "p" is terminated'),
    ]

    assert list(follow_log(api, "p", "c", stop=Stop())) == []


def test_log_of_a_container_that_is_not_there_is_an_error(
    server: ApiServer, api: Api
) -> None:
    server.script += [_pod("running")]

    with pytest.raises(ClusterError, match=r"no container 'x' \(containers: 'c'\)"):
        list(follow_log(api, "p", "x", stop=Stop()))


@pytest.mark.parametrize("where", ["head", "body", "pause"])
def test_log_ends_promptly(server: ApiServer, api: Api, where: str) -> None:
    silent, hang = Chunks([_at(1, "one\n")], end="silent"), Hang()
    looked, first = Event(), Event()
    waiting = _pod("waiting", "Pending")
    acts: dict[str, list[Act]] = {
        "head": [_pod("running"), hang],
        "body": [_pod("running"), silent],
        "pause": [Reply(200, waiting.body, before=looked.set)] * 100,
    }
    server.script += acts[where]
    reached = {"head": hang.reached, "body": first, "pause": looked}[where]
    stop = Stop()
    found: list[bytes] = []

    def read() -> None:
        for text in follow_log(api, "p", "c", stop=stop):
            found.append(text)
            first.set()

    reader = Thread(target=read)
    reader.start()
    assert reached.wait(10)
    begun = time.monotonic()
    stop.set()
    reader.join(10)

    assert time.monotonic() - begun < 1
    assert found == ([b"one\n"] if where == "body" else [])


def test_importing_costs_little() -> None:
    modules = "in_pod, api, watching, pod_logs, kubeconfig"
    program = f"import sys; from imagekit.cluster import {modules}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    heavy = {"ssl", "socket", "http.client", "urllib3", "kubernetes", "asyncio"}
    assert heavy.isdisjoint(done.stdout.split())
    assert {"inspect", "subprocess", "logging"}.isdisjoint(done.stdout.split())
