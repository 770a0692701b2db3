"""Base images: pinned with few requests, known by their config or their layers."""

from __future__ import annotations

import gzip
import importlib.util
import io
import re
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import faulty_registry as faulty
import pytest
from faulty_registry import FaultyRegistry
from hypothesis import given
from hypothesis import strategies as st
from small_images import (
    AMD64,
    ARM64,
    GLIBC,
    MUSL,
    MUSL_PROGRAM,
    PROGRAM,
    File,
    Folder,
    HardLink,
    Images,
    Link,
    python_files,
    tar,
)

from imagekit.digest import Digest
from imagekit.errors import (
    AuthenticationError,
    BaseNotFoundError,
    BaseUnsuitableError,
    LayoutError,
    RegistryError,
)
from imagekit.layers import ImageBase, LayoutBase
from imagekit.oci import model
from imagekit.oci.decompress import decompressed
from imagekit.oci.model import Descriptor
from imagekit.oci.registry import Registries, RetryPolicy
from imagekit.origin import SourcePath
from imagekit.plan import BaseImage, LayoutSource, Libc, RegistrySource
from imagekit.platform import Platform
from imagekit.resolve.base import resolve_base, resolve_bases
from imagekit.resolve.base_facts import BaseFacts, official_facts
from imagekit.resolve.base_scan import LayerStream, scan_layers
from imagekit.store import Store

GLIBC_2_36 = Libc(name="glibc", version=(2, 36))


# Scanning -------------------------------------------------------------------------


def scan(
    *layers: dict[str, File], path: str = "", platform: Platform = AMD64, **env: str
) -> BaseFacts:
    streams = [_stream(tar(files)) for files in layers]
    variables = {**env, **({"PATH": path} if path else {})}
    return scan_layers(streams, platform=platform, env=variables)


def _stream(content: bytes) -> LayerStream:
    return LayerStream(media_type=model.LAYER, open=lambda: iter([content]))


def paths(facts: BaseFacts) -> list[str]:
    return [interpreter.path for interpreter in facts.interpreters]


def test_a_debian_with_a_merged_usr() -> None:
    facts = scan(python_files())

    assert paths(facts) == ["/usr/bin/python3.11"]
    assert facts.interpreters[0].version == (3, 11)
    assert facts.interpreters[0].full_version == "3.11"
    assert facts.libc == GLIBC_2_36
    assert facts.links == (("/bin", "usr/bin"), ("/lib", "usr/lib"))
    assert not facts.has_venv


def test_the_full_version_is_what_the_image_says_of_this_python() -> None:
    assert scan(python_files(), PYTHON_VERSION="3.11.9").interpreters[
        0
    ].full_version == ("3.11.9")
    other = scan(python_files(), PYTHON_VERSION="3.12.1")
    assert other.interpreters[0].full_version == "3.11"


def test_path_decides_which_python_comes_first() -> None:
    files = {**python_files(11), "usr/local/bin/python3.13": PROGRAM}

    assert paths(scan(files)) == ["/usr/local/bin/python3.13", "/usr/bin/python3.11"]
    assert paths(scan(files, path="/usr/bin:/usr/local/bin")) == [
        "/usr/bin/python3.11",
        "/usr/local/bin/python3.13",
    ]


def test_python3_goes_before_newer_ones_in_its_folder() -> None:
    files = {**python_files(11), "usr/bin/python3.13": PROGRAM}

    assert paths(scan(files)) == ["/usr/bin/python3.11", "/usr/bin/python3.13"]


@pytest.mark.parametrize(
    "files",
    [
        {"opt/conda/bin/python3.12": PROGRAM},
        {
            "opt/conda/bin/python3.12": PROGRAM,
            "opt/conda/bin/python3": HardLink("opt/conda/bin/python3.12"),
        },
        {
            "opt/conda/bin/python3.12": PROGRAM,
            "usr/local/bin/python3": Link("/etc/alternatives/python3"),
            "etc/alternatives/python3": Link("../../opt/conda/bin/python3.12"),
        },
        {
            "opt/venv/bin/python3": Link("/opt/conda/bin/python3.12"),
            "./opt/conda/bin/python3.12": PROGRAM,
        },
    ],
    ids=["not-on-path", "hard-link", "alternatives", "venv"],
)
def test_pythons_in_other_places(files: dict[str, File]) -> None:
    facts = scan({**files, "lib64/libc.so.6": GLIBC}, path="/opt/venv/bin:/usr/bin")

    assert paths(facts) == ["/opt/conda/bin/python3.12"]


@pytest.mark.parametrize(
    "files",
    [
        {"usr/bin/python3": b"#!/bin/sh\n", "usr/bin/python3.11": b"#!/bin/sh\n"},
        {"usr/bin/python3": Link("python3.11")},
        {"usr/bin/python3": Link("python3")},
        {"usr/bin/python2.7": PROGRAM, "usr/bin/python3-config": PROGRAM},
        {"usr/share/python3.11": PROGRAM},
        {"usr/bin/python3.11": Folder()},
    ],
    ids=["script", "dangling", "circle", "others", "not-executable", "folder"],
)
def test_what_is_no_python(files: dict[str, File]) -> None:
    assert scan({**files, "lib64/libc.so.6": GLIBC}).interpreters == ()


def test_musl() -> None:
    facts = scan(
        {
            "lib/ld-musl-x86_64.so.1": MUSL,
            "lib/libc.musl-x86_64.so.1": Link("ld-musl-x86_64.so.1"),
            "usr/local/bin/python3.12": MUSL_PROGRAM,
        }
    )

    assert facts.libc == Libc(name="musl", version=(1, 2))
    assert facts.links == ()


@pytest.mark.parametrize(
    ("program", "name"), [(PROGRAM, "glibc"), (MUSL_PROGRAM, "musl")]
)
def test_of_two_c_libraries_pythons_own_counts(program: bytes, name: str) -> None:
    facts = scan(
        {
            "lib/ld-musl-x86_64.so.1": MUSL,
            "lib/x86_64-linux-gnu/libc.so.6": GLIBC,
            "usr/bin/python3.11": program,
        }
    )

    assert facts.libc is not None
    assert facts.libc.name == name


def test_the_machines_own_c_library_counts() -> None:
    old = GLIBC.replace(b"2.36", b"2.31")
    files = {
        "lib/i386-linux-gnu/libc.so.6": old,
        "usr/lib/aarch64-linux-gnu/libc-2.36.so": GLIBC,
        "usr/lib/aarch64-linux-gnu/libc.so.6": Link("libc-2.36.so"),
    }

    assert scan(files, platform=ARM64).libc == GLIBC_2_36


def test_an_unknown_c_library_is_unknown() -> None:
    assert scan({"lib/libc.so.6": b"something", "usr/bin/python3.11": PROGRAM}) == (
        replace(scan({"usr/bin/python3.11": PROGRAM}), libc=None)
    )


def test_whiteouts_hide_what_is_below() -> None:
    upper: dict[str, File] = {"usr/bin/.wh.python3.11": b""}

    assert scan(python_files(), upper).interpreters == ()


def test_a_whiteout_hides_nothing_of_its_own_layer() -> None:
    upper: dict[str, File] = {
        "usr/bin/python3.12": PROGRAM,
        "usr/bin/python3": Link("python3.12"),
        "usr/bin/.wh.python3.11": b"",
        "usr/bin/.wh.python3.12": b"",
    }

    assert paths(scan(python_files(), upper)) == ["/usr/bin/python3.12"]


@pytest.mark.parametrize("name", ["usr/bin/.wh..wh..opq", "usr/.wh.bin", ".wh.usr"])
def test_a_whole_folder_can_be_hidden(name: str) -> None:
    upper: dict[str, File] = {name: b"", "usr/bin/python3.12": PROGRAM}

    assert paths(scan(python_files(), upper)) == ["/usr/bin/python3.12"]


def test_a_whiteout_may_go_through_a_link() -> None:
    upper: dict[str, File] = {"bin/.wh.python3.11": b""}

    assert scan(python_files(), upper).interpreters == ()


def test_a_file_may_come_through_a_link() -> None:
    upper: dict[str, File] = {"bin/python3.12": PROGRAM}

    found = paths(scan(python_files(), upper))
    assert found == ["/usr/bin/python3.11", "/usr/bin/python3.12"]


def test_a_file_takes_the_place_of_a_folder() -> None:
    upper: dict[str, File] = {"usr/bin": b"text"}

    assert scan(python_files(), upper).interpreters == ()


def test_another_file_takes_the_place_of_a_python() -> None:
    upper: dict[str, File] = {"usr/bin/python3.11": b"#!/bin/sh\n"}

    assert scan(python_files(), upper).interpreters == ()


def test_a_folder_takes_the_place_of_a_link() -> None:
    upper: dict[str, File] = {"lib": Folder()}

    assert scan(python_files(), upper).links == (("/bin", "usr/bin"),)


def test_links_near_the_root_that_are_folders() -> None:
    facts = scan(
        {
            "run/lock/": Folder(),
            "var/run": Link("/run"),
            "var/lock": Link("../run/lock"),
            "srv/deep/link": Link("/run"),
            "vmlinuz": Link("boot/vmlinuz"),
            "etc/motd": Link("/run/motd"),
        }
    )

    assert facts.links == (("/var/lock", "../run/lock"), ("/var/run", "/run"))


def test_a_virtual_environment_is_seen() -> None:
    upper: dict[str, File] = {"opt/venv/pyvenv.cfg": b"home = /usr/bin\n"}

    assert scan(python_files(), upper).has_venv


def test_a_layer_that_is_no_archive_is_refused() -> None:
    with pytest.raises(LayoutError, match="not a tar archive"):
        scan_layers([_stream(b"x" * 2048)], platform=AMD64, env={})


def test_the_end_of_a_layer_is_read_too() -> None:
    """A digest is only checked once all bytes were read."""

    def stream() -> Iterator[bytes]:
        yield tar(python_files())
        raise RegistryError("wrong digest")

    layer = LayerStream(media_type=model.LAYER, open=stream)

    with pytest.raises(RegistryError, match="wrong digest"):
        scan_layers([layer], platform=AMD64, env={})


class _Names(dict[str, File]):
    pass


_NAMES = ["a", "a/bin", "a/bin/python3.11", "a/b", "a/b/python3.11", "b", "b/python3"]
_entries = st.dictionaries(
    st.sampled_from([*_NAMES, "a/.wh.bin", ".wh.a", "a/.wh..wh..opq", ".wh.b"]),
    st.sampled_from([PROGRAM, Folder(), Link("a"), Link("/a/bin"), Link("..")]),
    max_size=4,
)


@given(st.lists(_entries, max_size=3), st.data())
def test_any_layers_can_be_read(layers: list[dict[str, File]], data: Any) -> None:
    facts = scan(*layers, path="/a/bin:/b:/a/b")

    assert BaseFacts.from_record(facts.to_record()) == facts


# Decompression --------------------------------------------------------------------


@given(st.lists(st.binary(max_size=40), min_size=1), st.integers(1, 50))
def test_gzip_members_in_pieces(members: list[bytes], size: int) -> None:
    packed = b"".join(gzip.compress(member) for member in members)
    pieces = [packed[at : at + size] for at in range(0, len(packed), size)]

    assert b"".join(decompressed(pieces, model.LAYER_GZIP)) == b"".join(members)


def test_much_comes_out_in_pieces_of_bounded_size() -> None:
    packed = gzip.compress(bytes(100 << 20))

    sizes = [len(piece) for piece in decompressed([packed], model.DOCKER_LAYER_GZIP)]

    assert sum(sizes) == 100 << 20
    assert max(sizes) <= 1 << 20


#: A frame with one raw block (RFC 8878).
_ZSTD = b"\x28\xb5\x2f\xfd\x20\x05\x29\x00\x00hello"
_HAS_ZSTD = any(
    importlib.util.find_spec(name.partition(".")[0]) for name in ("zstandard",)
) or (importlib.util.find_spec("compression") is not None)


def test_zstd_is_read_or_refused_with_a_way_out() -> None:
    if _HAS_ZSTD:
        two = [_ZSTD[:7], _ZSTD[7:] + _ZSTD]
        assert b"".join(decompressed(two, model.LAYER_ZSTD)) == b"hellohello"
        return
    with pytest.raises(LayoutError, match="zstd") as caught:
        list(decompressed([_ZSTD], model.LAYER_ZSTD))
    assert "zstandard" in (caught.value.hint or "")


def test_layers_of_other_kinds_are_refused() -> None:
    with pytest.raises(LayoutError, match="application/x"):
        list(decompressed([b""], "application/x"))


# Official images ------------------------------------------------------------------

OFFICIAL = "docker.io/library/python"
ENV = {"PATH": "/usr/local/bin:/usr/bin", "PYTHON_VERSION": "3.12.7"}
BOOKWORM = "# debian.sh --arch 'amd64' out/ 'bookworm' '@1730000000'"
ALPINE = "ADD alpine-minirootfs-3.20.3-x86_64.tar.gz / # buildkit"


@pytest.mark.parametrize(
    ("tag", "history", "libc"),
    [
        ("3.12", [BOOKWORM], GLIBC_2_36),
        ("3.12-slim-trixie", [BOOKWORM], GLIBC_2_36),
        ("3.12-slim-trixie", [], Libc(name="glibc", version=(2, 41))),
        ("3.12-bullseye", ["mmdebstrap"], Libc(name="glibc", version=(2, 31))),
        (None, [ALPINE], Libc(name="musl", version=(1, 2))),
        ("3.12-alpine3.20", [], Libc(name="musl", version=(1, 2))),
    ],
)
def test_official_images_are_known_by_their_config(
    tag: str | None, history: list[str], libc: Libc
) -> None:
    facts = official_facts(
        OFFICIAL, tag, architecture="amd64", env=ENV, history=history
    )

    assert facts is not None
    assert facts.libc == libc
    assert paths(facts) == ["/usr/local/bin/python3.12"]
    assert facts.interpreters[0].full_version == "3.12.7"


@pytest.mark.parametrize(
    ("name", "tag", "env"),
    [
        ("docker.io/me/python", "3.12-slim-bookworm", ENV),
        ("ghcr.io/library/python", "3.12-slim-bookworm", ENV),
        (OFFICIAL, "3.12", ENV),
        (OFFICIAL, "3.12-slim-duke", ENV),
        (OFFICIAL, "3.12-alpine3.99", ENV),
        (OFFICIAL, "3.12-bookworm", {**ENV, "PATH": "/opt/bin:/usr/local/bin"}),
        (OFFICIAL, "3.12-bookworm", {"PATH": ENV["PATH"]}),
        (OFFICIAL, "3.12-bookworm", {**ENV, "PYTHON_VERSION": "2.7.18"}),
    ],
)
def test_other_images_are_looked_into(name: str, tag: str, env: dict[str, str]) -> None:
    assert official_facts(name, tag, architecture="amd64", env=env, history=[]) is None


def test_links_of_official_images_depend_on_release_and_machine() -> None:
    def links(tag: str, architecture: str) -> dict[str, str]:
        facts = official_facts(
            OFFICIAL, tag, architecture=architecture, env=ENV, history=[]
        )
        assert facts is not None
        return dict(facts.links)

    assert links("x-bookworm", "amd64")["/lib64"] == "usr/lib64"
    assert "/lib64" not in links("x-bookworm", "arm64")
    assert links("x-bookworm", "arm64")["/lib"] == "usr/lib"
    assert "/lib" not in links("x-bullseye", "amd64")
    assert "/lib" not in links("x-alpine3.20", "amd64")


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

    with pytest.raises(BaseUnsuitableError, match="wanted a Python .* found none"):
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


@pytest.mark.engine
def test_the_machines_c_library_is_recognized() -> None:
    """The files are real; their places are moved into a small image."""
    listed = subprocess.run(
        ["ldd", "/bin/sh"], capture_output=True, text=True, check=True
    )
    found = re.search(r"(/\S*libc\.so\.6)", listed.stdout)
    assert found is not None
    import platform as machine

    name, version = machine.libc_ver("/bin/sh")
    facts = scan({"lib/libc.so.6": Path(found[1]).read_bytes()})

    assert facts.libc is not None
    assert (facts.libc.name, facts.libc.version) >= (
        name,
        tuple(map(int, version.split("."))),
    )


def test_a_large_layer_does_not_fill_the_memory(tmp_path: Path) -> None:
    """Peak memory of a scan of 200 MB, in a process of its own."""
    path = tmp_path / "layer.tar"
    with tarfile.open(path, "w") as archive:
        for number in range(4):
            entry = tarfile.TarInfo(f"usr/lib/{number}.so")
            entry.size = 50 << 20
            archive.addfile(entry, io.BytesIO(bytes(entry.size)))
        for number in range(20000):
            archive.addfile(tarfile.TarInfo(f"usr/share/{number}"))
    program = f"""
import resource
from pathlib import Path
from imagekit.oci import model
from imagekit.platform import Platform
from imagekit.resolve.base_scan import LayerStream, scan_layers

def pieces():
    with Path({str(path)!r}).open("rb") as file:
        while chunk := file.read(1 << 20):
            yield chunk

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
layer = LayerStream(media_type=model.LAYER, open=pieces)
scan_layers([layer], platform=Platform("linux", "amd64"), env={{}})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    import sys

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert int(done.stdout) < 20 << 10  # KiB
