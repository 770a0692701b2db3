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
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

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
from imagekit.reference import Reference
from imagekit.settings import load_settings

ALWAYS = 1 << 30
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
    """A definition, and where its downloads and pauses are kept."""

    folder: Path
    index: package_index.PackageIndex
    waited: list[float] = field(default_factory=list)

    def image(self, server: FaultyRegistry) -> Image:
        return (
            Image.from_base(f"{server.host}/team/base:1")
            .clone(name="team/app", registry=server.host)
            .with_pip_packages("pure", index_url=self.index.url)
            .with_source_folder(self.folder / "src")
        )

    def build(self, server: FaultyRegistry, store: str) -> BuildResult:
        values = {"cache_dir": self.folder / store}
        return build_image(self.image(server), settings=load_settings(arguments=values))

    def fresh_store(self, name: str) -> str:
        """Make a store with what was resolved and downloaded, and nothing else."""
        gone = ("blobs", "bases", "layers", "pushed", "lock")
        shutil.rmtree(self.folder / name, ignore_errors=True)
        ignore = shutil.ignore_patterns(*gone)
        shutil.copytree(self.folder / "warm", self.folder / name, ignore=ignore)
        return name


def base_files() -> dict[str, File]:
    """Return a Python, and so much that a connection can break in the middle."""
    return {**python_files(), "usr/share/noise": random.Random(1).randbytes(300_000)}


def registry_with_base(**options: object) -> FaultyRegistry:
    server = FaultyRegistry(**options)  # type: ignore[arg-type]
    images = Images()
    images.push(server, "team/base", "1", images.image(base_files()))
    return server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    (folder / "src").mkdir()
    (folder / "src" / "data").write_bytes(random.Random(2).randbytes(700_000))
    return folder


@pytest.fixture(scope="module")
def index() -> Iterator[package_index.PackageIndex]:
    with package_index.serve() as index:
        index.add(package_index.wheel("pure", "1.0"))
        yield index


@pytest.fixture
def world(
    folder: Path, index: package_index.PackageIndex, monkeypatch: pytest.MonkeyPatch
) -> World:
    world = World(folder, index)
    patient = partial(RetryPolicy, sleep=world.waited.append)
    monkeypatch.setattr(clients, "RetryPolicy", patient)
    if not (folder / "warm").exists():
        with registry_with_base() as server:
            digest = world.build(server, "warm").digest
        (folder / "digest").write_text(str(digest))
    return world


@pytest.fixture
def wanted(world: World) -> str:
    """Return the digest of the image, as a registry without faults gets it."""
    return (world.folder / "digest").read_text()


def check_tags(server: FaultyRegistry, wanted: str) -> list[str]:
    """Return the tags, once all of each has been pulled and found right."""
    server.rules.clear()
    assert list(server.unsound()) == []
    tags = list(server.repository("team/app").tags)
    with Registries(insecure=(server.host,)) as registries:
        repository = registries.of(Reference.parse(f"{server.host}/team/app"))
        assert {str(pulled(repository, tag)) for tag in tags} <= {wanted}
    return tags


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
    "a tag that is written unheard": [Rule("PUT", TAG, Lose(), 2)],
    "a dropped tag": [Rule("PUT", TAG, Drop(10), 2)],
    "a registry that can't say what it has": [Rule("GET", TAG, Answer(500), 5)],
    "a mount that fails": [Rule("POST", "mount=", Answer(500), 2)],
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
    rules: list[Rule], options: dict[str, bool], world: World, wanted: str
) -> None:
    store = world.fresh_store("recovered")
    with registry_with_base(**options) as server:
        for rule in rules:
            server.fail(rule.method, rule.path, rule.fault, rule.times)
        result = world.build(server, store)
        untouched = [rule for rule in server.rules if rule.times]
        tags = check_tags(server, wanted)

    assert result.digest == wanted
    assert [f"{result.rpartition(':')[0]}:{tag}" for tag in tags] == [result]
    assert untouched == []


def test_a_pause_that_the_registry_asks_for_is_made(world: World, wanted: str) -> None:
    store = world.fresh_store("pause")
    busy = Answer(429, "TOOMANYREQUESTS", (("Retry-After", "7"),))
    endless = Answer(429, "TOOMANYREQUESTS", (("Retry-After", "86400"),))
    with registry_with_base() as server:
        server.fail("GET", MANIFEST, busy, 1)
        server.fail("POST", UPLOAD, busy, 1)
        server.fail("PUT", UPLOADED, endless, 1)
        result = world.build(server, store)
        check_tags(server, wanted)

    assert result.digest == wanted
    assert sorted(world.waited) == [7, 7, RetryPolicy().longest_pause]


def logged_in(
    server: FaultyRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = base64.b64encode(":".join(LOGIN).encode()).decode()
    config = {"auths": {server.host: {"auth": pair}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))


@dataclass(frozen=True)
class Expire(Answer):
    """Forget all tokens, and answer as to one that is not known."""

    status: int = 401
    code: str = "UNAUTHORIZED"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", BLOB), ("POST", UPLOAD), ("PUT", UPLOAD), ("PUT", UPLOADED)],
)
def test_a_token_that_expires_on_the_way_is_renewed(
    method: str,
    path: str,
    world: World,
    wanted: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = world.fresh_store("expired")
    with registry_with_base(login=LOGIN, scheme="bearer") as server:
        logged_in(server, tmp_path, monkeypatch)
        challenge = (
            f'Bearer realm="http://{server.host}/token",service="{server.host}",'
            'scope="repository:team/app:pull"'
        )
        expired = Answer(401, "UNAUTHORIZED", (("WWW_Authenticate", challenge),))
        server.fail(method, path, expired, 1)
        result = world.build(server, store)
        tokens = len(server.issued)
        untouched = [rule for rule in server.rules if rule.times]
        tags = check_tags(server, wanted)

    assert result.digest == wanted
    assert len(tags) == 1
    assert untouched == []
    assert tokens > 2


REPORTED: dict[str, tuple[list[Rule], type[ImageKitError], str]] = {
    "the base is refused": (
        [Rule("HEAD", MANIFEST, Answer(401, "UNAUTHORIZED"), ALWAYS)],
        AuthenticationError,
        "401.*team/base",
    ),
    "the base is forbidden": (
        [Rule("HEAD", MANIFEST, Answer(403, "DENIED"), ALWAYS)],
        AuthenticationError,
        "403.*DENIED.*team/base",
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
        [Rule("HEAD", MANIFEST, Answer(429, "TOOMANYREQUESTS"), ALWAYS)],
        RegistryError,
        "429.*TOOMANYREQUESTS",
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
    rules: list[Rule],
    kind: type[ImageKitError],
    words: str,
    world: World,
    wanted: str,
) -> None:
    store = world.fresh_store("reported")
    with registry_with_base() as server:
        for rule in rules:
            server.fail(rule.method, rule.path, rule.fault, rule.times)
        with pytest.raises(kind, match=words) as caught:
            world.build(server, store)
        tags = check_tags(server, wanted)
        again = world.build(server, store)
        check_tags(server, wanted)

    assert tags == []
    assert again.digest == wanted
    if kind is AuthenticationError:
        assert "docker login" in (caught.value.hint or "")
    if kind is HashMismatchError:
        assert "damages" in (caught.value.hint or "")


def test_a_login_that_is_refused_is_reported_without_its_secret(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = world.fresh_store("refused")
    with registry_with_base(login=("user", "another"), scheme="basic") as server:
        logged_in(server, tmp_path, monkeypatch)
        with pytest.raises(AuthenticationError) as caught:
            world.build(server, store)
        tags = list(server.repository("team/app").tags)

    said = f"{caught.value} {caught.value.hint}"
    assert server.host in said
    assert "refused the login" in said
    assert LOGIN[1] not in said
    assert tags == []


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
    rules: list[Rule],
    resumable: bool,
    ranges: bool,
    mounts: bool,
    world: World,
    wanted: str,
) -> None:
    store = world.fresh_store("random")
    options = {"resumable": resumable, "ranges": ranges, "mounts": mounts}
    with registry_with_base(**options) as server:
        for rule in rules:
            server.fail(rule.method, rule.path, rule.fault, rule.times)
        try:
            result = world.build(server, store)
        except ImageKitError as error:
            assert str(error)
        else:
            assert result.digest == wanted
            assert len(server.repository("team/app").tags) == 1
        check_tags(server, wanted)
        again = world.build(server, store)
        tags = check_tags(server, wanted)

    assert again.digest == wanted
    assert len(tags) == 1
