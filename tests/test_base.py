"""Base images: pinned with few requests, and checked."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faulty_registry as faulty
import pytest
from faulty_registry import FaultyRegistry
from small_images import (
    AMD64,
    ARM64,
    GLIBC,
    PROGRAM,
    Images,
    python_files,
    tar,
)

from imagekit.digest import Digest
from imagekit.errors import (
    AuthenticationError,
    BaseNotFoundError,
    BaseUnsuitableError,
    RegistryError,
)
from imagekit.layers import ImageBase, LayoutBase
from imagekit.oci import model
from imagekit.oci.model import Descriptor
from imagekit.oci.registry import Registries, RetryPolicy
from imagekit.origin import SourcePath
from imagekit.plan import BaseImage, LayoutSource, Libc, RegistrySource
from imagekit.platform import Platform
from imagekit.resolve.base import resolve_base, resolve_bases
from imagekit.resolve.base_facts import official_facts
from imagekit.store import Store

GLIBC_2_36 = Libc(name="glibc", version=(2, 36))
OFFICIAL = "docker.io/library/python"
ENV = {"PATH": "/usr/local/bin:/usr/bin", "PYTHON_VERSION": "3.12.7"}
BOOKWORM = "# debian.sh --arch 'amd64' out/ 'bookworm' '@1730000000'"
ALPINE = "ADD alpine-minirootfs-3.20.3-x86_64.tar.gz / # buildkit"


# Registries -----------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[FaultyRegistry]:
    with FaultyRegistry() as running:
        yield running


@pytest.fixture
def registries(server: FaultyRegistry, tmp_path: Path) -> Iterator[Registries]:
    with Registries(
        mirrors=(("docker.io", server.host),),
        docker_config=tmp_path / "docker",
        retry=RetryPolicy(sleep=lambda _seconds: None),
    ) as found:
        yield found


@pytest.fixture
def images() -> Images:
    return Images()


@pytest.fixture
def root(images: Images) -> Descriptor:
    return images.index(
        images.image(python_files()), images.image(python_files(), platform=ARM64)
    )


def resolve(
    base: str | LayoutBase,
    registries: Registries,
    store: Store,
    platform: Platform = AMD64,
    **options: Any,
) -> BaseImage:
    settings = {"need_python": True, "python": None, **options}
    return resolve_base(
        ImageBase(reference=base) if isinstance(base, str) else base,
        platform,
        registries=registries,
        store=store,
        **settings,
    )


def asked(server: FaultyRegistry) -> list[str]:
    """Return what was asked for since the last time."""
    found = [f"{seen.method} {seen.path.split('/')[-2]}" for seen in server.seen]
    server.seen.clear()
    return found


def test_a_tag_costs_one_request_once_it_is_known(
    server: FaultyRegistry,
    registries: Registries,
    images: Images,
    root: Descriptor,
    store: Store,
) -> None:
    images.push(server, "team/base", "1", root)
    reference = f"{server.host}/team/base:1"

    first = resolve(reference, registries, store)
    cold = asked(server)
    again = resolve(reference, registries, store)

    assert cold == [
        "HEAD manifests",
        "GET manifests",
        "GET manifests",
        "GET blobs",
        "GET blobs",
    ]
    assert asked(server) == ["HEAD manifests"]
    assert again == first
    assert first.name == reference
    assert first.source == RegistrySource(registry=server.host, repository="team/base")
    assert first.interpreter is not None
    assert first.interpreter.path == "/usr/bin/python3.11"
    assert first.libc == GLIBC_2_36
    assert first.links == (("/bin", "usr/bin"), ("/lib", "usr/lib"))


def test_a_digest_costs_no_request_once_it_is_known(
    server: FaultyRegistry,
    registries: Registries,
    images: Images,
    root: Descriptor,
    store: Store,
) -> None:
    images.push(server, "team/base", "1", root)
    reference = f"{server.host}/team/base@{root.digest}"

    first = resolve(reference, registries, store)
    server.seen.clear()

    assert resolve(reference, registries, store) == first
    assert asked(server) == []
    assert first.name == reference
    tagged = resolve(f"{server.host}/team/base:9@{root.digest}", registries, store)
    assert tagged.name == f"{server.host}/team/base:9"
    assert tagged.manifest == first.manifest


def test_layers_are_never_kept(
    server: FaultyRegistry,
    registries: Registries,
    images: Images,
    root: Descriptor,
    store: Store,
) -> None:
    images.push(server, "team/base", "1", root)

    found = resolve(f"{server.host}/team/base:1", registries, store)

    (layer,) = found.layers
    assert not store.has_blob(layer.digest)
    assert layer.media_type == model.LAYER_GZIP
    assert layer.size == len(images.blobs[layer.digest])
    assert layer.diff_id == Digest.of(gzip.decompress(images.blobs[layer.digest]))
    assert store.read_blob(found.manifest) == images.blobs[found.manifest]


def test_all_platforms_are_of_one_release(
    server: FaultyRegistry,
    registries: Registries,
    images: Images,
    root: Descriptor,
    store: Store,
) -> None:
    images.push(server, "team/base", "1", root)
    base = ImageBase(reference=f"{server.host}/team/base:1")

    found = resolve_bases(
        base,
        (AMD64, ARM64),
        registries=registries,
        store=store,
        need_python=True,
    )

    assert [item.platform for item in found] == [AMD64, ARM64]
    assert asked(server).count("HEAD manifests") == 1


def test_an_official_image_is_known_without_its_layers(
    server: FaultyRegistry, registries: Registries, images: Images, store: Store
) -> None:
    env = [f"{name}={value}" for name, value in ENV.items()]
    root = images.index(images.image(python_files(12), env=env, history=[BOOKWORM]))
    images.push(server, "library/python", "3.12", root)

    found = resolve("python:3.12", registries, store, python=(3, 12))

    (layer,) = found.layers
    assert not server.requests("GET", layer.digest.hex)
    assert found.name == "docker.io/library/python:3.12"
    assert found.interpreter is not None
    assert found.interpreter.full_version == "3.12.7"
    assert found.libc == GLIBC_2_36


def test_facts_do_not_depend_on_how_the_image_was_named_before(
    server: FaultyRegistry, registries: Registries, images: Images, store: Store
) -> None:
    env = [f"{name}={value}" for name, value in ENV.items()]
    root = images.index(images.image(python_files(12), env=env))
    images.push(server, "library/python", "3.12-bookworm", root)
    pinned = f"python@{root.digest}"
    resolve("python:3.12-bookworm", registries, store)

    warm = resolve(pinned, registries, store)

    cold = resolve(pinned, registries, Store(store.root.with_name("cold")))
    assert warm == cold


def test_docker_images_get_the_names_of_oci(
    server: FaultyRegistry, registries: Registries, images: Images, store: Store
) -> None:
    root = images.image(python_files(), media_type=model.DOCKER_MANIFEST)
    images.push(server, "team/base", "latest", root)

    found = resolve(f"{server.host}/team/base", registries, store)

    assert [layer.media_type for layer in found.layers] == [model.LAYER_GZIP]
    assert found.name == f"{server.host}/team/base:latest"


def test_layers_are_not_read_where_nothing_of_them_is_needed(
    server: FaultyRegistry,
    registries: Registries,
    images: Images,
    root: Descriptor,
    store: Store,
) -> None:
    images.push(server, "team/base", "1", root)

    found = resolve(
        f"{server.host}/team/base:1",
        registries,
        store,
        need_python=False,
        need_links=False,
    )

    assert not server.requests("GET", found.layers[0].digest.hex)
    assert (found.interpreter, found.libc, found.links) == (None, None, ())


def test_an_image_that_is_not_there(
    server: FaultyRegistry, registries: Registries, store: Store
) -> None:
    reference = f"{server.host}/team/nothing:1"

    with pytest.raises(BaseNotFoundError, match="nothing:1") as caught:
        resolve(reference, registries, store, origin="app.py:3")

    assert caught.value.origin == "app.py:3"
    assert "docker login" in (caught.value.hint or "")
    with pytest.raises(BaseNotFoundError, match="nothing@sha256"):
        resolve(f"{server.host}/team/nothing@{Digest.of(b'')}", registries, store)


def test_an_image_for_other_platforms(
    server: FaultyRegistry, registries: Registries, images: Images, store: Store
) -> None:
    images.push(server, "team/base", "1", images.index(images.image(python_files())))
    images.push(server, "team/base", "2", images.image(python_files()))

    for tag in "12":
        with pytest.raises(
            BaseNotFoundError, match=r"for linux/arm64 \(found: linux/amd64\)"
        ) as caught:
            resolve(f"{server.host}/team/base:{tag}", registries, store, ARM64)
        assert "linux/amd64" in (caught.value.hint or "")


def test_the_wrong_python_is_named(
    server: FaultyRegistry,
    registries: Registries,
    images: Images,
    root: Descriptor,
    store: Store,
) -> None:
    images.push(server, "team/base", "1", root)

    with pytest.raises(
        BaseUnsuitableError,
        match=r"wanted Python 3\.13 .* found 3\.11 at /usr/bin/python3\.11",
    ) as caught:
        resolve(f"{server.host}/team/base:1", registries, store, python=(3, 13))

    assert caught.value.hint == "ask for Python 3.11, or use a base with Python 3.13"


def test_no_python(
    server: FaultyRegistry, registries: Registries, images: Images, store: Store
) -> None:
    images.push(server, "team/base", "1", images.image({"lib/libc.so.6": GLIBC}))
    reference = f"{server.host}/team/base:1"

    with pytest.raises(BaseUnsuitableError, match=r"wanted a Python .* found none"):
        resolve(reference, registries, store)

    assert resolve(reference, registries, store, need_python=False).interpreter is None


def test_a_second_python_will_do_if_it_is_the_one_asked_for(
    server: FaultyRegistry, registries: Registries, images: Images, store: Store
) -> None:
    files = {**python_files(11), "usr/local/bin/python3.13": PROGRAM}
    images.push(server, "team/base", "1", images.image(files))

    found = resolve(f"{server.host}/team/base:1", registries, store, python=(3, 11))

    assert found.interpreter is not None
    assert found.interpreter.path == "/usr/bin/python3.11"


def test_a_refused_login_is_said_to_be_one(
    registries: Registries, images: Images, root: Descriptor, store: Store
) -> None:
    with FaultyRegistry(login=("me", "secret")) as private:
        images.push(private, "team/base", "1", root)
        with pytest.raises(AuthenticationError) as caught:
            resolve(f"{private.host}/team/base:1", registries, store, origin="a.py:1")

    assert caught.value.hint
    assert caught.value.origin == "a.py:1"


def test_a_registry_that_fails_is_not_taken_for_one_without_the_image(
    server: FaultyRegistry, registries: Registries, store: Store
) -> None:
    server.fail("HEAD", "manifests", faulty.Answer(500), times=99)
    server.fail("GET", "manifests", faulty.Answer(500), times=99)

    with pytest.raises(RegistryError):
        resolve(f"{server.host}/team/base:1", registries, store)


def test_a_damaged_layer_leaves_no_record(
    server: FaultyRegistry,
    registries: Registries,
    images: Images,
    root: Descriptor,
    store: Store,
) -> None:
    images.push(server, "team/base", "1", root)
    amd64 = model.read_index(images.blobs[root.digest]).manifests[0]
    layer = model.read_manifest(images.blobs[amd64.digest]).layers[0].digest
    sound = server.repository("team/base").blobs[str(layer)]
    wrong = tar({"usr/bin/python3.9": PROGRAM})
    server.repository("team/base").blobs[str(layer)] = gzip.compress(wrong)
    reference = f"{server.host}/team/base:1"

    with pytest.raises(Exception, match=layer.hex):
        resolve(reference, registries, store)

    server.repository("team/base").blobs[str(layer)] = sound
    found = resolve(reference, registries, store)
    assert found.interpreter is not None
    assert found.interpreter.version == (3, 11)


def test_an_invalid_image_is_unsuitable(
    server: FaultyRegistry, registries: Registries, images: Images, store: Store
) -> None:
    rootfs = {"type": "layers", "diff_ids": []}
    images.push(
        server, "team/base", "1", images.image(python_files(), extra={"rootfs": rootfs})
    )

    with pytest.raises(BaseUnsuitableError, match="1 layers, but 0 diff_ids"):
        resolve(f"{server.host}/team/base:1", registries, store)


# Layouts --------------------------------------------------------------------------


def layout_base(path: Path, reference: str | None = None) -> LayoutBase:
    return LayoutBase(
        path=SourcePath(name="bases/x", location=str(path)), reference=reference
    )


def test_a_layout(
    registries: Registries,
    images: Images,
    root: Descriptor,
    store: Store,
    tmp_path: Path,
) -> None:
    images.layout(tmp_path / "x", root, "1")

    found = resolve(layout_base(tmp_path / "x", "1"), registries, store, ARM64)

    assert found.platform == ARM64
    assert found.name == "oci:bases/x:1"
    assert found.source == LayoutSource(path=str(tmp_path / "x"))
    assert found.interpreter is not None
    pinned = layout_base(tmp_path / "x", str(root.digest))
    assert resolve(pinned, registries, store, ARM64).manifest == found.manifest


def test_layouts_that_do_not_have_the_image(
    registries: Registries,
    images: Images,
    root: Descriptor,
    store: Store,
    tmp_path: Path,
) -> None:
    images.layout(tmp_path / "x", root, "1")
    images.layout(tmp_path / "x", images.image(python_files(12)), "2")

    with pytest.raises(BaseNotFoundError, match="no OCI image layout") as caught:
        resolve(layout_base(tmp_path / "y"), registries, store, origin="a.py:2")
    assert caught.value.origin == "a.py:2"
    assert "oci-layout" in (caught.value.hint or "")
    with pytest.raises(BaseNotFoundError, match="'3'") as caught:
        resolve(layout_base(tmp_path / "x", "3"), registries, store)
    assert f"1@{root.digest}" in (caught.value.hint or "")
    with pytest.raises(BaseNotFoundError, match="found 2 images"):
        resolve(layout_base(tmp_path / "x"), registries, store)


def test_a_damaged_layout_is_unsuitable(
    registries: Registries,
    images: Images,
    root: Descriptor,
    store: Store,
    tmp_path: Path,
) -> None:
    layout = images.layout(tmp_path / "x", root)
    for blob in (layout.root / "blobs/sha256").iterdir():
        if blob.read_bytes().startswith(b"\x1f\x8b"):
            blob.write_bytes(blob.read_bytes()[:-1] + b"!")

    with pytest.raises(BaseUnsuitableError, match="not valid"):
        resolve(layout_base(layout.root), registries, store)


# The real thing -------------------------------------------------------------------


@pytest.mark.engine
@pytest.mark.parametrize("platform", [AMD64, ARM64], ids=str)
def test_the_debian_base_is_what_the_table_of_releases_says(
    base_layout: Path, registries: Registries, store: Store, platform: Platform
) -> None:
    found = resolve(layout_base(base_layout), registries, store, platform)

    config = found.config.decode()
    version = re.search(r"PYTHON_VERSION=([0-9.]+)", config)
    assert version is not None
    assert found.interpreter is not None
    assert found.interpreter.version == (3, 11)
    assert found.interpreter.full_version == version[1]
    official = official_facts(
        OFFICIAL,
        "3.11-slim-bookworm",
        architecture=platform.architecture,
        env={"PATH": "/usr/local/bin:/usr/bin", "PYTHON_VERSION": version[1]},
        history=[],
    )
    assert official is not None
    assert found.libc == official.libc
    for link in (("/bin", "usr/bin"), ("/lib", "usr/lib"), ("/sbin", "usr/sbin")):
        assert link in found.links
        assert link in official.links
    if platform == AMD64:  # the other one is unpacked only, not set up
        assert found.links == official.links


@pytest.mark.engine
def test_the_base_in_a_registry(registry: str, tmp_path: Path, store: Store) -> None:
    mirrors = (("docker.io", registry),)
    with Registries(mirrors=mirrors, docker_config=tmp_path) as registries:
        found = resolve(
            "python:3.11-slim-bookworm", registries, store, ARM64, python=(3, 11)
        )

    assert found.name == "docker.io/library/python:3.11-slim-bookworm"
    assert found.interpreter is not None
    assert found.interpreter.path == "/usr/local/bin/python3.11"
    assert found.libc == GLIBC_2_36
