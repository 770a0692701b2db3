"""Images for clusters: the code on top of them, and what crosses the wire for that."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from engine_plans import reach
from machine import debian_base
from machine.engine import Engine
from machine.push import push_layout
from machine.registry import Registry
from whole_images import pulled

from imagekit import Image, TaskEnvironment
from imagekit.bundle import Bundle, code_bundle
from imagekit.code_layers import CODE, RUNTIME
from imagekit.deployed_images import DeployedImage, ImageDeployer
from imagekit.environment import Environment
from imagekit.ignore import NOTHING
from imagekit.oci.registry import Registries
from imagekit.reference import Reference
from imagekit.settings import Settings, load_settings
from imagekit.sources import Tree, walk
from imagekit.task_errors import ImageBuildError, InitializationError


@dataclass
class World:
    """A registry with a base image, and a folder with code."""

    server: Registry
    folder: Path
    read: int = 0

    @property
    def base(self) -> str:
        return f"{self.server.address}/{debian_base.NAME}:{debian_base.TAG}"

    @property
    def settings(self) -> Settings:
        return load_settings(
            start=self.folder,
            arguments={
                "cache_dir": self.folder / "store",
                "registry": f"{self.server.address}/team",
            },
        )

    @property
    def runtime(self) -> Tree:
        """Return a small runtime in place of the installed one."""
        return walk(str(self.folder / "runtime"), NOTHING)

    def bundle(self, style: Any = "all") -> Bundle:
        return code_bundle(style, self.folder / "code")

    def deploy(
        self, *environments: Environment, style: Any = "all"
    ) -> dict[str, DeployedImage]:
        deployer = ImageDeployer(
            bundle=self.bundle(style), runtime=self.runtime, settings=self.settings
        )
        return deployer.deploy(environments)

    def requests(self) -> list[tuple[str, str]]:
        """Return method and path of what was asked since the last time."""
        lines = self.server.log.read_text("utf-8", "replace").splitlines()
        new, self.read = lines[self.read :], len(lines)
        found = [re.search(r'"([A-Z]+) (/v2/\S*) HTTP', line) for line in new]
        return [(item[1], item[2]) for item in found if item]

    def blobs_read(self) -> list[str]:
        """Return the digests of the blobs that were fetched since the last time."""
        return [
            path.rpartition("/")[2]
            for method, path in self.requests()
            if method == "GET" and "/blobs/" in path
        ]

    def layers(self, reference: str) -> list[str]:
        """Return the layers of the amd64 image, which is checked to be complete."""
        found = Reference.parse(reference)
        with Registries() as registries:
            repository = registries.of(found)
            pulled(repository, found.target)
            content = repository.get_manifest(found.target)
            assert content is not None
            document = json.loads(content.content)
            for item in document.get("manifests", ()):
                if item["platform"]["architecture"] == "amd64":
                    child = repository.get_manifest(item["digest"])
                    assert child is not None
                    document = json.loads(child.content)
        return [layer["digest"] for layer in document["layers"]]


@pytest.fixture
def world(
    empty_registry: Callable[..., Registry], base_layout: Path, tmp_path: Path
) -> World:
    server = empty_registry()
    push_layout(base_layout, server.address, debian_base.NAME, debian_base.TAG)
    code = tmp_path / "code"
    code.mkdir()
    (code / "module.py").write_text("x = 1\n")
    runtime = tmp_path / "runtime" / "imagekit"
    runtime.mkdir(parents=True)
    (runtime / "__init__.py").write_text("")
    return World(server, tmp_path)


def built(world: World, **options: Any) -> Image:
    data = world.folder / "data.txt"
    data.write_text("data")
    return (
        Image.from_base(world.base).clone(name="own", **options).with_source_file(data)
    )


def test_the_code_goes_on_top_and_nothing_below_is_fetched(world: World) -> None:
    env = TaskEnvironment("one", image=built(world))
    world.deploy(env)  # its own image has its base's Python looked for
    world.requests()

    (world.folder / "code" / "module.py").write_text("x = 2\n")
    found = world.deploy(env)["one"]
    read = world.blobs_read()

    own, top = found.results
    assert own.reused
    assert not top.reused
    assert read == []
    assert 0 < found.uploaded < 20_000
    name = f"{world.server.address}/team/own"
    assert found.reference == f"{name}@{top.digest}"
    below = world.layers(f"{name}@{own.digest}")
    layers = world.layers(found.reference)
    assert layers[: len(below)] == below
    assert len(layers) == len(below) + 2


def test_the_same_again_uploads_nothing(world: World) -> None:
    env = TaskEnvironment("one", image=built(world))
    first = world.deploy(env)["one"]
    world.requests()

    again = world.deploy(env)["one"]

    assert again == first
    assert all(result.reused for result in again.results)
    assert {method for method, _ in world.requests()} <= {"GET", "HEAD"}


def test_an_existing_image_is_pinned_and_not_copied(world: World) -> None:
    env = TaskEnvironment("one", image=world.base)

    found = world.deploy(env)["one"]
    read = world.blobs_read()

    assert found.reference.startswith(f"{world.server.address}/team/imagekit-task@")
    below = world.layers(world.base)
    layers = world.layers(found.reference)
    assert layers[: len(below)] == below
    assert len(layers) == len(below) + 2
    # Its config is read; its layers are mounted from where they are.
    assert not set(read) & set(below)
    assert found.uploaded < 20_000


def test_a_platform_more_is_kept(world: World) -> None:
    image = built(world, platform=("linux/amd64", "linux/arm64"))

    found = world.deploy(TaskEnvironment("one", image=image))["one"]

    assert found.results[-1].platforms == ("linux/amd64", "linux/arm64")


def test_an_image_of_several_environments_is_made_once(world: World) -> None:
    image = built(world)
    one, two = (TaskEnvironment(name, image=image) for name in ("one", "two"))
    other = TaskEnvironment("other", image=image.with_env_vars({"A": "1"}))

    found = world.deploy(one, two, other)

    assert found["one"] is found["two"]
    assert found["other"].reference != found["one"].reference


def test_without_code_only_the_runtime_is_added(world: World) -> None:
    env = TaskEnvironment("one", image=world.base)

    found = world.deploy(env, style="none")["one"]

    assert len(world.layers(found.reference)) == len(world.layers(world.base)) + 1


def test_documents_say_where_things_are(world: World) -> None:
    env = TaskEnvironment("one", image=world.base)
    deployer = ImageDeployer(
        bundle=world.bundle(), runtime=world.runtime, settings=world.settings
    )

    document = deployer.document(env, DeployedImage(reference="x@sha256:1"))

    assert (document.reference, document.code, document.runtime) == (
        "x@sha256:1",
        CODE,
        RUNTIME,
    )
    assert document.paths == (CODE,)
    assert document.workdir is None


def test_names_are_known_before_anything_is_made(world: World) -> None:
    one = TaskEnvironment("one", image=built(world))
    two = TaskEnvironment("two", image=world.base)
    deployer = ImageDeployer(
        bundle=world.bundle(), runtime=world.runtime, settings=world.settings
    )

    names = deployer.named((one, two))
    assert not (world.folder / "store").exists()
    found = deployer.deploy((one, two))

    for name, image in names.items():
        assert world.layers(image.reference) == world.layers(found[name].reference)


def test_no_registry_is_said_before_anything_is_built(tmp_path: Path) -> None:
    settings = load_settings(start=tmp_path)
    deployer = ImageDeployer(
        bundle=code_bundle("none", tmp_path),
        runtime=Tree(entries=()),
        settings=settings,
    )
    env = TaskEnvironment("one", image="ghcr.io/x/y:1")

    with pytest.raises(InitializationError, match="'one'") as caught:
        deployer.check((env,))
    assert "registry" in str(caught.value.hint)
    named = TaskEnvironment("two", image=Image.from_debian_base(registry="ghcr.io/x"))
    deployer.check((named,))


def test_an_image_that_is_not_there_is_named(world: World) -> None:
    env = TaskEnvironment("one", image=f"{world.server.address}/no/such:1")

    with pytest.raises(ImageBuildError, match=r"environment 'one'.*no image"):
        world.deploy(env)


@pytest.mark.engine
def test_it_goes_on_images_that_a_dockerfile_makes(
    world: World, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(monkeypatch, engine)
    context = world.folder / "context"
    context.mkdir()
    (context / "made.txt").write_text("made")
    (context / "Dockerfile").write_text("FROM scratch\nCOPY made.txt /made.txt\n")
    image = Image.from_dockerfile(context / "Dockerfile", name="written")
    env = TaskEnvironment("one", image=image)

    first = world.deploy(env)["one"]
    assert not world.blobs_read()
    (world.folder / "code" / "module.py").write_text("x = 2\n")
    found = world.deploy(env)["one"]

    assert not world.blobs_read()
    own, _ = found.results
    assert own.reused
    assert found.uploaded < 20_000
    below = world.layers(f"{world.server.address}/team/written@{own.digest}")
    layers = world.layers(found.reference)
    assert layers[: len(below)] == below
    assert len(layers) == len(below) + 2
    assert found.reference != first.reference
