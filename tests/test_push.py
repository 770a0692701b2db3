"""Pushing: as little as possible, in an order that never leaves a broken tag."""

from __future__ import annotations

import io
import json
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Barrier, Thread
from typing import Any, BinaryIO, Self

import faulty_registry as faulty
import pytest
from faulty_registry import FaultyRegistry
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from machine.registry import Registry

from imagekit.digest import Digest
from imagekit.errors import HashMismatchError, ImageKitError, RegistryError, StoreError
from imagekit.oci.push import PushBlob, PushManifest, PushReport, push
from imagekit.oci.registry import Registries, Repository, RetryPolicy
from imagekit.progress import Event, Note, TaskAdvanced, TaskEnded, TaskStarted

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
PATIENT = RetryPolicy(sleep=lambda _seconds: None)


@dataclass(frozen=True)
class Sample:
    """An image of given layers, and the index around it."""

    layers: tuple[bytes, ...]

    @property
    def config(self) -> bytes:
        return json.dumps(
            {"diff_ids": [str(Digest.of(x)) for x in self.layers]}
        ).encode()

    @property
    def content(self) -> bytes:
        return json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": descriptor(self.config, CONFIG),
                "layers": [descriptor(layer, LAYER) for layer in self.layers],
            }
        ).encode()

    @property
    def digest(self) -> Digest:
        return Digest.of(self.content)

    @property
    def parts(self) -> frozenset[Digest]:
        return frozenset(Digest.of(x) for x in (*self.layers, self.config))

    def manifest(self, **options: Any) -> PushManifest:
        blobs = tuple(blob(part, **options) for part in (*self.layers, self.config))
        return PushManifest(content=self.content, media_type=MANIFEST, blobs=blobs)


def blob(data: bytes, **options: Any) -> PushBlob:
    found = PushBlob(
        digest=Digest.of(data), size=len(data), open=lambda: io.BytesIO(data)
    )
    return replace(found, **options)


def descriptor(data: bytes, media_type: str) -> dict[str, object]:
    return {
        "mediaType": media_type,
        "digest": str(Digest.of(data)),
        "size": len(data),
    }


def index(*samples: Sample) -> bytes:
    manifests = [descriptor(sample.content, MANIFEST) for sample in samples]
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
    return json.dumps(document).encode()


def push_one(
    repository: Repository, sample: Sample, *tags: str, **options: Any
) -> PushReport:
    manifests = (sample.manifest(),)
    return push(repository, manifests, None, "", tags, **options)


ONE = Sample((b"base" * 100, b"packages" * 1000, b"source"))
OTHER = Sample((b"base" * 100, b"packages" * 1000, b"source, changed"))


@pytest.fixture
def server() -> Iterator[FaultyRegistry]:
    with FaultyRegistry() as server:
        yield server


@pytest.fixture
def registries() -> Iterator[Registries]:
    with Registries(retry=PATIENT) as registries:
        yield registries


@pytest.fixture
def app(registries: Registries, server: FaultyRegistry) -> Repository:
    return registries.repository(server.host, "team/app")


def test_a_push_brings_everything(app: Repository, server: FaultyRegistry) -> None:
    report = push_one(app, ONE, "v1", "latest")

    assert frozenset(report.uploaded) == ONE.parts
    assert report.present == report.mounted == ()
    assert report.bytes_uploaded == sum(map(len, (*ONE.layers, ONE.config)))
    assert server.repository("team/app").tags == {
        "v1": str(ONE.digest),
        "latest": str(ONE.digest),
    }
    assert list(server.unsound()) == []


def test_a_second_push_sends_nothing(app: Repository, server: FaultyRegistry) -> None:
    push_one(app, ONE, "v1")
    server.seen.clear()

    report = push_one(app, ONE, "v1")

    assert report == PushReport()
    assert [seen.method for seen in server.seen] == ["HEAD", "HEAD"]


def test_a_new_tag_for_what_is_there(app: Repository, server: FaultyRegistry) -> None:
    push_one(app, ONE, "v1")
    server.seen.clear()

    push_one(app, ONE, "v2")

    assert server.requests("HEAD", "blobs") == []
    assert server.repository("team/app").tags["v2"] == str(ONE.digest)


def test_what_the_previous_image_proves_is_not_asked_for(
    app: Repository, server: FaultyRegistry
) -> None:
    push_one(app, ONE, "v1")
    server.seen.clear()

    report = push_one(
        app,
        OTHER,
        "v2",
        proven=(ONE.digest,),
        known={ONE.digest: ONE.parts}.__getitem__,
    )

    assert frozenset(report.uploaded) == OTHER.parts - ONE.parts
    assert frozenset(report.present) == OTHER.parts & ONE.parts
    assert len(server.requests("HEAD", "blobs")) == 2
    # 1 manifest and 2 blobs asked for, 2 blobs sent, 1 tag written
    assert len(server.seen) == 1 + 2 + 2 * 2 + 1


def test_a_previous_image_that_is_gone_proves_nothing(
    app: Repository, server: FaultyRegistry
) -> None:
    push_one(app, OTHER, "v2", proven=(ONE.digest,), known=lambda _digest: OTHER.parts)

    assert list(server.unsound()) == []
    assert server.repository("team/app").tags == {"v2": str(OTHER.digest)}


def test_a_manifest_without_its_blobs_proves_nothing(
    app: Repository, server: FaultyRegistry
) -> None:
    server.add_manifest("team/app", ONE.content, MANIFEST)

    report = push_one(
        app, OTHER, "v2", proven=(ONE.digest,), known=lambda _digest: ONE.parts
    )

    assert frozenset(report.uploaded) == OTHER.parts
    assert report.present == ()
    assert OTHER.parts <= {Digest.parse(x) for x in server.repository("team/app").blobs}


def test_a_proof_that_can_t_be_had_is_none(
    app: Repository, server: FaultyRegistry
) -> None:
    push_one(app, ONE, "v1")
    server.fail("HEAD", str(ONE.digest), faulty.Answer(500), times=99)

    report = push_one(
        app, OTHER, "v2", proven=(ONE.digest,), known=lambda _digest: ONE.parts
    )

    assert frozenset(report.uploaded) == OTHER.parts - ONE.parts


def test_an_index_comes_after_its_manifests(
    app: Repository, server: FaultyRegistry
) -> None:
    document = index(ONE, OTHER)

    report = push(
        app, (ONE.manifest(), OTHER.manifest()), document, INDEX, ("v1", "v2")
    )

    assert frozenset(report.uploaded) == ONE.parts | OTHER.parts
    assert len(report.uploaded) == len(ONE.parts | OTHER.parts)
    written = [
        seen.path.rpartition("/")[2] for seen in server.requests("PUT", "manifests")
    ]
    assert sorted(written[:2]) == sorted([str(ONE.digest), str(OTHER.digest)])
    assert sorted(written[2:]) == ["v1", "v2"]
    assert list(server.unsound()) == []


def test_a_manifest_that_is_there_is_left_alone(
    app: Repository, server: FaultyRegistry
) -> None:
    push_one(app, ONE, "v1")
    server.seen.clear()

    push(app, (ONE.manifest(), OTHER.manifest()), index(ONE, OTHER), INDEX, ("both",))

    written = [
        seen.path.rpartition("/")[2] for seen in server.requests("PUT", "manifests")
    ]
    assert written == [str(OTHER.digest), "both"]


def test_without_tags_the_digest_is_enough(
    app: Repository, server: FaultyRegistry
) -> None:
    push_one(app, ONE)

    assert app.head_manifest(str(ONE.digest)) is not None
    assert server.repository("team/app").tags == {}


def test_many_manifests_need_an_index(app: Repository) -> None:
    with pytest.raises(ValueError, match="index"):
        push(app, (ONE.manifest(), OTHER.manifest()), None, "", ("v1",))


# Where blobs come from


def test_base_layers_are_mounted(app: Repository, server: FaultyRegistry) -> None:
    base = server.add_blob("library/python", ONE.layers[0])
    manifest = ONE.manifest(mount_from=("library/nothing", "library/python"))

    report = push(app, (manifest,), None, "", ("v1",))

    assert report.mounted == (base,)
    assert frozenset(report.uploaded) == ONE.parts - {base}
    assert list(server.unsound()) == []


@pytest.mark.parametrize("fault", [faulty.Answer(500), faulty.Drop()], ids=repr)
def test_a_mount_that_fails_becomes_an_upload(
    app: Repository, server: FaultyRegistry, fault: faulty.Fault
) -> None:
    server.add_blob("library/python", ONE.layers[0])
    server.fail("POST", "mount=", fault, times=99)
    manifest = ONE.manifest(mount_from=("library/python",))

    report = push(app, (manifest,), None, "", ("v1",))

    assert frozenset(report.uploaded) == ONE.parts
    assert list(server.unsound()) == []


def test_base_layers_are_copied_from_another_registry(
    app: Repository, server: FaultyRegistry, registries: Registries
) -> None:
    big = bytes(range(256)) * (6 << 12)
    sample = Sample((big, b"source"))
    with FaultyRegistry() as other:
        digest = other.add_blob("library/python", big)
        source = registries.repository(other.host, "library/python")
        other.fail("GET", "blobs", faulty.Drop(after=1 << 20))
        server.fail("PATCH", "uploads", faulty.Drop(after=2 << 20))
        manifest = sample.manifest()
        first = replace(manifest.blobs[0], open=None, fetch=source)
        manifest = replace(manifest, blobs=(first, *manifest.blobs[1:]))

        report = push(app, (manifest,), None, "", ("v1",))
        assert digest in report.uploaded
        asked = len(other.seen)
        push(app, (manifest,), None, "", ("v2",))
        assert len(other.seen) == asked

        server.repositories.clear()
        other.fail("GET", "blobs", faulty.Damage(), times=9)
        with pytest.raises((HashMismatchError, RegistryError)):
            push(app, (manifest,), None, "", ("v1",))
    assert server.repository("team/app").tags == {}
    assert list(server.unsound()) == []


def test_a_blob_from_nowhere_is_an_error(
    app: Repository, server: FaultyRegistry
) -> None:
    manifest = ONE.manifest(open=None)

    with pytest.raises(RegistryError, match="nowhere to copy it from") as caught:
        push(app, (manifest,), None, "", ("v1",))

    assert caught.value.hint
    assert server.repository("team/app").tags == {}


def test_a_blob_that_can_t_be_read_is_an_error(
    app: Repository, server: FaultyRegistry, tmp_path: Path
) -> None:
    manifest = ONE.manifest(open=(tmp_path / "gone").open)

    with pytest.raises(StoreError):
        push(app, (manifest,), None, "", ("v1",))

    assert server.repository("team/app").manifests == {}


def test_nothing_of_a_mirror_counts(server: FaultyRegistry) -> None:
    with FaultyRegistry() as mirror:
        mirrors = ((server.host, mirror.host),)
        with Registries(mirrors=mirrors, retry=PATIENT) as registries:
            push_one(registries.repository(mirror.host, "team/app"), ONE, "v1")
            push_one(registries.repository(server.host, "team/app"), ONE, "v1")

    assert server.repository("team/app").tags == {"v1": str(ONE.digest)}
    assert list(server.unsound()) == []


# Failures


def test_a_failure_ends_the_other_uploads(
    app: Repository, server: FaultyRegistry
) -> None:
    """The failure is not kept waiting by an upload that would go on for ever."""
    meeting = Barrier(2, timeout=30)

    class Endless(io.RawIOBase):
        met = False

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            if not self.met:
                meeting.wait()
                self.met = True
            return b"x" * size

    def refused() -> BinaryIO:
        meeting.wait()
        raise OSError("the disk is gone")

    endless = PushBlob(
        digest=Digest.of(b"endless"),
        size=1 << 50,
        open=Endless,  # type: ignore[arg-type]
    )
    bad = replace(blob(b"bad"), open=refused)
    manifest = PushManifest(
        content=ONE.content, media_type=MANIFEST, blobs=(endless, bad)
    )
    server.resumable = True

    with pytest.raises(StoreError, match="the disk is gone"):
        push(app, (manifest,), None, "", ("v1",))

    assert server.repository("team/app").tags == {}


def test_progress(server: FaultyRegistry) -> None:
    events: list[Event] = []
    with Registries(retry=PATIENT) as registries:
        app = registries.repository(server.host, "team/app")
        server.add_blob("team/app", ONE.layers[0])
        server.fail("PUT", "uploads", faulty.Lose(), times=2)
        manifest = ONE.manifest(title="some layer")

        push(app, (manifest,), None, "", ("v1",), progress=events.append)

    tasks = {f"push:{digest.hex[:12]}" for digest in ONE.parts}
    started = [event for event in events if isinstance(event, TaskStarted)]
    ended = {
        event.task: event.outcome for event in events if isinstance(event, TaskEnded)
    }
    assert {event.task for event in started} == set(ended) == tasks
    assert {(event.title, event.phase) for event in started} == {("some layer", "push")}
    assert sorted(ended.values()) == ["done", "done", "done", "reused"]
    advanced = sum(event.amount for event in events if isinstance(event, TaskAdvanced))
    assert advanced == sum(map(len, (*ONE.layers[1:], ONE.config)))
    assert not [event for event in events if isinstance(event, Note)]


FAULTS = st.sampled_from(
    [
        faulty.Drop(),
        faulty.Drop(after=3),
        faulty.Lose(),
        faulty.Halve(),
        faulty.Damage(),
        faulty.Answer(500),
        faulty.Answer(503, "UNAVAILABLE", (("Retry-After", "1"),)),
        faulty.Answer(429, "TOOMANYREQUESTS"),
        faulty.Answer(401, "UNAUTHORIZED"),
        faulty.Answer(404, "BLOB_UPLOAD_UNKNOWN"),
        faulty.Answer(202, "", (("Location", "http://10.0.0.1/"),)),
        faulty.Header("Location", "http://169.254.169.254/"),
        faulty.Header("Docker-Content-Digest", str(Digest.of(b"other"))),
        faulty.Header("Range", "0-1"),
    ]
)
RULES = st.lists(
    st.tuples(
        st.sampled_from(["HEAD", "GET", "POST", "PUT", "PATCH"]),
        st.sampled_from([".", "manifests", "uploads", "mount="]),
        FAULTS,
        st.integers(1, 6),
    ),
    max_size=4,
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rules=RULES, resumable=st.booleans(), mounts=st.booleans())
def test_a_push_succeeds_or_says_that_it_did_not(
    rules: list[tuple[str, str, faulty.Fault, int]],
    resumable: bool,
    mounts: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from imagekit.oci import upload

    # Small blobs in small chunks take all the ways that large ones do.
    monkeypatch.setattr(upload, "ONE_PIECE", 300)
    with (
        FaultyRegistry(resumable=resumable, mounts=mounts) as server,
        Registries(retry=PATIENT) as registries,
    ):
        server.add_blob("library/python", ONE.layers[0])
        for rule in rules:
            server.fail(*rule)
        manifests = tuple(
            sample.manifest(mount_from=("library/python",)) for sample in (ONE, OTHER)
        )
        app = registries.repository(server.host, "team/app")
        try:
            push(app, manifests, index(ONE, OTHER), INDEX, ("v1",), jobs=2)
        except ImageKitError:
            complete = False
        else:
            complete = True

        stored = server.repository("team/app")
        assert list(server.unsound()) == []
        if complete:
            assert stored.tags == {"v1": str(Digest.of(index(ONE, OTHER)))}
        server.rules.clear()
        push(app, manifests, index(ONE, OTHER), INDEX, ("v1",))
        assert stored.tags == {"v1": str(Digest.of(index(ONE, OTHER)))}


# The real registry


@pytest.mark.engine
def test_a_real_registry(
    empty_registry: Callable[..., Registry], registries: Registries
) -> None:
    address = empty_registry().address
    big = Sample((bytes(range(256)) * (5 << 12), b"packages", b"source"))
    base = registries.repository(address, "library/python")
    base.upload_blob(Digest.of(big.layers[1]), 8, lambda: io.BytesIO(big.layers[1]))
    app = registries.repository(address, "team/app")
    manifest = big.manifest(mount_from=("library/python",))

    report = push(
        app, (manifest, ONE.manifest()), index(big, ONE), INDEX, ("v1", "latest")
    )

    assert report.mounted == (Digest.of(big.layers[1]),)
    for tag in ("v1", "latest"):
        found = app.get_manifest(tag)
        assert found is not None
        assert found.content == index(big, ONE)
    assert b"".join(app.read_blob(Digest.of(big.layers[0]))) == big.layers[0]
    assert push_one(app, ONE, "one") == PushReport()


@pytest.mark.engine
def test_a_real_registry_that_is_cut_off(
    empty_registry: Callable[..., Registry], registries: Registries
) -> None:
    """A proxy before the registry drops connections within bodies, both ways."""
    address = empty_registry().address
    data = bytes(range(256)) * (40 << 10)
    sample = Sample((data,))
    with Cutter(address, after=3 << 20, times=3) as cutter:
        app = registries.repository(cutter.host, "team/app")
        push_one(app, sample, "v1")
    with Cutter(address, after=3 << 20, times=3) as cutter:
        app = registries.repository(cutter.host, "team/app")
        assert b"".join(app.read_blob(Digest.of(data))) == data
        assert cutter.cuts == 3


class Cutter:
    """A TCP proxy that cuts its first connections after some bytes."""

    def __init__(self, address: str, *, after: int, times: int) -> None:
        host, _, port = address.partition(":")
        self.target = host, int(port)
        self.after = after
        self.times = times
        self.cuts = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.ends: list[socket.socket] = []
        self.threads = [Thread(target=self.accept)]

    def __enter__(self) -> Self:
        self.threads[0].start()
        return self

    def __exit__(self, *_exc: object) -> None:
        for end in (self.listener, *self.ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        self.listener.close()

    def accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            self.ends += [client, server]
            pair = Thread(target=self.join, args=(client, server))
            self.threads.append(pair)
            pair.start()

    def join(self, client: socket.socket, server: socket.socket) -> None:
        passed = 0
        with client, server, suppress(OSError):
            while True:
                ready, _, _ = select.select([client, server], [], [])
                for end in ready:
                    data = end.recv(1 << 16)
                    if not data:
                        return
                    (server if end is client else client).sendall(data)
                    passed += len(data)
                if passed > self.after and self.cuts < self.times:
                    self.cuts += 1
                    return
