"""Which wheel a target takes."""

from __future__ import annotations

import sysconfig
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from package_index import GLIBC, MUSL, target
from packaging.tags import sys_tags

from imagekit.plan import Libc
from imagekit.platform import Platform
from imagekit.resolve.wheel_choice import WheelName, best_wheel, tag_ranks


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        pytest.param(
            ["py3-none-any", "cp311-cp311-manylinux_2_17_x86_64"],
            "cp311-cp311-manylinux_2_17_x86_64",
            id="own-before-any",
        ),
        pytest.param(
            ["cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux_2_28_x86_64"],
            "cp311-cp311-manylinux_2_28_x86_64",
            id="newer-glibc-first",
        ),
        pytest.param(
            ["cp311-cp311-manylinux_2_39_x86_64", "py3-none-any"],
            "py3-none-any",
            id="not-newer-than-the-base",
        ),
        pytest.param(
            ["cp311-cp311-manylinux2014_x86_64"],
            "cp311-cp311-manylinux2014_x86_64",
            id="legacy-name",
        ),
        pytest.param(
            ["cp311-cp311-manylinux1_x86_64"],
            "cp311-cp311-manylinux1_x86_64",
            id="oldest-name",
        ),
        pytest.param(
            ["cp39-abi3-manylinux_2_17_x86_64", "py3-none-any"],
            "cp39-abi3-manylinux_2_17_x86_64",
            id="stable-abi-of-an-older-python",
        ),
        pytest.param(["cp312-abi3-manylinux_2_17_x86_64"], None, id="newer-abi3"),
        pytest.param(["cp311-cp311-manylinux_2_17_aarch64"], None, id="machine"),
        pytest.param(["cp312-cp312-manylinux_2_17_x86_64"], None, id="python"),
        pytest.param(["cp311-cp311t-manylinux_2_17_x86_64"], None, id="free-threaded"),
        pytest.param(["cp311-cp311-musllinux_1_2_x86_64"], None, id="libc"),
        pytest.param(["cp311-cp311-win_amd64", "cp311-cp311-macosx_11_0_arm64"], None),
        pytest.param(["py2.py3-none-any"], "py2.py3-none-any", id="compressed"),
        pytest.param(["py2-none-any"], None, id="python-2"),
    ],
)
def test_tags_in_order_of_preference(tags: list[str], expected: Any) -> None:
    names = [f"demo-1.0-{tag}.whl" for tag in tags]

    chosen = best_wheel(names, target())

    assert chosen == (f"demo-1.0-{expected}.whl" if expected else None)


def test_musl_wheels() -> None:
    names = [
        f"demo-1.0-cp311-cp311-{tag}.whl"
        for tag in (
            "manylinux_2_17_x86_64",
            "musllinux_1_1_x86_64",
            "musllinux_1_2_x86_64",
        )
    ]

    chosen = best_wheel(names, target(libc=MUSL))
    older = best_wheel(names, target(libc=Libc(name="musl", version=(1, 1))))

    assert chosen == names[2]
    assert older == names[1]


def test_the_higher_build_wins_among_equals() -> None:
    names = [
        "demo-1.0-py3-none-any.whl",
        "demo-1.0-2-py3-none-any.whl",
        "demo-1.0-10-py3-none-any.whl",
        "demo-1.0-10-cp39-none-any.whl",
    ]

    assert best_wheel(names, target()) == "demo-1.0-10-py3-none-any.whl"


TAGS = st.sampled_from(
    [
        "py3-none-any",
        "py2.py3-none-any",
        "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64",
        "cp311-cp311-manylinux_2_28_x86_64",
        "cp39-abi3-manylinux_2_28_x86_64",
        "cp311-cp311-manylinux_2_28_aarch64",
        "cp312-cp312-manylinux_2_28_x86_64",
    ]
)
BUILDS = st.sampled_from(["", "-1", "-2", "-10"])


@given(st.lists(st.tuples(BUILDS, TAGS), unique=True), st.randoms())
def test_the_order_of_an_index_plays_no_part(
    parts: list[tuple[str, str]], random: Any
) -> None:
    names = [f"demo-1.0{build}-{tag}.whl" for build, tag in parts]
    shuffled = list(names)
    random.shuffle(shuffled)

    chosen = best_wheel(names, target())

    assert best_wheel(shuffled, target()) == chosen
    assert chosen is None or best_wheel([chosen], target()) == chosen


def test_what_is_no_wheel_is_passed_over() -> None:
    names = ["demo-1.0.tar.gz", "demo-1.0.whl", "a-b-c-d-e-f-g.whl"]

    assert best_wheel(names, target()) is None


def test_the_host_as_target_accepts_what_its_installers_accept() -> None:
    """Our tags for this machine are those of packaging, in the same order."""
    import platform
    import sys

    name, version = platform.libc_ver()
    if name != "glibc" or sysconfig.get_config_var("Py_DEBUG"):
        pytest.fail("this test needs a release build of Python on glibc")
    major, minor = (int(part) for part in version.split(".")[:2])
    ours = tag_ranks(
        target(
            str(Platform.host()),
            ".".join(map(str, sys.version_info[:3])),
            Libc(name="glibc", version=(major, minor)),
        )
    )
    theirs = [str(tag) for tag in dict.fromkeys(sys_tags())]

    assert list(ours) == theirs


@pytest.mark.parametrize(
    ("libc", "platform", "expected"),
    [
        (GLIBC, "linux/amd64", "x86_64-manylinux_2_36"),
        (Libc(name="glibc", version=(2, 30)), "linux/arm64", "aarch64-manylinux_2_28"),
        (Libc(name="glibc", version=(2, 99)), "linux/amd64", "x86_64-manylinux_2_40"),
        (MUSL, "linux/arm64", "aarch64-unknown-linux-musl"),
    ],
)
def test_what_uv_is_told(libc: Libc, platform: str, expected: Any) -> None:
    assert target(platform, libc=libc).uv_platform == expected


def test_wheel_names() -> None:
    name = WheelName.parse("Typing_Extensions-4.0+local.1-3b-py2.py3-none-any.whl")

    assert name is not None
    assert (name.name, name.version) == ("typing-extensions", "4.0+local.1")
    assert name.build == (3, "b")
    assert name.tags == {"py2-none-any", "py3-none-any"}
