"""Access from the client is found as ``kubectl`` finds it, or it is said what lacks."""

import base64
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_server import (
    TOKEN,
    ApiServer,
    Reply,
    kubeconfig_document,
    write_service_account,
)
from machine.certificates import MutualTLS, mutual_tls

from imagekit.cluster import in_pod
from imagekit.cluster.in_pod import PodApi
from imagekit.cluster.kubeconfig import client_api
from imagekit.task_errors import InitializationError


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> MutualTLS:
    return mutual_tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server(tls: MutualTLS) -> Iterator[ApiServer]:
    with ApiServer(tls) as running:
        yield running


@pytest.fixture(autouse=True)
def _outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)


def _document(server: ApiServer, user: Any = None, name: str = "test") -> Any:
    address = f"https://127.0.0.1:{server.port}"
    return kubeconfig_document(address, server.ca, user, name)


def _write(path: Path, document: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = document if isinstance(document, str) else json.dumps(document)
    path.write_text(text)
    return str(path)


def _ask(server: ApiServer, **options: Any) -> str:
    """Return the authorization that a request is sent with."""
    server.script.append(Reply(body={}))
    api = client_api(patience=2, **options)
    api.request("GET", "/version")
    api.close()
    return server.received[-1].headers.get("authorization", "")


def test_default_file_and_namespace_of_its_context(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    _write(tmp_path / ".kube/config", _document(server))

    assert _ask(server) == f"Bearer {TOKEN}"
    assert client_api().namespace == "tests"
    assert client_api(namespace="mine").namespace == "mine"


def test_namespace_is_default_where_nobody_says_another(
    server: ApiServer, tmp_path: Path
) -> None:
    document = _document(server)
    del document["contexts"][0]["context"]["namespace"]
    path = _write(tmp_path / "config", document)

    assert client_api(kubeconfig=path).namespace == "default"


def test_several_files_are_one(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = _write(tmp_path / "one", _document(server, {"token": "one"}, "one"))
    two = _write(tmp_path / "two", _document(server, {"token": "two"}, "two"))
    missing = str(tmp_path / "missing")
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join([missing, one, two]))

    assert _ask(server, context="one") == "Bearer one"
    assert _ask(server, context="two") == "Bearer two"


def test_login_by_a_plugin(server: ApiServer, tmp_path: Path) -> None:
    version = "client.authentication.k8s.io/v1"
    answer = {
        "apiVersion": version,
        "kind": "ExecCredential",
        "status": {"token": "from-plugin"},
    }
    plugin = {
        "apiVersion": version,
        "command": sys.executable,
        "args": ["-c", f"print({json.dumps(answer)!r})"],
        "interactiveMode": "Never",
    }
    path = _write(tmp_path / "config", _document(server, {"exec": plugin}))

    assert _ask(server, kubeconfig=path) == "Bearer from-plugin"


@pytest.mark.parametrize("program", ["import sys; sys.exit('log in first')", "no"])
def test_plugin_that_fails_is_told_and_logs_nothing(
    server: ApiServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    program: str,
) -> None:
    command = sys.executable if program != "no" else "no-such-plugin"
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": command,
        "args": ["-c", program],
    }
    path = _write(tmp_path / "config", _document(server, {"exec": plugin}))
    handlers = list(logging.getLogger().handlers)

    with pytest.raises(InitializationError, match="can't log in as 'test'") as caught:
        client_api(kubeconfig=path)

    if program != "no":
        assert "log in first" in str(caught.value)
    assert caught.value.hint
    assert logging.getLogger().handlers == handlers


def test_client_certificate_in_the_file(
    server: ApiServer, tls: MutualTLS, tmp_path: Path
) -> None:
    user = {
        "client-certificate-data": base64.b64encode(
            tls.client.cert.read_bytes()
        ).decode(),
        "client-key-data": base64.b64encode(tls.client.key.read_bytes()).decode(),
    }
    server.require(tls.ca)
    path = _write(tmp_path / "config", _document(server, user))

    assert _ask(server, kubeconfig=path) == ""


def test_server_that_need_not_be_trusted_warns_nobody(
    server: ApiServer, tmp_path: Path
) -> None:
    address = f"https://localhost:{server.port}"
    path = _write(tmp_path / "config", kubeconfig_document(address, None))

    assert _ask(server, kubeconfig=path) == f"Bearer {TOKEN}"


def test_address_with_a_path(server: ApiServer, tmp_path: Path) -> None:
    document = _document(server)
    document["clusters"][0]["cluster"]["server"] += "/k8s/clusters/c-1/"
    _ask(server, kubeconfig=_write(tmp_path / "config", document))

    assert server.received[0].path == "/k8s/clusters/c-1/version"


def test_pod_without_a_kubeconfig_uses_its_account(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_service_account(tmp_path / "account", server.ca, "pods")
    monkeypatch.setattr(in_pod, "FOLDER", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))

    api = client_api()

    assert isinstance(api, PodApi)
    assert api.namespace == "pods"
    assert _ask(server) == f"Bearer {TOKEN}"


def test_no_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    with pytest.raises(InitializationError) as caught:
        client_api()
    assert str(caught.value) == (
        f"wanted a kubeconfig, found no file '{tmp_path}/.kube/config'"
    )
    assert "KUBECONFIG" in str(caught.value.hint)
    with pytest.raises(InitializationError, match="found no file '/no/such'"):
        client_api(kubeconfig="/no/such")


def test_unknown_context_names_those_that_are_known(
    server: ApiServer, tmp_path: Path
) -> None:
    path = _write(tmp_path / "config", _document(server))

    with pytest.raises(InitializationError) as caught:
        client_api(kubeconfig=path, context="other")

    assert str(caught.value) == f"no context 'other' in '{path}' (contexts: 'test')"


def test_no_current_context(server: ApiServer, tmp_path: Path) -> None:
    document = _document(server)
    document["current-context"] = ""
    path = _write(tmp_path / "config", document)

    with pytest.raises(InitializationError, match=r"found none \(contexts: 'test'\)"):
        client_api(kubeconfig=path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "- a list",
        "text",
        "{",
        "contexts: 5",
        f"a: [{TOKEN}\nb",
        f"users: [{{token: {TOKEN}}}]\ncontexts: [{{name: a}}]\ncurrent-context: a",
        f"current-context: a\ncontexts: [{{name: a, context: {{user: {TOKEN}}}}}]",
    ],
)
def test_file_that_is_no_kubeconfig_is_not_quoted(tmp_path: Path, content: str) -> None:
    path = _write(tmp_path / "config", content)

    with pytest.raises(InitializationError, match="kubeconfig") as caught:
        client_api(kubeconfig=path)

    told = f"{caught.value!r} {caught.value.hint} {caught.value.__cause__!r}"
    assert path in told
    assert TOKEN not in told


def test_file_that_names_a_missing_one(server: ApiServer, tmp_path: Path) -> None:
    document = _document(server)
    document["clusters"][0]["cluster"]["certificate-authority"] = "/no/ca"
    path = _write(tmp_path / "config", document)

    with pytest.raises(InitializationError, match="File does not exist: /no/ca"):
        client_api(kubeconfig=path)


def test_folder_is_no_kubeconfig(tmp_path: Path) -> None:
    with pytest.raises(InitializationError, match="can't read the kubeconfig"):
        client_api(kubeconfig=str(tmp_path))


def test_missing_package_says_what_to_install(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _write(tmp_path / "config", _document(server))
    monkeypatch.setitem(sys.modules, "kubernetes", None)

    with pytest.raises(InitializationError) as caught:
        client_api(kubeconfig=path)

    assert caught.value.hint == "pip install 'imagekit[kubernetes]'"


def test_real_package_can_be_imported_afterwards(
    server: ApiServer, tmp_path: Path
) -> None:
    path = _write(tmp_path / "config", _document(server))
    program = f"""
import sys
from imagekit.cluster.kubeconfig import client_api
client_api(kubeconfig={path!r})
assert "kubernetes" not in sys.modules
assert "kubernetes.watch" not in sys.modules
import kubernetes
kubernetes.client.CoreV1Api, kubernetes.watch.Watch, kubernetes.config.kube_config
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
