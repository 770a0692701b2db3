"""Images into the local engine and out of it, with both of its image stores."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pytest
from machine.engine import Engine
from small_images import AMD64, ARM64, Images, python_files

from imagekit.digest import Digest
from imagekit.errors import (
    BaseNotFoundError,
    BuilderUnavailableError,
    BuildFailedError,
    HashMismatchError,
    LayoutError,
)
from imagekit.layers import ImageBase
from imagekit.oci import model
from imagekit.oci.closure import Content
from imagekit.oci.docker import Docker
from imagekit.oci.engine import Loaded, export_image, load
from imagekit.oci.layout import Layout
from imagekit.oci.model import Descriptor
from imagekit.oci.registry import Registries
from imagekit.oci.select import FoundImage, find_image
from imagekit.oci.validate import check_image
from imagekit.plan import LayoutSource
from imagekit.platform import Platform
from imagekit.progress import Event, Note
from imagekit.reference import Reference
from imagekit.resolve.base import resolve_base
from imagekit.store import Store

pytestmark = pytest.mark.engine

HOST = Platform.host()
FIRST = Reference.parse("engine-io-first:1")


@pytest.fixture(scope="module", params=["containerd", "classic"])
def running(request: pytest.FixtureRequest, base_layout: Path) -> Iterator[Engine]:
    """Return an engine with one image store, then one with the other.

    An image on the base image stays in it, so that the base is unpacked only once.
    """
    name = "engine" if request.param == "containerd" else "classic_engine"
    engine: Engine = request.getfixturevalue(name)
    docker = Docker(program=engine.client, environment=engine.environment)
    demo = make_demo(base_layout)
    put(demo, docker, demo.image(b"first"), FIRST)
    yield engine
    engine.docker("image", "rm", "--force", str(FIRST))


@pytest.fixture
def docker(running: Engine) -> Docker:
    return Docker(program=running.client, environment=running.environment)


@dataclass
class Demo:
    """Images on the base image, each with a layer of its own."""

    layout: Layout
    found: FoundImage
    images: Images = field(default_factory=Images)
    opened: list[Digest] = field(default_factory=list)

    @property
    def base_layers(self) -> list[Descriptor]:
        return list(self.found.manifest.layers)

    def image(self, text: bytes) -> Descriptor:
        top = self.images.image({"hello": text})
        view = model.read_manifest(self.images.blobs[top.digest])
        config = json.loads(self.images.blobs[view.config.digest])
        content = model.image_config(
            self.found.config_bytes,
            diff_ids=[Digest.parse(config["rootfs"]["diff_ids"][0])],
            history=[{"created_by": "test"}],
            created="1980-01-02T00:00:00Z",
        )
        descriptor = self.images.add(content, model.CONFIG)
        manifest = model.manifest(descriptor, [*self.base_layers, *view.layers])
        return self.images.add(manifest, model.MANIFEST, HOST)

    def small(self, text: bytes) -> Descriptor:
        """Return an image that shares its first layer with the others, and runs not."""
        return self.images.image(python_files(), {"hello": text}, platform=HOST)

    def known(self, digest: Digest) -> bytes | None:
        return self.images.blobs.get(digest)

    def open(self, descriptor: Descriptor) -> Content:
        self.opened.append(descriptor.digest)
        if descriptor.digest in self.images.blobs:
            return self.images.open(descriptor)
        return self.layout.blob_path(descriptor.digest)


def make_demo(base_layout: Path) -> Demo:
    layout = Layout.open(base_layout)
    found = find_image(layout.resolve(), HOST, layout.read)
    assert found is not None
    demo = Demo(layout=layout, found=found)
    demo.image(b"first")
    return demo


@pytest.fixture
def demo(base_layout: Path) -> Demo:
    return make_demo(base_layout)


@pytest.fixture
def names(running: Engine, request: pytest.FixtureRequest) -> Iterator[list[Reference]]:
    """Return names for images; they are taken away in the end."""
    word = request.node.originalname.replace("_", "-")
    found = [Reference.parse(f"{word}:{number}") for number in range(3)]
    yield found
    docker = Docker(program=running.client, environment=running.environment)
    for name in found:
        if docker.image_id(str(name)) is not None:
            running.docker("image", "rm", "--force", str(name))


def put(
    demo: Demo, docker: Docker, root: Descriptor, *names: Reference, know: bool = True
) -> Loaded:
    return load(
        root,
        demo.open,
        names=names,
        platform=HOST,
        known=demo.known if know else lambda _digest: None,
        docker=docker,
    )


def said(running: Engine, name: Reference) -> str:
    return running.docker("run", "--rm", str(name), "cat", "/hello")


def test_a_loaded_image_runs(
    demo: Demo, running: Engine, docker: Docker, names: list[Reference]
) -> None:
    root = demo.image(b"one")

    done = put(demo, docker, root, names[0], names[1])

    assert said(running, names[0]) == said(running, names[1]) == "one"
    view = model.read_manifest(demo.images.blobs[root.digest])
    wanted = root.digest if running.store == "containerd" else view.config.digest
    assert done.id == docker.image_id(str(names[0])) == wanted
    python = running.docker("run", "--rm", str(names[0]), "python3", "-V")
    assert python.startswith("Python 3.11")


def test_an_image_that_the_engine_has_is_not_sent_again(
    demo: Demo, running: Engine, docker: Docker, names: list[Reference]
) -> None:
    root = demo.image(b"two")
    first = put(demo, docker, root, names[0])
    demo.opened.clear()

    again = put(demo, docker, root, names[0], names[1])

    assert again == Loaded(id=first.id, sent=0, omitted=first.sent + first.omitted)
    assert said(running, names[1]) == "two"
    assert not set(demo.opened) & {layer.digest for layer in demo.base_layers}


def test_only_missing_layers_are_sent(
    demo: Demo, running: Engine, docker: Docker, names: list[Reference]
) -> None:
    put(demo, docker, demo.image(b"three"), names[0])
    demo.opened.clear()

    done = put(demo, docker, demo.image(b"four"), names[1])

    assert said(running, names[1]) == "four"
    assert done.sent < 10_000
    assert done.omitted == sum(layer.size for layer in demo.base_layers)
    assert not set(demo.opened) & {layer.digest for layer in demo.base_layers}


def test_a_layer_that_stays_is_whole_after_the_other_image_went(
    demo: Demo, running: Engine, docker: Docker, names: list[Reference], store: Store
) -> None:
    put(demo, docker, demo.small(b"five"), names[0])
    assert put(demo, docker, demo.small(b"six"), names[1]).omitted > 0
    running.docker("image", "rm", str(names[0]))

    exported = export_image(str(names[1]), store, docker=docker)

    check_image(exported, lambda descriptor: store.blob_path(descriptor.digest))


def test_a_name_moves_to_the_new_image(
    demo: Demo, running: Engine, docker: Docker, names: list[Reference]
) -> None:
    put(demo, docker, demo.image(b"seven"), names[0])
    put(demo, docker, demo.image(b"eight"), names[0])
    assert said(running, names[0]) == "eight"

    put(demo, docker, demo.image(b"seven"), names[0])
    assert said(running, names[0]) == "seven"


def test_where_a_layer_is_missing_after_all_everything_is_sent(
    demo: Demo, docker: Docker, names: list[Reference], store: Store
) -> None:
    """What is known of another image may be wrong: here, of one without the layer."""
    alone = demo.images.image({"alone": b""}, platform=HOST)
    put(demo, docker, alone, names[0])
    root = demo.images.image({"only": b"here"}, {"hello": b"nine"}, platform=HOST)
    notes: list[Event] = []

    done = load(
        root,
        demo.open,
        names=[names[1]],
        platform=HOST,
        # As if the engine's image had the layers that it lacks.
        known=lambda digest: (
            demo.images.blobs[root.digest] if digest == alone.digest else None
        ),
        progress=notes.append,
        docker=docker,
    )

    assert done.omitted == 0
    if docker.has_containerd_store():  # the classic store tells what it has
        assert [note for note in notes if isinstance(note, Note)]
    exported = export_image(str(names[1]), store, docker=docker)
    check_image(exported, lambda descriptor: store.blob_path(descriptor.digest))


def test_an_index_of_two_platforms(
    demo: Demo, running: Engine, docker: Docker, names: list[Reference]
) -> None:
    other = AMD64 if HOST == ARM64 else ARM64
    others = find_image(demo.layout.resolve(), other, demo.layout.read)
    assert others is not None
    root = demo.images.index(demo.image(b"ten"), others.descriptor)

    done = put(demo, docker, root, names[0])

    assert said(running, names[0]) == "ten"
    if running.store == "containerd":
        assert done.id == root.digest
        again = demo.images.index(demo.image(b"eleven"), others.descriptor)
        sent = put(demo, docker, again, names[1]).sent
        assert sent < sum(layer.size for layer in others.manifest.layers) + 10_000
        assert said(running, names[1]) == "eleven"


def test_an_image_for_another_platform_only_is_refused(
    demo: Demo, docker: Docker
) -> None:
    other = AMD64 if HOST == ARM64 else ARM64
    root = demo.images.index(demo.image(b"x"))

    with pytest.raises(LayoutError, match=str(other)):
        load(root, demo.open, names=[], platform=other, docker=docker)


def test_wrong_bytes_do_not_become_an_image(
    demo: Demo, docker: Docker, names: list[Reference]
) -> None:
    root = demo.small(b"twelve")
    top = model.read_manifest(demo.images.blobs[root.digest]).layers[-1]
    demo.images.blobs[top.digest] = b"x" * top.size

    with pytest.raises(HashMismatchError):
        put(demo, docker, root, names[0])

    assert docker.image_id(str(names[0])) is None


# Bases out of the engine ----------------------------------------------------------


def test_an_image_of_the_engine_is_a_base(
    demo: Demo,
    running: Engine,
    docker: Docker,
    names: list[Reference],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(demo, docker, demo.small(b"base"), names[0])
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)

    with Registries() as registries:
        found = resolve_base(
            ImageBase(reference=f"docker-daemon:{names[0]}"),
            HOST,
            registries=registries,
            store=store,
            need_python=True,
            python=(3, 11),
        )

    assert found.interpreter is not None
    assert found.interpreter.path == "/usr/bin/python3.11"
    assert found.name == f"docker-daemon:{names[0]}"
    assert found.source == LayoutSource(path=str(store.root))
    assert len(found.layers) == 2
    for layer in found.layers:
        assert store.blob_path(layer.digest).stat().st_size == layer.size


def test_an_image_is_taken_out_of_the_engine_once(
    demo: Demo,
    running: Engine,
    docker: Docker,
    names: list[Reference],
    store: Store,
) -> None:
    root = demo.small(b"out")
    put(demo, docker, root, names[0])
    first = export_image(str(names[0]), store, docker=docker)
    found = find_image(first, HOST, Layout(store.root).read)
    assert found is not None
    blob = store.blob_path(found.manifest.layers[-1].digest)
    before = blob.stat().st_mtime_ns

    again = export_image(str(names[0]), store, docker=docker)
    assert again == first
    assert blob.stat().st_mtime_ns == before

    blob.unlink()
    assert export_image(str(names[0]), store, docker=docker) == first
    assert blob.exists()
    if running.store == "containerd":
        assert first.digest == root.digest


def test_an_image_that_the_engine_lacks(docker: Docker, store: Store) -> None:
    with pytest.raises(BaseNotFoundError, match="'nothing:1'") as caught:
        export_image("nothing:1", store, docker=docker)

    assert "docker pull nothing:1" in (caught.value.hint or "")


# Engines that do not answer -------------------------------------------------------


def test_no_engine(engine: Engine, tmp_path: Path) -> None:
    environment = {**engine.environment, "DOCKER_HOST": f"unix://{tmp_path}/none"}
    docker = Docker(program=engine.client, environment=environment)

    for action in (
        docker.has_containerd_store,
        lambda: docker.image_id("x"),
        lambda: docker.load(lambda output: None),
    ):
        with pytest.raises(BuilderUnavailableError) as caught:
            action()
        assert "DOCKER_HOST" in (caught.value.hint or "")


def test_no_docker_command(tmp_path: Path) -> None:
    docker = Docker(program=str(tmp_path / "docker"), environment=dict(os.environ))

    with pytest.raises(BuilderUnavailableError, match="can't run") as caught:
        docker.image_id("x")

    assert "oci:DIR" in (caught.value.hint or "")


def test_what_the_engine_says_is_passed_on(docker: Docker) -> None:
    def write(output: BinaryIO) -> None:
        output.write(b"no archive" * 1000)

    with pytest.raises(BuildFailedError) as caught:
        docker.load(write)

    assert caught.value.argv[1:] == ("load",)
    assert caught.value.log_tail
    with pytest.raises(BuildFailedError, match="image save"), docker.save("nothing:1"):
        pass
