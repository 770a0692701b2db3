"""Python layers resolved against an index on loopback: one coherent environment."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from package_index import (
    MUSL,
    PackageIndex,
    packages,
    requirements,
    sdist,
    serve,
    target,
    wheel,
    write_project,
)

from imagekit.errors import (
    ConflictError,
    HashMismatchError,
    InvalidLayerError,
    NoWheelError,
    PlanError,
    ResolutionError,
)
from imagekit.layers import InstallOptions, PythonLayer, UVScript
from imagekit.origin import Origin, SourcePath
from imagekit.plan import Distribution
from imagekit.resolve.download import Wheels
from imagekit.resolve.python import Resolved, Target, credentials_for, resolve
from imagekit.resolve.uv import Uv
from imagekit.secret import Secret
from imagekit.store import Store

Resolve = Callable[..., tuple[Resolved, ...]]


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the user's settings and caches out."""
    for name in list(os.environ):
        if name.startswith(("UV_", "PIP_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("NETRC", os.devnull)


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    with serve() as index:
        yield index


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def run(store: Store) -> Resolve:
    def run(*layers: PythonLayer, **options: object) -> tuple[Resolved, ...]:
        options = {"lineage": "image", "store": store, **options}
        place = options.pop("target", target())
        assert isinstance(place, Target)
        return resolve(layers, place, **options)  # type: ignore[arg-type]

    return run


@pytest.fixture
def calls(tmp_path: Path) -> CallLog:
    return CallLog(tmp_path, Uv(temporary=tmp_path).path)


class CallLog:
    """A program in uv's place that writes its arguments down, and then is uv."""

    def __init__(self, folder: Path, uv: str) -> None:
        self.path = folder / "uv-log" / "uv"
        self._log = folder / "uv-log" / "calls"
        self.path.parent.mkdir()
        self.path.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$*" >> {self._log}\nexec {uv} "$@"\n'
        )
        self.path.chmod(0o755)
        self.uv = Uv(str(self.path), temporary=folder)

    @property
    def lines(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []


def shown(resolved: Resolved) -> list[str]:
    return [f"{item.name} {item.version}" for item in resolved.distributions]


def add_family(index: PackageIndex) -> None:
    """Add ``app`` with two versions of what it needs."""
    index.add(wheel("lib", "1.0"))
    index.add(wheel("lib", "2.0"))
    index.add(wheel("app", "1.0", requires=("lib",)))
    index.add(wheel("old", "1.0", requires=("lib<2",)))
    index.add(wheel("tiny", "1.0"))


def test_nothing_is_asked_twice(
    index: PackageIndex, run: Resolve, calls: CallLog
) -> None:
    add_family(index)
    layer = packages("app", index_url=index.url)

    first = run(layer, uv=calls.uv)
    asked = len(calls.lines)
    index.add(wheel("lib", "3.0"))
    start = time.perf_counter()
    second = run(layer, uv=calls.uv)
    seconds = time.perf_counter() - start

    assert shown(first[0]) == ["app 1.0", "lib 2.0"]
    assert second == first
    assert (asked, len(calls.lines)) == (1, 1)
    assert seconds < 0.1


def test_requested_and_needed_are_told_apart(index: PackageIndex, run: Resolve) -> None:
    add_family(index)

    (found,) = run(packages("App", index_url=index.url))

    assert [(item.name, item.requested) for item in found.distributions] == [
        ("app", True),
        ("lib", False),
    ]


def test_one_more_package_keeps_the_other_pins(
    index: PackageIndex, run: Resolve, calls: CallLog
) -> None:
    add_family(index)
    run(packages("app", index_url=index.url))
    index.add(wheel("lib", "3.0"))

    (found,) = run(packages("app", "tiny", index_url=index.url), uv=calls.uv)

    assert shown(found) == ["app 1.0", "lib 2.0", "tiny 1.0"]
    assert len(calls.lines) == 1


def test_another_patch_release_of_python_keeps_the_pins(
    index: PackageIndex, run: Resolve
) -> None:
    add_family(index)
    layer = packages("app", index_url=index.url)
    run(layer, target=target(python="3.11.9"))
    index.add(wheel("lib", "3.0"))

    (found,) = run(layer, target=target(python="3.11.10"))

    assert shown(found) == ["app 1.0", "lib 2.0"]


def test_another_index_is_asked_anew(
    index: PackageIndex, run: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add(wheel("tiny", "1.0"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    run(packages("tiny"))
    with serve() as other:
        other.add(wheel("tiny", "1.0"))
        monkeypatch.setenv("UV_DEFAULT_INDEX", other.url)
        (found,) = run(packages("tiny"))

    assert f":{other.port}/" in (found.distributions[0].url or "")


def test_one_package_less_keeps_the_other_pins(
    index: PackageIndex, run: Resolve
) -> None:
    add_family(index)
    run(packages("app", "tiny", index_url=index.url))
    index.add(wheel("lib", "3.0"))

    (found,) = run(packages("app", index_url=index.url))

    assert shown(found) == ["app 1.0", "lib 2.0"]


@pytest.mark.parametrize(
    ("upgrade", "expected"),
    [
        (True, ["app 1.0", "lib 3.0", "tiny 2.0"]),
        (("lib",), ["app 1.0", "lib 3.0", "tiny 1.0"]),
        (False, ["app 1.0", "lib 2.0", "tiny 1.0"]),
    ],
)
def test_upgrades_are_asked_for(
    index: PackageIndex, run: Resolve, upgrade: bool | tuple[str, ...], expected: Any
) -> None:
    add_family(index)
    layer = packages("app", "tiny", index_url=index.url)
    run(layer)
    index.add(wheel("lib", "3.0"))
    index.add(wheel("tiny", "2.0"))

    (found,) = run(layer, upgrade=upgrade)
    (again,) = run(layer)

    assert shown(found) == expected
    assert again == found


def test_later_layers_keep_earlier_pins(index: PackageIndex, run: Resolve) -> None:
    add_family(index)

    found = run(
        packages("lib==1.0", index_url=index.url),
        packages("app", "tiny", index_url=index.url),
    )

    assert [shown(item) for item in found] == [["lib 1.0"], ["app 1.0", "tiny 1.0"]]


def test_a_later_layer_replaces_what_it_must(index: PackageIndex, run: Resolve) -> None:
    add_family(index)
    index.add(wheel("lib", "3.0", requires=("tiny",)))

    found = run(
        packages("app", index_url=index.url), packages("old", index_url=index.url)
    )

    assert [shown(item) for item in found] == [
        ["app 1.0", "lib 3.0", "tiny 1.0"],
        ["lib 1.0", "old 1.0"],
    ]
    assert found[1].removed == ("tiny",)


def test_conflicts_name_both_layers(index: PackageIndex, run: Resolve) -> None:
    add_family(index)

    with pytest.raises(ConflictError) as caught:
        run(
            packages("tiny", index_url=index.url, line=3),
            packages("lib==2.0", index_url=index.url, line=5),
            packages("old", index_url=index.url, line=8),
        )

    text = str(caught.value)
    assert "'old' can't be installed together with 'lib==2.0'" in text
    assert "image.py:5" in text
    assert caught.value.origin == "image.py:8"
    assert "tiny" not in text


def test_a_layer_that_excludes_itself_is_no_conflict(
    index: PackageIndex, run: Resolve
) -> None:
    add_family(index)

    with pytest.raises(ResolutionError) as caught:
        run(
            packages("tiny", index_url=index.url),
            packages("old", "lib==2.0", index_url=index.url),
        )

    assert not isinstance(caught.value, ConflictError)
    assert "'old', 'lib==2.0'" in str(caught.value)


def test_a_change_in_one_layer_leaves_the_others_alone(
    index: PackageIndex, run: Resolve, calls: CallLog
) -> None:
    add_family(index)
    last = packages("app", index_url=index.url)
    run(packages("lib==1.0", index_url=index.url), last)

    found = run(packages("lib==1.0", "tiny", index_url=index.url), last, uv=calls.uv)

    assert [shown(item) for item in found] == [["lib 1.0", "tiny 1.0"], ["app 1.0"]]
    assert len(calls.lines) == 1


def test_a_replacement_is_thought_over_when_an_earlier_layer_asks_for_more(
    index: PackageIndex, run: Resolve
) -> None:
    # The pins of the first layer are the same both times, what it asks for is not.
    add_family(index)
    last = packages("lib<2", index_url=index.url)
    before = run(packages("lib", index_url=index.url), last)

    with pytest.raises(ConflictError):
        run(packages("lib", "lib>=2", index_url=index.url), last)
    assert [shown(item) for item in before] == [["lib 2.0"], ["lib 1.0"]]


def test_markers_are_the_targets(index: PackageIndex, run: Resolve) -> None:
    index.add(wheel("app", "1.0", requires=("tiny; python_version >= '3.12'",)))
    index.add(wheel("tiny", "1.0"))
    layer = packages("app", "tiny; platform_machine == 'aarch64'", index_url=index.url)

    old = run(layer, target=target(python="3.11.9"), lineage="a")
    new = run(layer, target=target(python="3.13.1"), lineage="b")
    arm = run(layer, target=target("linux/arm64"), lineage="c")

    assert shown(old[0]) == ["app 1.0"]
    assert shown(new[0]) == shown(arm[0]) == ["app 1.0", "tiny 1.0"]


def test_wheels_are_the_targets(index: PackageIndex, run: Resolve) -> None:
    for tag in (
        "cp311-cp311-manylinux_2_17_x86_64",
        "cp311-cp311-manylinux_2_17_aarch64",
        "cp311-cp311-musllinux_1_2_x86_64",
        "cp312-abi3-manylinux_2_17_x86_64",
    ):
        index.add(wheel("native", "1.0", tag=tag))
    layer = packages("native", index_url=index.url)

    def filename(place: Target) -> str:
        (found,) = run(layer, target=place, lineage=place.identity)
        return found.distributions[0].filename

    assert "manylinux_2_17_x86_64" in filename(target())
    assert "manylinux_2_17_aarch64" in filename(target("linux/arm64"))
    assert "musllinux_1_2_x86_64" in filename(target(libc=MUSL))
    assert "abi3" in filename(target(python="3.13.0"))


def test_no_wheel_for_the_platform(index: PackageIndex, run: Resolve) -> None:
    index.add(wheel("native", "1.0", tag="cp311-cp311-win_amd64"))

    with pytest.raises(NoWheelError) as caught:
        run(packages("native", index_url=index.url, line=4))

    assert "native" in str(caught.value)
    assert "linux/amd64 py3.11.9" in str(caught.value)
    assert caught.value.origin == "image.py:4"


def test_bad_requirements_are_named(index: PackageIndex, run: Resolve) -> None:
    with pytest.raises(
        InvalidLayerError, match="invalid requirement 'lib=>1'"
    ) as caught:
        run(packages("lib=>1", index_url=index.url, line=7))

    assert caught.value.origin == "image.py:7"


def test_pre_releases_are_asked_for(index: PackageIndex, run: Resolve) -> None:
    index.add(wheel("lib", "1.0"))
    index.add(wheel("lib", "2.0rc1"))

    plain = run(packages("lib", index_url=index.url), lineage="a")
    pre = run(packages("lib", index_url=index.url, pre=True), lineage="b")
    by_args = run(
        packages("lib", index_url=index.url, extra_args="--prerelease=allow"),
        lineage="c",
    )

    assert shown(plain[0]) == ["lib 1.0"]
    assert shown(pre[0]) == shown(by_args[0]) == ["lib 2.0rc1"]


def test_extra_args_are_followed(
    index: PackageIndex, run: Resolve, tmp_path: Path
) -> None:
    add_family(index)
    (tmp_path / "limits.txt").write_text("lib<2\n")

    limited = run(
        packages(
            "app", folder=tmp_path, index_url=index.url, extra_args="-c limits.txt"
        ),
        lineage="a",
    )
    alone = run(
        packages("app", index_url=index.url, extra_args="--no-deps"), lineage="b"
    )
    lowest = run(
        packages("app", index_url=index.url, extra_args="--resolution lowest"),
        lineage="c",
    )

    assert shown(limited[0]) == shown(lowest[0]) == ["app 1.0", "lib 1.0"]
    assert shown(alone[0]) == ["app 1.0"]


def test_a_changed_constraints_file_counts(
    index: PackageIndex, run: Resolve, tmp_path: Path
) -> None:
    add_family(index)
    limits = tmp_path / "limits.txt"
    limits.write_text("lib<2\n")
    layer = packages(
        "app", folder=tmp_path, index_url=index.url, extra_args="-c limits.txt"
    )
    before = run(layer)
    limits.write_text("lib>=2\n")

    after = run(layer)

    assert shown(before[0]) == ["app 1.0", "lib 1.0"]
    assert shown(after[0]) == ["app 1.0", "lib 2.0"]


def test_extra_indexes_come_first(index: PackageIndex, run: Resolve) -> None:
    index.add(wheel("lib", "1.0"))
    index.add(wheel("tiny", "1.0"))
    with serve() as extra:
        extra.add(wheel("lib", "0.5+own"))
        (found,) = run(
            packages("lib", "tiny", index_url=index.url, extra_index_urls=(extra.url,))
        )

    assert shown(found) == ["lib 0.5+own", "tiny 1.0"]


def test_pips_index_counts_where_uv_has_none(
    index: PackageIndex, run: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_family(index)
    monkeypatch.setenv("PIP_INDEX_URL", index.url)

    assert shown(run(packages("tiny"))[0]) == ["tiny 1.0"]


def test_uvs_index_counts_before_pips(
    index: PackageIndex, run: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_family(index)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)

    assert shown(run(packages("tiny"))[0]) == ["tiny 1.0"]


def test_uvs_own_settings_beside_the_definition_count(
    index: PackageIndex, run: Resolve, tmp_path: Path
) -> None:
    add_family(index)
    (tmp_path / "uv.toml").write_text(
        f'[[index]]\nurl = "{index.url}"\ndefault = true\n'
    )

    assert shown(run(packages("tiny", folder=tmp_path))[0]) == ["tiny 1.0"]


def test_files_of_find_links(index: PackageIndex, run: Resolve, tmp_path: Path) -> None:
    folder = tmp_path / "my links"
    folder.mkdir()
    filename, data = wheel("local-only", "1.0")
    (folder / filename).write_bytes(data)

    (found,) = run(
        packages("local-only", folder=tmp_path, extra_args="--no-index -f 'my links'")
    )

    assert shown(found) == ["local-only 1.0"]
    assert found.distributions[0].url == (folder / filename).as_uri()


def test_direct_urls(index: PackageIndex, run: Resolve, store: Store) -> None:
    url = index.add(wheel("lib", "1.0"))

    (found,) = run(packages(f"lib @ {url}", index_url=index.url))

    (item,) = found.distributions
    assert item.direct_url is not None
    assert json.loads(item.direct_url) == {
        "archive_info": {"hashes": {"sha256": item.sha256}},
        "url": url,
    }
    assert Wheels(store).path(item).exists()


def test_requirements_files_with_hashes(
    index: PackageIndex, run: Resolve, tmp_path: Path
) -> None:
    add_family(index)
    right = index.sha256("lib-2.0-py3-none-any.whl")
    path = tmp_path / "req.txt"
    path.write_text(f"--index-url {index.url}\nlib==2.0 --hash=sha256:{right}\n")

    (found,) = run(requirements(path))

    assert found.distributions[0].sha256 == right


def test_wrong_hashes_are_refused(
    index: PackageIndex, run: Resolve, tmp_path: Path
) -> None:
    add_family(index)
    path = tmp_path / "req.txt"
    path.write_text(f"-i {index.url}\nlib==2.0 --hash=sha256:{'0' * 64}\n")

    with pytest.raises(HashMismatchError, match=r"lib 2\.0") as caught:
        run(requirements(path))
    assert caught.value.origin == "image.py:1"


def test_required_hashes_must_be_there(
    index: PackageIndex, run: Resolve, tmp_path: Path
) -> None:
    add_family(index)
    hashed = index.sha256("app-1.0-py3-none-any.whl")
    path = tmp_path / "req.txt"
    path.write_text(
        f"--require-hashes\n-i {index.url}\napp==1.0 --hash=sha256:{hashed}\n"
    )

    with pytest.raises(HashMismatchError, match="none for lib"):
        run(requirements(path))


def test_an_edited_requirements_file_counts(
    index: PackageIndex, run: Resolve, tmp_path: Path
) -> None:
    add_family(index)
    (tmp_path / "base.txt").write_text("tiny\n")
    path = tmp_path / "req.txt"
    path.write_text(f"-i {index.url}\n-r base.txt\n")
    before = run(requirements(path))
    (tmp_path / "base.txt").write_text("tiny\napp\n")

    after = run(requirements(path))

    assert shown(before[0]) == ["tiny 1.0"]
    assert shown(after[0]) == ["app 1.0", "lib 2.0", "tiny 1.0"]


def test_source_distributions_are_built(
    index: PackageIndex, run: Resolve, store: Store
) -> None:
    index.add(sdist("pure", "1.0", requires=("tiny",)))
    index.add(wheel("tiny", "1.0"))
    layer = packages("pure", index_url=index.url)

    (found,) = run(layer)
    (again,) = run(layer)

    item = found.distributions[0]
    assert shown(found) == ["pure 1.0", "tiny 1.0"]
    assert item.url is None
    assert Wheels(store).path(item).exists()
    assert again == found


def test_equal_sources_give_equal_wheels(
    index: PackageIndex, run: Resolve, store: Store, tmp_path: Path
) -> None:
    index.add(sdist("pure", "1.0"))
    layer = packages("pure", index_url=index.url)

    (one,) = run(layer)
    (other,) = run(layer, store=Store(tmp_path / "another"))

    assert one.distributions == other.distributions


def test_a_built_wheel_that_was_dropped_is_built_again(
    index: PackageIndex, run: Resolve, store: Store, calls: CallLog
) -> None:
    index.add(sdist("pure", "1.0"))
    layer = packages("pure", index_url=index.url)
    (found,) = run(layer)
    (item,) = found.distributions
    store.wheel_path(item.sha256, item.filename).unlink()

    (again,) = run(layer, uv=calls.uv)

    assert again == found
    assert store.wheel_path(item.sha256, item.filename).exists()
    assert [line.split()[0] for line in calls.lines] == ["build"]


def test_pure_sources_are_built_for_other_platforms(
    index: PackageIndex, run: Resolve
) -> None:
    index.add(sdist("pure", "1.0"))

    (found,) = run(
        packages("pure", index_url=index.url),
        target=target("linux/arm64", "3.14.0", MUSL),
    )

    assert found.distributions[0].filename == "pure-1.0-py3-none-any.whl"


def test_native_sources_are_refused_for_other_platforms(
    index: PackageIndex, run: Resolve
) -> None:
    index.add(sdist("native", "1.0", tag="cp311-cp311-linux_x86_64"))

    with pytest.raises(NoWheelError) as caught:
        run(packages("native", index_url=index.url), target=target("linux/arm64"))

    assert "no wheel of native 1.0 for linux/arm64 py3.11.9" in str(caught.value)
    assert "--only-binary native" in (caught.value.hint or "")


def test_builds_that_fail_say_why(index: PackageIndex, run: Resolve) -> None:
    broken = "def build_wheel(*args):\n    raise RuntimeError('the moon is full')\n"
    index.add(sdist("pure", "1.0", backend=broken))

    with pytest.raises(NoWheelError, match=r"pure 1\.0 .*the moon is full"):
        run(packages("pure", index_url=index.url))


def test_wheels_may_be_refused(index: PackageIndex, run: Resolve) -> None:
    index.add(wheel("lib", "1.0"))
    index.add(sdist("lib", "1.0"))

    (found,) = run(packages("lib", index_url=index.url, extra_args="--no-binary lib"))

    assert found.distributions[0].url is None


def test_local_projects_are_built(
    index: PackageIndex, run: Resolve, tmp_path: Path
) -> None:
    add_family(index)
    project = write_project(tmp_path / "my project", "mine", "1.5", requires=("tiny",))
    before = sorted(project.iterdir())
    layer = packages("./my project", folder=tmp_path, index_url=index.url)

    (first,) = run(layer)
    (project / "mine.py").write_text("changed = True\n")
    (second,) = run(layer)

    assert shown(first) == shown(second) == ["mine 1.5", "tiny 1.0"]
    assert first.distributions[0].sha256 != second.distributions[0].sha256
    assert first.distributions[0].direct_url is None
    assert sorted(project.iterdir()) == before


def test_editable_lines_are_installed(
    index: PackageIndex, run: Resolve, tmp_path: Path
) -> None:
    write_project(tmp_path / "mine", "mine", "1.0")
    path = tmp_path / "req.txt"
    path.write_text(f"-i {index.url}\n-e ./mine\n")

    assert shown(run(requirements(path))[0]) == ["mine 1.0"]


def test_commits_of_a_repository(
    index: PackageIndex, run: Resolve, tmp_path: Path
) -> None:
    import subprocess

    project = write_project(tmp_path / "repository", "mine", "1.0")
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for argv in (
        ["init", "--quiet", "--initial-branch", "main"],
        ["add", "."],
        [*identity, "commit", "--quiet", "-m", "first"],
    ):
        subprocess.run(["git", *argv], cwd=project, check=True)
    layer = packages(f"mine @ git+file://{project}@main", index_url=index.url)

    (found,) = run(layer)
    (again,) = run(layer)

    assert shown(found) == ["mine 1.0"]
    assert again == found


def script(path: Path, header: str) -> UVScript:
    path.write_text(f"# /// script\n{header}# ///\nprint('hi')\n")
    origin = Origin("image.py", 1, str(path.parent))
    return UVScript(
        script=SourcePath.of(path, origin), options=InstallOptions(), origin=origin
    )


def test_scripts(
    index: PackageIndex, run: Resolve, tmp_path: Path, calls: CallLog
) -> None:
    add_family(index)
    header = (
        f'# dependencies = ["app", "lib<2"]\n'
        f'# [[tool.uv.index]]\n# url = "{index.url}"\n# default = true\n'
    )
    path = tmp_path / "script.py"

    (found,) = run(script(path, header))
    layer = script(path, header)
    path.write_text(path.read_text() + "print('more')\n")
    (again,) = run(layer, uv=calls.uv)

    assert shown(found) == ["app 1.0", "lib 1.0"]
    assert again == found
    assert calls.lines == []


def test_scripts_with_sources(
    index: PackageIndex, run: Resolve, tmp_path: Path
) -> None:
    add_family(index)
    write_project(tmp_path / "mine", "mine", "1.0", requires=("tiny",))
    header = (
        '# dependencies = ["mine"]\n# [tool.uv]\n'
        f'# index-url = "{index.url}"\n'
        '# [tool.uv.sources]\n# mine = { path = "mine" }\n'
    )

    (found,) = run(script(tmp_path / "script.py", header))

    assert shown(found) == ["mine 1.0", "tiny 1.0"]


PASSWORD = "s3cr3t-pass.word"


def leaks(store: Store, *texts: object) -> list[str]:
    """Return where the password is."""
    found = [
        str(path)
        for path in store.root.rglob("*")
        if path.is_file() and PASSWORD.encode() in path.read_bytes()
    ]
    return found + [str(text) for text in texts if PASSWORD in str(text)]


@pytest.mark.parametrize("way", ["url", "file", "named", "secret", "netrc", "pip"])
def test_private_indexes(
    run: Resolve,
    store: Store,
    calls: CallLog,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    with serve(("bob", PASSWORD)) as index:
        add_family(index)
        layer: PythonLayer = packages("app", index_url=index.url)
        if way == "url":
            layer = packages("app", index_url=index.url_with_login)
        elif way == "file":
            monkeypatch.setenv("INDEX_PASSWORD", PASSWORD)
            path = tmp_path / "req.txt"
            host = index.url.removeprefix("http://")
            path.write_text(f"-i http://bob:${{INDEX_PASSWORD}}@{host}\napp\n")
            layer = requirements(path)
        elif way == "named":
            monkeypatch.setenv("UV_INDEX", f"mine={index.url}")
            monkeypatch.setenv("UV_INDEX_MINE_USERNAME", "bob")
            monkeypatch.setenv("UV_INDEX_MINE_PASSWORD", PASSWORD)
            layer = packages("app")
        elif way == "secret":
            monkeypatch.setenv("TEAM_INDEX_PASSWORD", PASSWORD)
            secret = Secret(
                "index-password", "team", as_env_var="UV_INDEX_MINE_PASSWORD"
            )
            monkeypatch.setenv("UV_INDEX_MINE_USERNAME", "bob")
            layer = packages(
                "app",
                extra_index_urls=(f"mine={index.url}",),
                secret_mounts=(secret,),
            )
        elif way == "netrc":
            (tmp_path / "netrc").write_text(
                f"machine 127.0.0.1 login bob password {PASSWORD}\n"
            )
            (tmp_path / "netrc").chmod(0o600)
            monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        elif way == "pip":
            monkeypatch.setenv("PIP_INDEX_URL", index.url_with_login)
            layer = packages("app")

        (found,) = run(layer, uv=calls.uv)
        wheels = Wheels(store, credentials=credentials_for([layer]))
        wheels.fetch_all(found.distributions)

    assert shown(found) == ["app 1.0", "lib 2.0"]
    assert leaks(store, calls.lines, found) == []


def test_refused_logins_do_not_leak(run: Resolve, store: Store, calls: CallLog) -> None:
    with serve(("bob", "another")) as index:
        add_family(index)
        url = index.url.replace("http://", f"http://bob:{PASSWORD}@")
        with pytest.raises(ResolutionError) as caught:
            run(packages("app", index_url=url, line=9), uv=calls.uv)

    error = caught.value
    assert leaks(store, calls.lines, error, error.hint, repr(error.__cause__)) == []
    assert error.origin == "image.py:9"
    assert "netrc" in (error.hint or "")


def test_a_new_password_is_no_new_resolution(run: Resolve, calls: CallLog) -> None:
    with serve(("bob", PASSWORD)) as index:
        add_family(index)
        run(packages("app", index_url=index.url_with_login))
        other = index.url.replace("http://", "http://bob:changed@")

        assert run(packages("app", index_url=other), uv=calls.uv)
        assert calls.lines == []


def test_missing_secrets_are_named(
    run: Resolve, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IMAGEKIT_SECRETS_DIR", str(tmp_path))
    layer = packages("app", secret_mounts=(Secret("token", "team"),), line=2)

    with pytest.raises(PlanError) as caught:
        run(layer)

    assert "'TEAM_TOKEN'" in str(caught.value)
    assert f"{tmp_path}/team_token" in str(caught.value)
    assert caught.value.origin == "image.py:2"


def test_builds_for_this_machine(
    index: PackageIndex, run: Resolve, store: Store
) -> None:
    """A native build is used where host and target agree, if its glibc is not newer."""
    import platform as host

    index.add(sdist("native", "1.0", tag=_host_tag()))
    name, version = host.libc_ver()
    if name != "glibc":
        pytest.fail("this test needs glibc")
    from imagekit.plan import Libc
    from imagekit.platform import Platform

    major, minor = (int(part) for part in version.split(".")[:2])
    place = target(
        str(Platform.host()),
        ".".join(map(str, sys.version_info[:3])),
        Libc(name="glibc", version=(major, minor)),
    )

    (found,) = run(packages("native", index_url=index.url), target=place)

    (item,) = found.distributions
    assert isinstance(item, Distribution)
    assert item.filename == f"native-1.0-{_host_tag()}.whl"


def _host_tag() -> str:
    import platform as host

    python = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    return f"{python}-{python}-linux_{host.machine()}"
