"""What is known of base images: from their layers, or from their config."""

from __future__ import annotations

import gzip
import importlib.util
import io
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
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
    Link,
    python_files,
    tar,
)

from imagekit.errors import (
    LayoutError,
    RegistryError,
)
from imagekit.oci import model
from imagekit.oci.decompress import decompressed
from imagekit.plan import Libc
from imagekit.platform import Platform
from imagekit.resolve.base_facts import BaseFacts, official_facts
from imagekit.resolve.base_scan import LayerStream, scan_layers

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
    files: dict[str, File] = {
        "lib/i386-linux-gnu/libc.so.6": old,
        "usr/lib/aarch64-linux-gnu/libc-2.36.so": GLIBC,
        "usr/lib/aarch64-linux-gnu/libc.so.6": Link("libc-2.36.so"),
    }

    assert scan(files, platform=ARM64).libc == GLIBC_2_36


def test_an_unknown_c_library_is_unknown() -> None:
    files: dict[str, File] = {"lib/libc.so.6": b"text", "usr/bin/python3.11": PROGRAM}

    assert scan(files).libc is None


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


# Real files ---------------------------------------------------------------------


def test_the_machines_c_library_is_recognized() -> None:
    name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    (path,) = {
        line.split()[-1]
        for line in Path("/proc/self/maps").read_text().splitlines()
        if re.search(r"/libc[.-]", line)
    }

    facts = scan({"lib/libc.so.6": Path(path).read_bytes()})

    assert facts.libc is not None
    assert (facts.libc.name, ".".join(map(str, facts.libc.version))) == (name, version)


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
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert int(done.stdout) < 20 << 10  # KiB
