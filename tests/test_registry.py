"""Repositories: manifests and blobs over connections and registries that fail."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import faulty_registry as faulty
import pytest
from faulty_registry import FaultyRegistry

from imagekit.digest import Digest
from imagekit.errors import (
    AuthenticationError,
    HashMismatchError,
    RegistryError,
    SettingsError,
)
from imagekit.oci.registry import Registries, Repository, RetryPolicy
from imagekit.progress import Event, Note, TaskAdvanced
from imagekit.reference import Reference
from imagekit.store import Store

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
BLOB = bytes(range(256)) * 4096  # 1 MiB


class Recorder:
    def __init__(self) -> None:
        self.pauses: list[float] = []
        self.events: list[Event] = []

    @property
    def notes(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Note)]

    @property
    def advanced(self) -> int:
        return sum(e.amount for e in self.events if isinstance(e, TaskAdvanced))

    @property
    def retry(self) -> RetryPolicy:
        return RetryPolicy(sleep=self.pauses.append)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def registries(recorder: Recorder, tmp_path: Path) -> Iterator[Registries]:
    with Registries(
        retry=recorder.retry,
        progress=recorder.events.append,
        docker_config=tmp_path / "config.json",
    ) as registries:
        yield registries


@pytest.fixture
def server() -> Iterator[FaultyRegistry]:
    with FaultyRegistry() as server:
        yield server


@pytest.fixture
def app(registries: Registries, server: FaultyRegistry) -> Repository:
    return registries.repository(server.host, "team/app")


def upload(
    repository: Repository, data: bytes = BLOB, task: str | None = None
) -> Digest:
    digest = Digest.of(data)
    repository.upload_blob(digest, len(data), lambda: io.BytesIO(data), task=task)
    return digest


# Manifests


def test_a_manifest_comes_back_as_it_was_written(app: Repository) -> None:
    content = b'{"schemaVersion": 2}'

    digest = app.put_manifest("v1", content, MANIFEST)

    head = app.head_manifest("v1")
    assert head is not None
    assert (head.digest, head.media_type, head.size) == (digest, MANIFEST, len(content))
    for reference in ("v1", str(digest)):
        found = app.get_manifest(reference)
        assert found is not None
        assert (found.content, found.media_type) == (content, MANIFEST)


def test_none_means_that_the_registry_has_no_such_manifest(app: Repository) -> None:
    assert app.head_manifest("nope") is None
    assert app.get_manifest(str(Digest.of(b"nope"))) is None
    assert not app.has_blob(Digest.of(b"nope"))


@pytest.mark.parametrize("status", [400, 403, 405, 500, 502, 503])
def test_any_other_status_is_an_error(
    app: Repository, server: FaultyRegistry, status: int
) -> None:
    server.fail("HEAD", ".", faulty.Answer(status), times=99)
    server.fail("GET", ".", faulty.Answer(status, "UNKNOWN"), times=99)

    for ask in (app.head_manifest, app.get_manifest):
        with pytest.raises(RegistryError) as caught:
            ask("v1")
        assert caught.value.status == status
    with pytest.raises(RegistryError):
        app.has_blob(Digest.of(b""))


def test_a_damaged_manifest_is_refused(app: Repository, server: FaultyRegistry) -> None:
    digest = server.add_manifest("team/app", b'{"a": 1}', MANIFEST, "v1")
    for reference in ("v1", str(digest)):
        server.fail("GET", "manifests", faulty.Damage())
        with pytest.raises(HashMismatchError, match=str(digest)):
            app.get_manifest(reference)


def test_a_wrong_content_digest_is_refused(
    app: Repository, server: FaultyRegistry
) -> None:
    digest = server.add_manifest("team/app", b'{"a": 1}', MANIFEST, "v1")
    wrong = faulty.Header("Docker-Content-Digest", str(Digest.of(b"other")))
    server.fail("GET", ".", wrong)
    server.fail("HEAD", ".", wrong)
    server.fail("PUT", ".", wrong)

    with pytest.raises(HashMismatchError):
        app.get_manifest("v1")
    with pytest.raises(RegistryError, match="wanted manifest"):
        app.head_manifest(str(digest))
    with pytest.raises(RegistryError, match="says that it stored"):
        app.put_manifest("v1", b"{}", MANIFEST)


def test_a_head_without_digest_asks_for_the_manifest(
    app: Repository, server: FaultyRegistry
) -> None:
    digest = server.add_manifest("team/app", b'{"a": 1}', MANIFEST, "v1")
    server.fail("HEAD", ".", faulty.Header("Docker-Content-Digest", ""))

    head = app.head_manifest("v1")

    assert head is not None
    assert head.digest == digest


def test_the_media_type_may_be_in_the_document_only(
    app: Repository, server: FaultyRegistry
) -> None:
    content = json.dumps({"mediaType": INDEX, "manifests": []}).encode()
    server.add_manifest("team/app", content, "text/plain", "v1")
    server.add_manifest("team/app", b"<html>", "text/html", "page")

    found = app.get_manifest("v1")

    assert found is not None
    assert found.media_type == INDEX
    with pytest.raises(RegistryError, match="schema 2 manifest"):
        app.get_manifest("page")


def test_bytes_are_not_written_under_another_digest(app: Repository) -> None:
    with pytest.raises(HashMismatchError):
        app.put_manifest(str(Digest.of(b"other")), b"{}", MANIFEST)


# Retries


@pytest.mark.parametrize(
    "fault",
    [faulty.Drop(), faulty.Lose(), faulty.Answer(500), faulty.Answer(503)],
    ids=repr,
)
def test_what_fails_for_a_time_is_tried_again(
    app: Repository, server: FaultyRegistry, recorder: Recorder, fault: faulty.Fault
) -> None:
    server.add_manifest("team/app", b"{}", MANIFEST, "v1")
    server.fail("HEAD", ".", fault, times=4)

    assert app.head_manifest("v1") is not None

    assert len(recorder.pauses) == 4
    assert sorted(recorder.pauses) == recorder.pauses


def test_the_tries_are_bounded(
    app: Repository, server: FaultyRegistry, recorder: Recorder
) -> None:
    server.fail("HEAD", ".", faulty.Answer(500), times=99)

    with pytest.raises(RegistryError) as caught:
        app.head_manifest("v1")

    assert caught.value.temporary
    assert len(server.requests("HEAD")) == 5
    assert len(recorder.pauses) == 4


@pytest.mark.parametrize(
    ("asked", "paused"), [("7", 7.0), ("86400", 30.0), ("soon", None)]
)
def test_retry_after_is_honoured_up_to_a_cap(
    app: Repository,
    server: FaultyRegistry,
    recorder: Recorder,
    asked: str,
    paused: float | None,
) -> None:
    server.add_manifest("team/app", b"{}", MANIFEST, "v1")
    wait = faulty.Answer(429, "TOOMANYREQUESTS", (("Retry-After", asked),))
    server.fail("GET", ".", wait)

    assert app.get_manifest("v1") is not None

    assert len(recorder.pauses) == 1
    assert paused in (None, recorder.pauses[0])
    assert bool(recorder.notes) == (paused is not None)


def test_a_spent_quota_is_reported_at_once(
    app: Repository, server: FaultyRegistry, recorder: Recorder
) -> None:
    headers = (("RateLimit-Limit", "100;w=21600"), ("RateLimit-Remaining", "0;w=21600"))
    server.fail("GET", ".", faulty.Answer(429, "TOOMANYREQUESTS", headers), times=9)

    with pytest.raises(RegistryError, match="429") as caught:
        app.get_manifest("v1")

    assert recorder.pauses == []
    assert "docker login" in str(caught.value.hint)
    assert "IMAGEKIT_REGISTRY_MIRRORS" in str(caught.value.hint)


def test_nobody_listens(registries: Registries, recorder: Recorder) -> None:
    with FaultyRegistry() as gone:
        host = gone.host

    with pytest.raises(RegistryError, match="refused") as caught:
        registries.repository(host, "app").head_manifest("v1")

    assert recorder.pauses == []
    assert caught.value.status is None
    assert caught.value.hint


def test_the_pauses_grow_and_are_capped() -> None:
    pauses: list[float] = []
    policy = RetryPolicy(tries=12, sleep=pauses.append, longest_pause=3.0)
    with FaultyRegistry() as server, Registries(retry=policy) as registries:
        server.fail("HEAD", ".", faulty.Answer(500), times=99)
        with pytest.raises(RegistryError):
            registries.repository(server.host, "a").head_manifest("v1")

    assert len(pauses) == 11
    assert 0.125 <= pauses[0] <= 0.25
    assert 1.5 <= pauses[-1] <= 3.0


# Reading blobs


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
def test_a_broken_download_goes_on_where_it_broke(
    app: Repository,
    server: FaultyRegistry,
    ranges: bool,
    tmp_path: Path,
    recorder: Recorder,
) -> None:
    server.ranges = ranges
    digest = server.add_blob("team/app", BLOB)
    server.fail("GET", "blobs", faulty.Drop(after=300_000))
    server.fail("GET", "blobs", faulty.Drop(after=400_000))
    server.fail("GET", "blobs", faulty.Answer(502))

    path = app.fetch_blob(digest, Store(tmp_path / "store"), task="t")

    assert path.read_bytes() == BLOB
    starts = [seen.headers.get("range") for seen in server.requests("GET")]
    assert starts[0] is None
    assert all(starts[1:])
    assert recorder.advanced == len(BLOB)


def test_a_download_that_breaks_after_the_last_byte_is_whole(
    app: Repository, server: FaultyRegistry
) -> None:
    digest = server.add_blob("team/app", BLOB)
    server.fail("GET", "blobs", faulty.Drop(after=len(BLOB)))

    assert b"".join(app.read_blob(digest)) == BLOB

    assert len(server.requests("GET")) == 1


@pytest.mark.parametrize("fault", [faulty.Damage(), faulty.Halve()], ids=repr)
def test_a_wrong_blob_is_fetched_again_then_refused(
    app: Repository, server: FaultyRegistry, tmp_path: Path, fault: faulty.Fault
) -> None:
    store = Store(tmp_path / "store")
    digest = server.add_blob("team/app", BLOB)
    server.fail("GET", "blobs", fault, times=1)
    assert app.fetch_blob(digest, store).read_bytes() == BLOB

    other = server.add_blob("team/app", b"other blob")
    server.fail("GET", "blobs", fault, times=99)
    with pytest.raises(HashMismatchError, match=str(other)):
        app.fetch_blob(other, store)
    assert not store.has_blob(other)
    assert list(store.temporary().iterdir()) == []


def test_a_missing_blob_is_an_error(app: Repository, tmp_path: Path) -> None:
    with pytest.raises(RegistryError) as caught:
        app.fetch_blob(Digest.of(b"x"), Store(tmp_path / "store"))

    assert (caught.value.status, caught.value.code) == (404, "BLOB_UNKNOWN")


def test_what_the_store_has_is_not_fetched(
    app: Repository, server: FaultyRegistry, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    digest = store.add_blob(b"here")

    assert app.fetch_blob(digest, store).read_bytes() == b"here"
    assert server.seen == []


def test_a_redirect_gets_no_authorization(
    recorder: Recorder, tmp_path: Path, server: FaultyRegistry
) -> None:
    config = tmp_path / "config.json"
    cdn = server
    with (
        FaultyRegistry(login=("me", "s3cret")) as origin,
        Registries(docker_config=config, retry=recorder.retry) as registries,
    ):
        login = {"username": "me", "password": "s3cret"}
        config.write_text(json.dumps({"auths": {origin.host: login}}))
        digest = origin.add_blob("app", BLOB)
        cdn.add_blob("app", BLOB)
        origin.redirect = lambda path: f"http://{cdn.host}{path}?signature=abc"
        cdn.fail("GET", "blobs", faulty.Drop(after=1000))
        cdn.fail("GET", "blobs", faulty.Answer(403, "Expired"))

        assert b"".join(registries.repository(origin.host, "app").read_blob(digest))

        assert any(seen.authorization for seen in origin.requests("GET"))
    assert [seen.authorization for seen in cdn.requests("GET")] == [None] * 3


@pytest.mark.parametrize(
    "location",
    [
        "http://10.0.0.1/blob",
        "http://169.254.169.254/latest/meta-data",
        "http://0.0.0.0/",
        "http://[fe80::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://167772161/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "",
    ],
)
def test_a_location_on_a_private_host_is_refused(
    app: Repository, server: FaultyRegistry, location: str
) -> None:
    digest = server.add_blob("team/app", BLOB)
    server.fail("GET", ".", faulty.Answer(307, "", (("Location", location),)))
    server.fail("POST", ".", faulty.Answer(202, "", (("Location", location),)))

    with pytest.raises(RegistryError):
        list(app.read_blob(digest))
    with pytest.raises(RegistryError):
        upload(app, b"more")
    assert server.requests("PUT") == []


def test_redirects_in_circles_end(app: Repository, server: FaultyRegistry) -> None:
    digest = server.add_blob("team/app", BLOB)
    server.redirect = lambda path: path

    with pytest.raises(RegistryError, match="in circles"):
        list(app.read_blob(digest))


# Writing blobs


@pytest.mark.parametrize("size", [0, 1, 5 << 20])
def test_an_uploaded_blob_is_there(
    app: Repository, server: FaultyRegistry, recorder: Recorder, size: int
) -> None:
    data = b"x" * size

    digest = upload(app, data, task="t")

    assert app.has_blob(digest)
    assert server.repository("team/app").blobs[str(digest)] == data
    assert recorder.advanced == size


def big_upload(app: Repository, server: FaultyRegistry, chunk: int = 6 << 20) -> bytes:
    """Upload 20 MiB in chunks, and return what arrived."""
    from imagekit.oci import upload as module

    data = b"".join(bytes([n]) * (1 << 20) for n in range(20))
    digest = Digest.of(data)
    client = app._origin()
    module.BlobUpload(
        client,
        digest=digest,
        size=len(data),
        open_body=lambda: io.BytesIO(data),
        scopes=app._scopes(client, True),
        report=lambda _amount: None,
        present=lambda: app.has_blob(digest),
        chunk=chunk,
    ).run()
    assert server.repository("team/app").blobs[str(digest)] == data
    return data


def test_a_large_blob_goes_in_chunks(app: Repository, server: FaultyRegistry) -> None:
    big_upload(app, server)

    ranges = [seen.headers["content-range"] for seen in server.requests("PATCH")]
    assert ranges == [
        "0-6291455",
        "6291456-12582911",
        "12582912-18874367",
        "18874368-20971519",
    ]


def test_a_broken_upload_goes_on_where_it_broke(
    app: Repository, server: FaultyRegistry
) -> None:
    server.fail("PATCH", ".", faulty.Drop(after=1 << 20))

    big_upload(app, server)

    starts = [
        s.headers["content-range"].partition("-")[0] for s in server.requests("PATCH")
    ]
    assert len(server.requests("POST")) == 1
    assert 0 < int(starts[1]) <= 1 << 20


def test_a_broken_upload_begins_again_where_the_registry_forgets(
    app: Repository, server: FaultyRegistry
) -> None:
    server.resumable = False
    server.fail("PATCH", ".", faulty.Drop(after=1 << 20))

    big_upload(app, server)

    assert len(server.requests("POST")) == 2


def test_a_registry_that_takes_one_chunk_gets_one(
    app: Repository, server: FaultyRegistry
) -> None:
    server.one_chunk = True

    big_upload(app, server)


def test_a_proxy_that_caps_bodies_gets_smaller_chunks(
    app: Repository, server: FaultyRegistry
) -> None:
    server.largest_body = 6 << 20

    big_upload(app, server, chunk=64 << 20)


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
@pytest.mark.parametrize(
    "fault",
    [
        faulty.Drop(),
        faulty.Lose(),
        faulty.Drop(after=1000),
        faulty.Answer(500),
        faulty.Answer(404, "BLOB_UPLOAD_UNKNOWN"),
        faulty.Answer(400, "DIGEST_INVALID"),
    ],
    ids=repr,
)
def test_an_upload_survives(
    app: Repository, server: FaultyRegistry, method: str, fault: faulty.Fault
) -> None:
    server.fail(method, ".", fault)
    upload(app, b"small")
    server.fail(method, ".", fault)
    big_upload(app, server)

    assert list(server.unsound()) == []


def test_a_body_of_another_size_is_refused(
    app: Repository, server: FaultyRegistry
) -> None:
    with pytest.raises(HashMismatchError, match="wanted 9 bytes"):
        app.upload_blob(Digest.of(b"123456789"), 9, lambda: io.BytesIO(b"1234"))
    assert server.repository("team/app").blobs == {}


def test_a_body_with_other_bytes_is_refused(
    app: Repository, server: FaultyRegistry
) -> None:
    with pytest.raises(RegistryError) as caught:
        app.upload_blob(Digest.of(b"right"), 5, lambda: io.BytesIO(b"wrong"))
    assert caught.value.code == "DIGEST_INVALID"
    assert server.repository("team/app").blobs == {}


def test_errors_hide_what_an_upload_address_holds(
    app: Repository, server: FaultyRegistry
) -> None:
    server.fail("PUT", ".", faulty.Answer(400, "UNSUPPORTED"))

    with pytest.raises(RegistryError) as caught:
        upload(app)

    assert "very-secret" not in f"{caught.value} {caught.value.url}"
    assert caught.value.method == "PUT"
    assert "digest=sha256:" in caught.value.url


def test_mounting(app: Repository, server: FaultyRegistry) -> None:
    digest = server.add_blob("library/python", BLOB)

    assert app.mount_blob(digest, "library/python")
    assert app.has_blob(digest)
    assert not app.mount_blob(Digest.of(b"x"), "library/python")


@pytest.mark.parametrize(
    "fault", [faulty.Drop(), faulty.Answer(500), faulty.Answer(405)], ids=repr
)
def test_a_mount_that_fails_is_a_mount_refused(
    app: Repository, server: FaultyRegistry, fault: faulty.Fault
) -> None:
    digest = server.add_blob("library/python", BLOB)
    server.fail("POST", "mount=", fault)

    assert not app.mount_blob(digest, "library/python")
    upload(app)
    assert app.has_blob(digest)


def test_a_refused_mount_begins_the_upload(
    app: Repository, server: FaultyRegistry
) -> None:
    server.mounts = False

    assert not app.mount_blob(Digest.of(BLOB), "library/python")
    upload(app)

    assert len(server.requests("POST")) == 1


# Mirrors


@pytest.fixture
def mirror() -> Iterator[FaultyRegistry]:
    with FaultyRegistry() as mirror:
        yield mirror


@pytest.fixture
def mirrored(
    server: FaultyRegistry, mirror: FaultyRegistry, recorder: Recorder, tmp_path: Path
) -> Iterator[Repository]:
    with Registries(
        mirrors=((server.host, f"{mirror.host}/hub"),),
        retry=recorder.retry,
        progress=recorder.events.append,
        docker_config=tmp_path / "config.json",
    ) as registries:
        yield registries.of(Reference.parse(f"{server.host}/library/python:3.11"))


def test_a_mirror_is_read_first(
    mirrored: Repository, mirror: FaultyRegistry, server: FaultyRegistry, tmp_path: Path
) -> None:
    mirror.add_manifest("hub/library/python", b"{}", MANIFEST, "3.11")
    digest = mirror.add_blob("hub/library/python", BLOB)

    assert mirrored.head_manifest("3.11") is not None
    assert mirrored.get_manifest("3.11") is not None
    assert mirrored.fetch_blob(digest, Store(tmp_path)).read_bytes() == BLOB

    assert server.seen == []


def test_the_origin_has_what_a_mirror_lacks(
    mirrored: Repository, server: FaultyRegistry, recorder: Recorder
) -> None:
    server.add_manifest("library/python", b"{}", MANIFEST, "3.11")
    digest = server.add_blob("library/python", BLOB)

    assert mirrored.get_manifest("3.11") is not None
    assert mirrored.head_manifest("3.11") is not None
    assert b"".join(mirrored.read_blob(digest)) == BLOB

    assert any("lacks" in note for note in recorder.notes)
    assert len(set(recorder.notes)) == len(recorder.notes)


@pytest.mark.parametrize(
    "fault", [faulty.Drop(), faulty.Answer(500), faulty.Answer(403)], ids=repr
)
def test_the_origin_helps_where_a_mirror_fails(
    mirrored: Repository,
    server: FaultyRegistry,
    mirror: FaultyRegistry,
    recorder: Recorder,
    fault: faulty.Fault,
) -> None:
    server.add_manifest("library/python", b"{}", MANIFEST, "3.11")
    mirror.fail("GET", ".", fault, times=99)

    assert mirrored.get_manifest("3.11") is not None

    assert any(mirror.host in note for note in recorder.notes)


def test_a_blob_that_a_mirror_damages_comes_from_the_origin(
    mirrored: Repository,
    server: FaultyRegistry,
    mirror: FaultyRegistry,
    tmp_path: Path,
) -> None:
    digest = server.add_blob("library/python", BLOB)
    mirror.add_blob("hub/library/python", BLOB)
    mirror.fail("GET", ".", faulty.Damage(), times=99)

    assert mirrored.fetch_blob(digest, Store(tmp_path)).read_bytes() == BLOB


def test_a_mirror_that_dies_in_the_middle_is_left_in_the_middle(
    mirrored: Repository, server: FaultyRegistry, mirror: FaultyRegistry
) -> None:
    digest = server.add_blob("library/python", BLOB)
    mirror.add_blob("hub/library/python", BLOB)
    mirror.fail("GET", ".", faulty.Drop(after=500_000))
    mirror.fail("GET", ".", faulty.Drop(), times=99)

    assert b"".join(mirrored.read_blob(digest)) == BLOB

    assert server.requests("GET")[0].headers["range"].startswith("bytes=")


def test_nothing_is_written_to_a_mirror_nor_believed_of_it(
    mirrored: Repository, server: FaultyRegistry, mirror: FaultyRegistry
) -> None:
    digest = mirror.add_blob("hub/library/python", BLOB)
    mirror.add_manifest("hub/library/python", b"{}", MANIFEST, "3.11")

    assert not mirrored.has_blob(digest)
    assert mirrored.direct().head_manifest("3.11") is None
    upload(mirrored)
    mirrored.put_manifest("3.11", b"{}", MANIFEST)

    assert mirror.seen == []
    assert list(server.repository("library/python").tags) == ["3.11"]


# Addresses


@pytest.mark.parametrize(
    ("registry", "url"),
    [
        ("docker.io", "https://registry-1.docker.io"),
        ("ghcr.io", "https://ghcr.io"),
        ("localhost:5000", "http://localhost:5000"),
        ("127.1.2.3", "http://127.1.2.3"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("127.0.0.1.example.com", "https://127.0.0.1.example.com"),
        ("plain.corp:5000", "http://plain.corp:5000"),
        ("other.corp", "http://other.corp"),
        ("other.corp:81", "http://other.corp:81"),
        ("plain.corp", "https://plain.corp"),
    ],
)
def test_where_a_registry_is(registry: str, url: str) -> None:
    registries = Registries(insecure=("plain.corp:5000", "other.corp"))

    assert registries.repository(registry, "a/b").origin.url == url


def test_a_registry_may_have_a_path() -> None:
    repository = Registries().repository("ghcr.io/team", "app")

    assert (repository.registry, repository.repository) == ("ghcr.io", "team/app")


def test_locations_that_are_followed() -> None:
    from imagekit.oci.address import follow

    def go(base: str, location: str) -> str:
        return follow(base, location, method="GET")

    assert go("https://r.io/v2/a", "/v2/b?x=1") == "https://r.io/v2/b?x=1"
    assert go("https://r.io/v2/a", "https://cdn.io/b") == "https://cdn.io/b"
    # The registry does not know of the TLS before it; the client keeps to it.
    assert go("https://r.io:8443/a", "http://r.io/b") == "https://r.io:8443/b"
    assert go("http://10.0.0.1/a", "http://10.0.0.2:9000/b") == "http://10.0.0.2:9000/b"
    for refused in ("http://cdn.io/b", "https://10.0.0.1/b", "https://localhost/b"):
        with pytest.raises(RegistryError):
            go("https://r.io/v2/a", refused)


def test_importing_the_client_is_cheap() -> None:
    code = (
        "import sys, imagekit.oci.registry;"
        "print([m for m in ('urllib3', 'ssl', 'http.client', 'socket') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for localhost, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
        "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 "
        f"-keyout {folder}/key.pem -out {folder}/cert.pem"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    return folder


def test_the_ca_bundle_decides_whom_to_trust(certificate: Path) -> None:
    import ssl

    from imagekit.oci.transport import Transport

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    with FaultyRegistry(tls=context) as server:
        url = f"https://{server.host}/v2/app/manifests/v1"
        trusting = Transport(ca_bundle=str(certificate / "cert.pem"))
        assert trusting.send("HEAD", url, headers={}).status == 404
        trusting.close()

        doubting = Transport()
        with pytest.raises(RegistryError, match="TLS") as caught:
            doubting.send("HEAD", url, headers={})
        doubting.close()
    assert not caught.value.temporary
    assert "IMAGEKIT_CA_BUNDLE" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("alert", "temporary"),
    [
        (None, True),
        (20, True),  # bad record MAC
        (50, True),  # decode error
        (80, True),  # internal error
        (40, False),  # handshake failure
        (48, False),  # unknown authority
    ],
)
def test_only_tls_that_broke_off_is_tried_again(
    alert: int | None, temporary: bool
) -> None:
    """As a proxy does that has too much to do (RFC 8446, 6.2)."""
    import socket
    from threading import Thread

    from imagekit.oci.transport import Transport

    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                if alert is not None:
                    connection.sendall(bytes((21, 3, 3, 0, 2, 2, alert)))

        thread = Thread(target=answer, daemon=True)
        thread.start()
        transport = Transport()
        url = f"https://127.0.0.1:{server.getsockname()[1]}/v2/"
        with pytest.raises(RegistryError) as caught:
            transport.send("GET", url, headers={})
        transport.close()
        thread.join()

    assert caught.value.temporary is temporary


def test_a_ca_bundle_that_is_not_there(tmp_path: Path) -> None:
    registries = Registries(ca_bundle=str(tmp_path / "none.pem"))

    with pytest.raises(SettingsError, match=r"none\.pem"):
        registries.repository("registry.invalid", "app").head_manifest("v1")


# A proxy


def test_a_proxy_of_the_environment_is_used(
    server: FaultyRegistry, monkeypatch: pytest.MonkeyPatch, recorder: Recorder
) -> None:
    # The server stands in for the proxy: it sees the whole address.
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://user:pa55@{server.host}")
    server.fail("GET", ".", faulty.Answer(418))
    with (
        Registries(insecure=("registry.invalid",), retry=recorder.retry) as registries,
        pytest.raises(RegistryError) as caught,
    ):
        registries.repository("registry.invalid", "app").get_manifest("v1")

    seen = server.seen[0]
    assert seen.path.startswith("http://registry.invalid/v2/app")
    assert seen.headers["proxy-authorization"].startswith("Basic ")
    assert "pa55" not in str(caught.value)


def test_this_machine_needs_no_proxy(
    app: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:1")

    assert app.head_manifest("v1") is None


def test_forbidden_is_an_authentication_error(
    app: Repository, server: FaultyRegistry
) -> None:
    server.fail("POST", ".", faulty.Answer(403, "DENIED"))

    with pytest.raises(AuthenticationError) as caught:
        upload(app)

    assert (caught.value.status, caught.value.code) == (403, "DENIED")
    assert "docker login" in str(caught.value.hint)
