"""Whole builds against a registry that fails: retried or reported, never a wrong image.

After every build, whatever became of it, a tag stands for the whole and right image, or
there is none.
"""

from __future__ import annotations

import base64
import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import faulty_registry
import package_index
import pytest
from faulty_registry import Answer, Damage, Drop, Fault, FaultyRegistry, Halve, Lose
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_images import File, Images, python_files
from whole_images import pulled

from imagekit import BuildResult, Image
from imagekit.building import build_image
from imagekit.errors import (
    AuthenticationError,
    HashMismatchError,
    ImageKitError,
    RegistryError,
)
from imagekit.oci import registry as clients
from imagekit.oci.registry import Registries, RetryPolicy
from imagekit.settings import load_settings

ALWAYS = 1 << 30
#: A Python, and so much that a connection can break in the middle.
BASE: dict[str, File] = {
    **python_files(),
    "usr/share/noise": random.Random(1).randbytes(300_000),
}
LOGIN = ("user", "secret-of-the-test")
MANIFEST, BLOB = "/v2/team/base/manifests/", "/v2/team/base/blobs/"
UPLOAD, UPLOADED = "/v2/team/app/blobs/uploads/", "/v2/team/app/manifests/"
TAG = "/v2/team/app/manifests/ik1-"


@dataclass(frozen=True)
class Rule:
    """A fault of the registry, as :meth:`FaultyRegistry.fail` takes it."""

    method: str
    path: str
    fault: Fault
    times: int = 1


@dataclass
class World:
    """A registry with a base, a definition, and a store to start from."""

    folder: Path
    index: package_index.PackageIndex
    server: FaultyRegistry
    digest: str = ""
    waited: list[float] = field(default_factory=list)

    def begin(self, *rules: Rule, **options: object) -> None:
        """Make registry and store as they were in the beginning, but for *rules*."""
        server = self.server
        for kept in (server.repositories, server.uploads, server.tokens):
            kept.clear()
        server.issued.clear()
        defaults = {"login": None, "scheme": "", "resumable": True, "ranges": True}
        for name, value in {**defaults, "mounts": True, **options}.items():
            setattr(server, name, value)
        images = Images()
        images.push(server, "team/base", "1", images.image(BASE))
        server.rules[:] = []
        for rule in rules:
            server.fail(rule.method, rule.path, rule.fault, rule.times)
        shutil.rmtree(self.store, ignore_errors=True)
        if self.digest:
            # What was resolved and downloaded stays.
            gone = shutil.ignore_patterns("blobs", "bases", "layers", "pushed", "lock")
            shutil.copytree(self.folder / "warm", self.store, ignore=gone)

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def build(self) -> BuildResult:
        image = (
            Image.from_base(f"{self.server.host}/team/base:1")
            .clone(name="team/app", registry=self.server.host)
            .with_pip_packages("pure", index_url=self.index.url)
            .with_source_folder(self.folder / "src")
        )
        values = {"cache_dir": self.store if self.digest else self.folder / "warm"}
        return build_image(image, settings=load_settings(arguments=values))

    @property
    def untouched(self) -> list[faulty_registry.Rule]:
        """Rules that have not come to their end."""
        return [rule for rule in self.server.rules if rule.times]

    def tags(self) -> list[str]:
        """Return the tags, once all of each has been pulled and found right."""
        self.server.rules.clear()
        assert list(self.server.unsound()) == []
        tags = list(self.server.repository("team/app").tags)
        with Registries() as registries:
            repository = registries.repository(self.server.host, "team/app")
            assert {str(pulled(repository, tag)) for tag in tags} <= {self.digest}
        return tags


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("faults")
    (folder / "src").mkdir()
    (folder / "src" / "data").write_bytes(random.Random(2).randbytes(700_000))
    with package_index.serve() as index, FaultyRegistry() as server:
        index.add(package_index.wheel("pure", "1.0"))
        yield World(folder, index, server)


@pytest.fixture
def world(shared: World, monkeypatch: pytest.MonkeyPatch) -> World:
    shared.waited.clear()
    patient = partial(RetryPolicy, sleep=shared.waited.append)
    monkeypatch.setattr(clients, "RetryPolicy", patient)
    if not shared.digest:
        shared.begin()
        shared.digest = str(shared.build().digest)
    return shared


RECOVERED = {
    "a dropped look at the base": [Rule("HEAD", MANIFEST, Drop(), 2)],
    "a dropped manifest": [Rule("GET", MANIFEST, Drop(20), 2)],
    "a base that answers 500": [Rule("HEAD", MANIFEST, Answer(500), 3)],
    "a manifest that answers 503": [Rule("GET", MANIFEST, Answer(503), 3)],
    "half a base layer, then the rest": [Rule("GET", BLOB, Drop(100_000), 3)],
    "a base layer that answers 500": [Rule("GET", BLOB, Answer(500), 2)],
    "an upload that does not begin": [Rule("POST", UPLOAD, Drop(), 2)],
    "an upload that begins unheard": [Rule("POST", UPLOAD, Lose(), 2)],
    "half a blob on its way up": [Rule("PUT", UPLOAD, Drop(1000), 3)],
    "an upload that ends unheard": [Rule("PUT", UPLOAD, Lose(), 3)],
    "an upload that answers 500": [Rule("PUT", UPLOAD, Answer(500), 3)],
    "an upload that is forgotten": [
        Rule("PUT", UPLOAD, Answer(404, "BLOB_UPLOAD_UNKNOWN"), 3)
    ],
    "a manifest that is not taken at first": [Rule("PUT", UPLOADED, Answer(502), 3)],
    "a manifest whose blobs are being written by another": [
        Rule("PUT", UPLOADED, Answer(400, "DIGEST_INVALID"), 3)
    ],
    "a tag that is written unheard": [Rule("PUT", TAG, Lose(), 2)],
    "a dropped tag": [Rule("PUT", TAG, Drop(10), 2)],
    "a registry that can't say what it has": [Rule("GET", TAG, Answer(500), 5)],
    "a mount that fails": [Rule("POST", "mount=", Answer(500), 1)],
    "everything at once": [
        Rule("HEAD", MANIFEST, Answer(429), 2),
        Rule("GET", BLOB, Drop(200_000), 2),
        Rule("POST", UPLOAD, Answer(503), 2),
        Rule("PUT", UPLOAD, Drop(10), 1),
        Rule("PUT", UPLOADED, Lose(), 2),
    ],
}


@pytest.mark.parametrize("rules", RECOVERED.values(), ids=RECOVERED.keys())
@pytest.mark.parametrize("options", [{}, {"resumable": False, "ranges": False}])
def test_what_fails_for_a_while_is_tried_again(
    rules: list[Rule], options: dict[str, bool], world: World
) -> None:
    world.begin(*rules, **options)

    result = world.build()
    untouched = world.untouched
    tags = world.tags()

    assert result.digest == world.digest
    assert [f"{result.rpartition(':')[0]}:{tag}" for tag in tags] == [result]
    assert untouched == []


def test_a_pause_that_the_registry_asks_for_is_made(world: World) -> None:
    busy = Answer(429, "TOOMANYREQUESTS", (("Retry-After", "7"),))
    endless = Answer(429, "TOOMANYREQUESTS", (("Retry-After", "86400"),))
    rules = (("GET", MANIFEST, busy), ("PUT", UPLOAD, busy), ("PUT", TAG, endless))
    world.begin(*(Rule(*rule) for rule in rules))

    result = world.build()

    assert result.digest == world.digest
    assert len(world.tags()) == 1
    assert sorted(world.waited) == [7, 7, RetryPolicy().longest_pause]


def log_in(world: World, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = base64.b64encode(":".join(LOGIN).encode()).decode()
    config = {"auths": {world.server.host: {"auth": pair}}}
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", BLOB), ("POST", UPLOAD), ("PUT", UPLOAD), ("PUT", UPLOADED), ("PUT", TAG)],
)
def test_a_token_that_expires_on_the_way_is_renewed(
    method: str,
    path: str,
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = world.server.host
    challenge = (
        f'Bearer realm="http://{host}/token",service="{host}",'
        'scope="repository:team/app:pull"'
    )
    expired = Answer(401, "UNAUTHORIZED", (("WWW_Authenticate", challenge),))
    log_in(world, tmp_path, monkeypatch)
    world.begin(login=LOGIN, scheme="bearer")
    world.build()
    needed = len(world.server.issued)
    world.begin(Rule(method, path, expired), login=LOGIN, scheme="bearer")

    result = world.build()
    untouched = world.untouched
    issued = len(world.server.issued)

    assert result.digest == world.digest
    assert untouched == []
    assert issued == needed + 1
    assert len(world.tags()) == 1


REPORTED: dict[str, tuple[list[Rule], type[ImageKitError], str]] = {
    "the base is refused": (
        [Rule("HEAD", MANIFEST, Answer(401, "UNAUTHORIZED"), ALWAYS)],
        AuthenticationError,
        "401.*team/base",
    ),
    "the base is forbidden": (
        [Rule("HEAD", MANIFEST, Answer(403, "DENIED"), ALWAYS)],
        AuthenticationError,
        "403.*team/base",
    ),
    "the base always answers 500": (
        [Rule("HEAD", MANIFEST, Answer(500), ALWAYS)],
        RegistryError,
        "500.*team/base",
    ),
    "the base layer always breaks at its start": (
        [Rule("GET", BLOB, Drop(), ALWAYS)],
        RegistryError,
        "connection was lost.*team/base/blobs",
    ),
    "the registry is always busy": (
        [Rule("GET", MANIFEST, Answer(429, "TOOMANYREQUESTS"), ALWAYS)],
        RegistryError,
        "429.*TOOMANYREQUESTS.*team/base",
    ),
    "the base's manifest is another": (
        [Rule("GET", MANIFEST, Damage(), ALWAYS)],
        HashMismatchError,
        "wanted manifest sha256:.*found sha256:",
    ),
    "half of the base's manifest": (
        [Rule("GET", MANIFEST, Halve(), ALWAYS)],
        HashMismatchError,
        "wanted manifest sha256:.*found sha256:",
    ),
    "the base's blobs are others": (
        [Rule("GET", BLOB, Damage(), ALWAYS)],
        HashMismatchError,
        "wanted blob sha256:.*team/base.*found sha256:",
    ),
    "half of the base's blobs, as if it were all": (
        [Rule("GET", BLOB, Halve(), ALWAYS)],
        HashMismatchError,
        "wanted blob sha256:.*team/base.*found sha256:",
    ),
    "pushing is refused": (
        [Rule("POST", UPLOAD, Answer(401, "UNAUTHORIZED"), ALWAYS)],
        AuthenticationError,
        "401.*POST.*team/app",
    ),
    "pushing is forbidden": (
        [Rule("POST", UPLOAD, Answer(403, "DENIED"), ALWAYS)],
        AuthenticationError,
        "403.*DENIED.*team/app",
    ),
    "uploads always answer 500": (
        [Rule("PUT", UPLOAD, Answer(500), ALWAYS)],
        RegistryError,
        "500.*PUT.*team/app",
    ),
    "uploads always break": (
        [Rule("PUT", UPLOAD, Drop(1000), ALWAYS)],
        RegistryError,
        "connection was lost.*team/app/blobs/uploads",
    ),
    "uploads arrive damaged": (
        [Rule("PUT", UPLOAD, Answer(400, "DIGEST_INVALID"), ALWAYS)],
        RegistryError,
        "400.*DIGEST_INVALID.*team/app",
    ),
    "the manifest is refused": (
        [Rule("PUT", UPLOADED, Answer(400, "MANIFEST_INVALID"), ALWAYS)],
        RegistryError,
        "400.*MANIFEST_INVALID.*team/app",
    ),
    "the tag is never written": (
        [Rule("PUT", TAG, Drop(), ALWAYS)],
        RegistryError,
        "connection was lost.*team/app/manifests/ik1-",
    ),
}


@pytest.mark.parametrize(
    ("rules", "kind", "words"), REPORTED.values(), ids=REPORTED.keys()
)
def test_what_fails_for_good_is_reported(
    rules: list[Rule], kind: type[ImageKitError], words: str, world: World
) -> None:
    world.begin(*rules)

    with pytest.raises(kind, match=words) as caught:
        world.build()
    tags = world.tags()
    again = world.build()

    assert tags == []
    assert again.digest == world.digest
    assert len(world.tags()) == 1
    hint = caught.value.hint or ""
    if kind is AuthenticationError:
        assert "docker login" in hint
    if kind is HashMismatchError:
        assert "damages" in hint


def test_another_layer_under_the_digest_of_the_base_is_reported(world: World) -> None:
    world.begin()
    blobs = world.server.repository("team/base").blobs
    digest = max(blobs, key=lambda name: len(blobs[name]))
    right = blobs[digest]
    middle = len(right) // 2
    blobs[digest] = right[:middle] + bytes([right[middle] ^ 1]) + right[middle + 1 :]

    with pytest.raises(ImageKitError) as caught:
        world.build()
    blobs[digest] = right
    again = world.build()

    assert isinstance(caught.value, HashMismatchError)
    assert digest in str(caught.value)
    assert again.digest == world.digest


def test_a_login_that_is_refused_is_reported_without_its_secret(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.begin(login=("user", "another"), scheme="basic")
    log_in(world, tmp_path, monkeypatch)

    with pytest.raises(AuthenticationError) as caught:
        world.build()

    said = f"{caught.value} {caught.value.hint}"
    assert world.server.host in said
    assert "refused the login" in said
    assert LOGIN[1] not in said
    assert world.server.repository("team/app").tags == {}


FAULTS: st.SearchStrategy[Fault] = st.one_of(
    st.just(Drop()),
    st.integers(0, 400_000).map(Drop),
    st.sampled_from([400, 401, 403, 404, 408, 416, 429, 500, 502, 503]).map(Answer),
    st.just(Answer(404, "BLOB_UPLOAD_UNKNOWN")),
    st.just(Answer(404, "MANIFEST_BLOB_UNKNOWN")),
    st.just(Answer(429, "TOOMANYREQUESTS", (("Retry-After", "3"),))),
    st.just(Lose()),
    st.just(Damage()),
    st.just(Halve()),
)
RULES = st.builds(
    Rule,
    method=st.sampled_from(["HEAD", "GET", "POST", "PUT"]),
    path=st.sampled_from([MANIFEST, BLOB, UPLOAD, UPLOADED, TAG, "/team/app/", "/"]),
    fault=FAULTS,
    times=st.sampled_from([1, 2, 4, 8, ALWAYS]),
)


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(
    rules=st.lists(RULES, min_size=1, max_size=6),
    resumable=st.booleans(),
    ranges=st.booleans(),
    mounts=st.booleans(),
)
def test_whatever_fails_no_tag_is_wrong_and_the_next_build_succeeds(
    rules: list[Rule], resumable: bool, ranges: bool, mounts: bool, world: World
) -> None:
    world.begin(*rules, resumable=resumable, ranges=ranges, mounts=mounts)

    try:
        result = world.build()
    except ImageKitError:
        assert len(world.tags()) <= 1
    else:
        assert result.digest == world.digest
        assert len(world.tags()) == 1
    again = world.build()

    assert again.digest == world.digest
    assert len(world.tags()) == 1
