"""What earlier pushes tell: layers are mounted across repositories, never relied on."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from faulty_registry import Answer, FaultyRegistry
from small_images import Images, python_files
from whole_images import pulled

from imagekit import BuildResult, Image
from imagekit.building import BuildOptions, build_image
from imagekit.digest import Digest
from imagekit.errors import AuthenticationError
from imagekit.oci.push import PushBlob, PushManifest
from imagekit.oci.registry import Registries
from imagekit.push_memory import PushMemory
from imagekit.reference import Reference
from imagekit.settings import load_settings
from imagekit.store import Store

LOGIN = ("user", "secret-of-the-test")
ALWAYS = 1 << 30
SIZE = 50_000


@dataclass
class World:
    """A registry with a login, a base image and a folder for images."""

    server: FaultyRegistry
    folder: Path

    def build(self, name: str) -> BuildResult:
        image = (
            Image.from_base(f"{self.server.host}/base:1")
            .clone(name=name, registry=self.server.host)
            .with_source_folder(self.folder / "src")
            .with_env_vars({"NAME": name})
        )
        return build_image(
            image,
            BuildOptions(platforms=("linux/amd64",)),
            settings=load_settings(
                arguments={"cache_dir": self.folder / "store"},
                environ={"HOME": str(self.folder)},
                start=self.folder,
            ),
        )

    def mounts(self) -> list[str]:
        return [item.path for item in self.server.requests("POST", "mount=")]

    def whole(self, result: BuildResult) -> bool:
        reference = Reference.parse(result)
        with Registries() as registries:
            repository = registries.of(reference)
            return str(pulled(repository, reference.target)) == result.digest


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    (tmp_path / "src").mkdir()
    noise = random.Random(1).randbytes(SIZE)
    (tmp_path / "src" / "noise.bin").write_bytes(noise)
    with FaultyRegistry(login=LOGIN, scheme="bearer") as server:
        images = Images()
        images.push(server, "base", "1", images.image(python_files()))
        auth = base64.b64encode(":".join(LOGIN).encode()).decode()
        config = {"auths": {server.host: {"auth": auth}}}
        (tmp_path / "config.json").write_text(json.dumps(config))
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        yield World(server, tmp_path)


def test_another_repository_of_the_registry_gets_layers_by_mounts(
    world: World,
) -> None:
    one = world.build("team/one")
    two = world.build("team/two")

    assert one.uploaded > SIZE
    assert two.uploaded < 5_000  # the config
    assert any("from=team/one" in path for path in world.mounts())
    assert world.whole(two)


def test_what_the_other_repository_lost_is_uploaded(world: World) -> None:
    world.build("team/one")
    world.server.repository("team/one").blobs.clear()

    two = world.build("team/two")

    assert two.uploaded > SIZE
    assert world.whole(two)


def test_a_repository_that_is_closed_now_is_not_in_the_way(world: World) -> None:
    world.build("team/one")
    world.server.revoke_tokens()
    refusal = Answer(403, "DENIED")
    world.server.fail("GET", r"/token\?.*team%2Fone", refusal, ALWAYS)

    two = world.build("team/two")

    assert two.uploaded > SIZE
    assert world.whole(two)


def test_a_refused_login_is_reported(world: World) -> None:
    world.build("team/one")
    world.server.revoke_tokens()
    world.server.login = ("user", "another")

    with pytest.raises(AuthenticationError):
        world.build("team/two")


# The memory alone -----------------------------------------------------------------


def manifest(number: int) -> PushManifest:
    blobs = tuple(
        PushBlob(digest=Digest.of(text.encode()), size=1)
        for text in (f"config {number}", "shared", f"layer {number}")
    )
    return PushManifest(content=b"%d" % number, media_type="any", blobs=blobs)


def memory(store: Store, name: str, registry: str = "127.0.0.1:1") -> PushMemory:
    with Registries() as registries:
        return PushMemory(store, registries.repository(registry, name))


def test_the_last_pushes_are_remembered(store: Store) -> None:
    for number in range(9):
        memory(store, "app").remember([manifest(number)])

    found = memory(store, "app")

    assert found.manifests[0] == manifest(8).digest
    assert len(found.manifests) < 9
    assert found.blobs(manifest(8).digest) == {b.digest for b in manifest(8).blobs}
    assert found.blobs(manifest(0).digest) == frozenset()


def test_blobs_are_looked_for_in_the_same_registry_only(store: Store) -> None:
    memory(store, "app").remember([manifest(1)])
    shared, own = Digest.of(b"shared"), Digest.of(b"layer 2")

    other = memory(store, "other")
    other.remember([manifest(2)])

    assert other.elsewhere(shared) == "app"
    assert memory(store, "other").elsewhere(shared) is None  # it has it itself
    assert memory(store, "app").elsewhere(own) == "other"
    assert memory(store, "app").elsewhere(Digest.of(b"unknown")) is None
    assert memory(store, "app", "127.0.0.1:2").elsewhere(own) is None


def test_few_repositories_are_remembered(store: Store) -> None:
    for number in range(20):
        memory(store, f"app{number}").remember([manifest(number)])

    assert memory(store, "new").elsewhere(Digest.of(b"layer 19")) == "app19"
    assert memory(store, "new").elsewhere(Digest.of(b"layer 0")) is None


def test_a_damaged_record_is_no_memory(store: Store) -> None:
    memory(store, "app").remember([manifest(1)])
    for path in (store.root / "records" / "pushed").iterdir():
        path.write_text("7")

    assert memory(store, "app").manifests == ()
    assert memory(store, "other").elsewhere(Digest.of(b"shared")) is None
