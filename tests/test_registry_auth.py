"""Logging in to registries: where logins are found, and who gets to see them."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import faulty_registry as faulty
import pytest
from faulty_registry import FaultyRegistry
from machine.registry import HTPASSWD, PASSWORD, USER, Registry
from machine.state import UnsupportedMachineError

from imagekit.digest import Digest
from imagekit.errors import AuthenticationError, RegistryError, SettingsError
from imagekit.oci.address import Endpoint
from imagekit.oci.auth import Authorizer, Challenge, pull, push
from imagekit.oci.credentials import (
    Credential,
    Credentials,
    IdentityToken,
    Password,
    RegistryToken,
)
from imagekit.oci.registry import Registries, Repository, RetryPolicy
from imagekit.oci.transport import Transport
from imagekit.progress import Event, Note

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
SECRET = "s3cret:with/odd=chars"


def basic(username: str, password: str) -> str:
    return base64.b64encode(f"{username}:{password}".encode()).decode()


@pytest.fixture(autouse=True)
def no_logins(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def config(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    def write(content: dict[str, Any]) -> Path:
        path = tmp_path / "config.json"
        path.write_text(json.dumps(content))
        return path

    return write


Config = Callable[[dict[str, Any]], Path]


def login(config: Config, server: FaultyRegistry, **entry: str) -> Registries:
    path = config({"auths": {server.host: entry}})
    return Registries(docker_config=path, retry=RetryPolicy(sleep=lambda _s: None))


def use(repository: Repository) -> None:
    """Write and read a little."""
    repository.upload_blob(Digest.of(b"x"), 1, lambda: io.BytesIO(b"x"))
    config = {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": str(Digest.of(b"x")),
        "size": 1,
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config,
        "layers": [],
    }
    repository.put_manifest("v1", json.dumps(manifest).encode(), MANIFEST)
    assert repository.get_manifest("v1") is not None


# Where logins are


@pytest.mark.parametrize(
    ("auths", "registry", "found"),
    [
        ({"r.io": {"auth": basic("u", "p:q")}}, "r.io", Password("u", "p:q")),
        ({"r.io": {"username": "u", "password": "p"}}, "r.io", Password("u", "p")),
        ({"https://r.io/v2/": {"auth": basic("u", "p")}}, "r.io", Password("u", "p")),
        ({"http://r.io:80": {"auth": basic("u", "p")}}, "r.io:80", Password("u", "p")),
        (
            {"https://index.docker.io/v1/": {"auth": basic("u", "p")}},
            "docker.io",
            Password("u", "p"),
        ),
        ({"docker.io": {"auth": basic("u", "p")}}, "docker.io", Password("u", "p")),
        (
            {"r.io": {"auth": basic("00000000-0", ""), "identitytoken": "t"}},
            "r.io",
            IdentityToken("t"),
        ),
        ({"r.io": {"auth": basic("<token>", "t")}}, "r.io", IdentityToken("t")),
        ({"r.io": {"registrytoken": "t"}}, "r.io", RegistryToken("t")),
        ({"r.io": {"auth": basic("u", "p")}}, "r.io:5000", None),
        ({"r.io": {"auth": basic("u", "p")}}, "docker.io", None),
        ({"r.io": {}}, "r.io", None),
        ({"r.io": {"auth": basic("u", "")}}, "r.io", None),
        (
            {
                "r.io": {"auth": basic("host", "p")},
                "r.io/team": {"auth": basic("team", "p")},
                "r.io/team/other": {"auth": basic("other", "p")},
            },
            "r.io",
            Password("team", "p"),
        ),
    ],
)
def test_logins_in_a_file(
    config: Config, auths: dict[str, Any], registry: str, found: Credential | None
) -> None:
    credentials = Credentials(config({"auths": auths}))

    assert credentials.find(registry, "team/app") == found


def test_logins_of_docker_come_before_those_of_podman(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {
        "docker": tmp_path / "docker" / "config.json",
        "file": tmp_path / "podman.json",
        "runtime": tmp_path / "run" / "containers" / "auth.json",
        "home": tmp_path / "etc" / "containers" / "auth.json",
    }
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(places["file"]))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "etc"))
    assert Credentials().find("r.io", "app") is None
    for name, path in reversed(places.items()):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"auths": {"r.io": {"auth": basic(name, "p")}}}))

        assert Credentials().find("r.io", "app") == Password(name, "p")


def test_the_home_folder_is_docker_s_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text(
        json.dumps({"auths": {"r.io": {"auth": basic("u", "p")}}})
    )

    assert Credentials().find("r.io", "app") == Password("u", "p")


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"auths": {"r.io": {"auth": "%%%"}}}'], ids=repr
)
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)

    with pytest.raises(SettingsError, match=r"config\.json"):
        Credentials(path).find("r.io", "app")


def test_odd_shapes_are_no_logins(config: Config) -> None:
    path = config({"auths": {"r.io": "text"}, "credHelpers": [], "credsStore": ""})

    assert Credentials(path).find("r.io", "app") is None


def test_no_login_shows_its_secret() -> None:
    for credential in (
        Password("u", SECRET),
        IdentityToken(SECRET),
        RegistryToken(SECRET),
    ):
        assert SECRET not in repr(credential)


# Credential helpers


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a credential helper on PATH, which knows one server."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")

    def make(name: str, server: str, username: str, secret: str) -> None:
        answer = json.dumps(
            {"ServerURL": server, "Username": username, "Secret": secret}
        )
        path = folder / f"docker-credential-{name}"
        path.write_text(
            "#!/bin/sh\n"
            '[ "$1" = get ] || exit 2\n'
            "read -r server\n"
            f'if [ "$server" = "{server}" ]; then\n'
            f"  echo '{answer}'\n"
            "else\n"
            "  echo 'credentials not found in native keychain'; exit 1\n"
            "fi\n"
        )
        path.chmod(0o755)

    return make


def test_a_helper_gives_logins(config: Config, helper: Callable[..., None]) -> None:
    helper("one", "r.io", "u", "p")
    helper("hub", "https://index.docker.io/v1/", "<token>", "t")
    path = config(
        {
            "credHelpers": {"r.io": "one"},
            "credsStore": "hub",
            "auths": {"plain.io": {"auth": basic("file", "p")}},
        }
    )
    credentials = Credentials(path)

    assert credentials.find("r.io", "app") == Password("u", "p")
    assert credentials.find("docker.io", "library/python") == IdentityToken("t")
    assert credentials.find("plain.io", "app") == Password("file", "p")
    assert credentials.find("unknown.io", "app") is None


@pytest.mark.parametrize(
    ("name", "script", "text"),
    [
        ("absent", None, "no program docker-credential-absent"),
        ("../evil", None, "no program"),
        ("broken", "exit 3", "exit status 3"),
        ("garbage", f"echo {SECRET}", "not understood"),
        ("partial", """echo '{"Username": "u"}'""", "not understood"),
    ],
)
def test_a_helper_that_does_not_work_is_noted(
    config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    script: str | None,
    text: str,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    if script:
        program = tmp_path / f"docker-credential-{name}"
        program.write_text(f"#!/bin/sh\ncat > /dev/null\n{script}\n")
        program.chmod(0o755)
    events: list[Event] = []
    path = config({"credHelpers": {"r.io": name}})

    assert Credentials(path, events.append).find("r.io", "app") is None

    [note] = events
    assert isinstance(note, Note)
    assert text in note.text
    assert SECRET not in note.text


def test_a_push_with_a_helper(config: Config, helper: Callable[..., None]) -> None:
    with FaultyRegistry(login=("u", "p")) as server:
        helper("one", server.host, "u", "p")
        path = config({"credHelpers": {server.host: "one"}})
        with Registries(docker_config=path) as registries:
            use(registries.repository(server.host, "app"))


# Basic


def test_a_basic_login(config: Config) -> None:
    with (
        FaultyRegistry(login=("me", SECRET)) as server,
        login(config, server, auth=basic("me", SECRET)) as registries,
    ):
        use(registries.repository(server.host, "app"))

    # Asked for once, then sent unasked.
    assert [seen.authorization is None for seen in server.seen].count(True) == 1


def test_a_login_is_not_sent_to_who_does_not_ask(config: Config) -> None:
    with (
        FaultyRegistry() as server,
        login(config, server, auth=basic("me", SECRET)) as registries,
    ):
        use(registries.repository(server.host, "app"))

    assert {seen.authorization for seen in server.seen} == {None}
    assert server.requests("GET", "/token") == []


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
def test_a_wrong_login_is_refused_at_once(config: Config, scheme: str) -> None:
    with (
        FaultyRegistry(login=("me", "right"), scheme=scheme) as server,
        login(config, server, auth=basic("me", SECRET)) as registries,
    ):
        with pytest.raises(AuthenticationError) as caught:
            registries.repository(server.host, "app").head_manifest("v1")
        assert len(server.seen) <= 3

    error = caught.value
    assert error.status == 401
    assert "docker login" in str(error.hint)
    assert "refused" in str(error.hint)
    for text in (str(error), repr(error), str(error.hint), repr(registries)):
        assert SECRET not in text
        assert basic("me", SECRET) not in text


def test_no_login_where_one_is_wanted(config: Config) -> None:
    with (
        FaultyRegistry(login=("me", "right")) as server,
        login(config, server) as registries,
        pytest.raises(AuthenticationError) as caught,
    ):
        registries.repository(server.host, "app").get_manifest("v1")

    assert "no login" in str(caught.value.hint)


# Bearer


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Basic"], [("basic", {})]),
        (['Basic realm="a, b"'], [("basic", {"realm": "a, b"})]),
        (
            ['Bearer realm="https://a/t",service="s",scope="repository:x:pull,push"'],
            [
                (
                    "bearer",
                    {
                        "realm": "https://a/t",
                        "service": "s",
                        "scope": "repository:x:pull,push",
                    },
                )
            ],
        ),
        (
            ['BEARER Realm = "x" , error=insufficient_scope, Basic realm="y"'],
            [
                ("bearer", {"realm": "x", "error": "insufficient_scope"}),
                ("basic", {"realm": "y"}),
            ],
        ),
        (
            ['Basic realm="y"', r'Bearer realm="a\"b"'],
            [("basic", {"realm": "y"}), ("bearer", {"realm": 'a"b'})],
        ),
        ([""], []),
        ([], []),
        (["nonsense"], []),
    ],
)
def test_challenges(
    lines: list[str], expected: list[tuple[str, dict[str, str]]]
) -> None:
    found = Challenge.parse(lines)

    assert [(c.scheme, c.parameters) for c in found] == expected


def test_a_public_repository_is_read_without_a_login(config: Config) -> None:
    with (
        FaultyRegistry(scheme="bearer") as server,
        login(config, server) as registries,
    ):
        server.add_manifest("app", b"{}", MANIFEST, "v1")
        app = registries.repository(server.host, "app")

        assert app.get_manifest("v1") is not None
        assert app.get_manifest("v1") is not None
        assert app.head_manifest("v1") is not None

    assert server.issued == ["repository:app:pull"]


def test_one_token_is_enough_for_a_push_with_mounts(config: Config) -> None:
    with (
        FaultyRegistry(login=("me", SECRET), scheme="bearer") as server,
        login(config, server, auth=basic("me", SECRET)) as registries,
    ):
        digest = server.add_blob("library/python", b"base")
        target = registries.repository(server.host, "app")
        target = target.for_push(frozenset({"library/python"}))

        assert target.head_manifest("v1") is None
        assert target.mount_blob(digest, "library/python")
        use(target)

    assert server.issued == ["repository:app:pull,push repository:library/python:pull"]


def test_a_mount_that_turns_up_later_widens_the_token(config: Config) -> None:
    with (
        FaultyRegistry(login=("me", SECRET), scheme="bearer") as server,
        login(config, server, auth=basic("me", SECRET)) as registries,
    ):
        digest = server.add_blob("library/python", b"base")
        app = registries.repository(server.host, "app")
        use(app)

        assert app.mount_blob(digest, "library/python")

    assert (
        server.issued[-1] == "repository:app:pull,push repository:library/python:pull"
    )


def test_an_identity_token_is_exchanged(config: Config) -> None:
    with (
        FaultyRegistry(scheme="bearer", identity_token=SECRET) as server,
        login(config, server, identitytoken=SECRET) as registries,
    ):
        use(registries.repository(server.host, "app"))

        assert len(server.requests("POST", "^/token")) == 1
    assert all(SECRET not in seen.path for seen in server.seen)


def test_an_expired_token_is_renewed(config: Config) -> None:
    with (
        FaultyRegistry(login=("me", SECRET), scheme="bearer") as server,
        login(config, server, auth=basic("me", SECRET)) as registries,
    ):
        app = registries.repository(server.host, "app")
        use(app)
        server.revoke_tokens()
        use(app)

    assert len(server.issued) == 2


def test_a_token_that_is_refused_for_ever_ends(config: Config) -> None:
    with (
        FaultyRegistry(login=("me", SECRET), scheme="bearer") as server,
        login(config, server, auth=basic("me", SECRET)) as registries,
    ):
        challenge = (
            ("WWW-Authenticate", f'Bearer realm="http://{server.host}/token"'),
        )
        server.fail("GET", "^/v2", faulty.Answer(401, "DENIED", challenge), times=99)

        with pytest.raises(AuthenticationError) as caught:
            registries.repository(server.host, "app").get_manifest("v1")

        assert len(server.requests("GET", "^/v2")) == 3
    assert caught.value.code == "DENIED"


def test_many_threads_fetch_one_token(config: Config) -> None:
    with (
        FaultyRegistry(login=("me", SECRET), scheme="bearer") as server,
        login(config, server, auth=basic("me", SECRET)) as registries,
    ):
        app = registries.repository(server.host, "app")
        digests = [server.add_blob("app", bytes([n])) for n in range(40)]
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(app.has_blob, digests))

    assert len(server.issued) == 1


def test_the_token_server_may_fail_for_a_time(config: Config) -> None:
    with (
        FaultyRegistry(login=("me", SECRET), scheme="bearer") as server,
        login(config, server, auth=basic("me", SECRET)) as registries,
    ):
        server.fail("GET", "^/token", faulty.Answer(503))
        server.fail("GET", "^/token", faulty.Drop())

        use(registries.repository(server.host, "app"))


def test_what_is_no_token_is_an_error(config: Config) -> None:
    with (
        FaultyRegistry(login=("me", SECRET), scheme="bearer") as server,
        login(config, server, auth=basic("me", SECRET)) as registries,
    ):
        server.fail("GET", "^/token", faulty.Halve(), times=9)

        with pytest.raises(RegistryError, match="wanted an access token"):
            registries.repository(server.host, "app").get_manifest("v1")


@pytest.mark.parametrize(
    ("realm", "text"),
    [
        ("http://auth.example.com/token", "without TLS"),
        ("http://10.0.0.1/token", "private host"),
        ("", "wanted a Location"),
    ],
)
def test_a_login_is_not_sent_to_a_doubtful_realm(
    config: Config, realm: str, text: str
) -> None:
    with (
        FaultyRegistry() as server,
        login(config, server, auth=basic("me", SECRET)) as registries,
    ):
        challenge = (("WWW-Authenticate", f'Bearer realm="{realm}"'),)
        server.fail("GET", "^/v2", faulty.Answer(401, "", challenge), times=9)

        with pytest.raises(RegistryError, match=text):
            registries.repository(server.host, "app").get_manifest("v1")


def test_a_token_is_used_until_shortly_before_it_expires() -> None:
    now = [1000.0]
    with FaultyRegistry(scheme="bearer") as server:
        transport = Transport()
        authorizer = Authorizer(
            Endpoint.parse(server.host),
            lambda: None,
            transport,
            clock=lambda: now[0],
        )
        url = f"http://{server.host}/v2/app/manifests/v1"
        refused = transport.send("GET", url, headers={})
        assert authorizer.header(pull("app")) is None

        first = authorizer.renewed(refused, pull("app"), None)
        now[0] += 200
        assert authorizer.header(pull("app")) == first
        assert authorizer.header(push("app")) != first
        now[0] += 95
        assert authorizer.header(pull("app")) != first
        transport.close()


# Real registries


@pytest.mark.engine
def test_a_registry_with_passwords(
    empty_registry: Callable[..., Registry], config: Config
) -> None:
    address = empty_registry(htpasswd=HTPASSWD).address
    good = config({"auths": {address: {"auth": basic(USER, PASSWORD)}}})
    with Registries(docker_config=good) as registries:
        use(registries.repository(address, "team/app"))
    bad = config({"auths": {address: {"auth": basic(USER, SECRET)}}})
    with (
        Registries(docker_config=bad) as registries,
        pytest.raises(AuthenticationError),
    ):
        registries.repository(address, "team/app").head_manifest("v1")


class TokenServer:
    """Signs tokens that a real registry believes, with openssl."""

    def __init__(self, folder: Path) -> None:
        self.key, self.certificate = folder / "key.pem", folder / "cert.pem"
        command = (
            "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=tokens "
            f"-keyout {self.key} -out {self.certificate}"
        )
        subprocess.run(command.split(), check=True, capture_output=True)
        self.asked: list[list[str]] = []
        tokens = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                if self.headers.get("Authorization") != f"Basic {basic('me', SECRET)}":
                    self.send_error(401)
                    return
                tokens.asked.append(query["scope"])
                body = json.dumps({"token": tokens.sign(query["scope"])}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.realm = f"http://127.0.0.1:{self.server.server_address[1]}/token"
        self.thread = Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def sign(self, scopes: list[str]) -> str:
        body = "".join(self.certificate.read_text().splitlines()[1:-1])
        header = {"typ": "JWT", "alg": "RS256", "x5c": [body]}
        now = int(time.time())
        claims = {
            "iss": "tests",
            "sub": "me",
            "aud": "registry",
            "exp": now + 300,
            "nbf": now - 5,
            "iat": now,
            "jti": str(now),
            "access": [
                {"type": kind, "name": name, "actions": actions.split(",")}
                for kind, name, actions in (scope.split(":") for scope in scopes)
            ],
        }
        text = ".".join(
            base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
            for part in (header, claims)
        )
        signature = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", str(self.key)],
            input=text.encode(),
            capture_output=True,
            check=True,
        ).stdout
        return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def token_server(tmp_path: Path) -> Iterator[TokenServer]:
    server = TokenServer(tmp_path)
    yield server
    server.stop()


@pytest.mark.engine
def test_a_registry_with_tokens(token_server: TokenServer, config: Config) -> None:
    class TokenRegistry(Registry):
        def _configuration(
            self, htpasswd: str | None, read_only: bool
        ) -> dict[str, Any]:
            token = {
                "realm": token_server.realm,
                "service": "registry",
                "issuer": "tests",
                "rootcertbundle": str(token_server.certificate),
            }
            base = super()._configuration(htpasswd, read_only)
            return {**base, "auth": {"token": token}}

    try:
        registry = TokenRegistry()
    except UnsupportedMachineError as error:
        pytest.skip(f"this machine can't be set up: {error}")
    with registry:
        path = config({"auths": {registry.address: {"auth": basic("me", SECRET)}}})
        with Registries(docker_config=path) as registries:
            base = registries.repository(registry.address, "library/python")
            base.upload_blob(Digest.of(b"base"), 4, lambda: io.BytesIO(b"base"))
            target = registries.repository(registry.address, "team/app")
            target = target.for_push(frozenset({"library/python"}))

            assert target.mount_blob(Digest.of(b"base"), "library/python")
            use(target)

    assert token_server.asked == [
        ["repository:library/python:pull,push"],
        ["repository:library/python:pull", "repository:team/app:pull,push"],
    ]
