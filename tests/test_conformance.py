"""Our builders keep the laws of builders, and the laws find every fault."""

from __future__ import annotations

import gzip
import io
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chroot_builder import ChrootBuilder
from conformance_faults import EXECUTION_FAULTS, FAULTS, Fault
from engine_plans import reach, reach_client_only, remotely
from machine.engine import Engine
from machine.remote_buildkit import RemoteBuildKit

from imagekit.builder import Builder, BuilderContext
from imagekit.errors import UnsupportedLayerError
from imagekit.hybrid import HybridBuilder
from imagekit.oci.layout import Layout
from imagekit.oci.select import find_image
from imagekit.plan import (
    BuildDockerfile,
    InstallAptPackages,
    InstallDistributions,
    Interpreter,
)
from imagekit.platform import Platform
from imagekit.plugins import load
from imagekit.testing import LAWS, ConformanceError, Report, Result, check_builder
from imagekit.testing.files import FileTree, LayerEntry, Node, read_entries
from imagekit.testing.installed import installed
from imagekit.testing.wheels import make_wheels
from imagekit_buildkit import BuildKitBuilder
from imagekit_oci import OCIBuilder

EXECUTED = {law.name for law in LAWS} & {
    *("commands", "commands-again", "failure"),
    *("secrets", "failure-with-secret", "missing-secret"),
}
#: Laws that build a lot, which a fault is tried on only if it breaks them.
SLOW = {"index", "side-by-side", "odd-names", "changed-source"}
#: Laws of what comes back from an engine, which stores and transports differ in.
RESULTS = {
    *("documents", "built", "base-layers", "environment", "workdir", "config"),
    *("created", "entries", "files", "environment-files", "records", "base-links"),
    *("same-again", "commands", "failure", "secrets", "dockerfile"),
}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for what the chroot builder unpacks."""
    return tmp_path_factory.mktemp("unpacked")


@pytest.fixture
def chroot(unpacked: Path, base_layout: Path) -> Callable[[BuilderContext], Builder]:
    """Return what makes a builder that executes without an engine."""
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    return lambda context: ChrootBuilder(context, unpacked)


def outcomes(report: Report) -> dict[str, str]:
    return {result.law: result.outcome for result in report.results}


# Our builders.


def test_the_embedded_builder_conforms() -> None:
    report = check_builder(OCIBuilder, name="embedded")

    skipped = {result.law for result in report.skipped}
    assert skipped == {*EXECUTED, "dockerfile", "dockerfile-writer"}


def test_the_embedded_builder_conforms_on_a_real_base(base_layout: Path) -> None:
    check_builder(OCIBuilder, base=base_layout, laws=RESULTS)


def test_a_builder_that_executes_conforms(
    chroot: Callable[[BuilderContext], Builder], base_layout: Path
) -> None:
    report = check_builder(
        chroot,
        name="chroot",
        executes=True,
        refuses=[InstallAptPackages, BuildDockerfile],
        base=base_layout,
        platforms=[str(Platform.host())],
        laws=EXECUTED | {"refuses", "files"},
    )

    assert {result.law for result in report.passed} >= EXECUTED


def test_the_hybrid_builder_conforms_without_an_engine(
    chroot: Callable[[BuilderContext], Builder], base_layout: Path
) -> None:
    report = check_builder(
        lambda context: HybridBuilder(
            context,
            assembler=OCIBuilder(context),
            executor=lambda: chroot(context),
        ),
        name="hybrid",
        executes=True,
        refuses=[InstallAptPackages, BuildDockerfile],
        base=base_layout,
    )

    assert {result.law for result in report.passed} >= {*EXECUTED, "forecast"}


@pytest.mark.engine
def test_the_buildkit_builder_conforms(
    engine: Engine, base_layout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(monkeypatch, engine)

    report = check_builder(
        lambda context: load("buildkit", context), executes=True, base=base_layout
    )

    skipped = {result.law for result in report.skipped}
    assert skipped == {"refuses", "forecast"}


@pytest.mark.engine
def test_the_buildkit_builder_conforms_on_the_classic_store(
    classic_engine: Engine, base_layout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(monkeypatch, classic_engine)

    check_builder(
        lambda context: load("buildkit", context),
        executes=True,
        base=base_layout,
        platforms=[str(Platform.host())],
        laws=RESULTS,
    )


@pytest.mark.engine
def test_the_remote_builder_conforms(
    engine: Engine,
    remote_buildkit: RemoteBuildKit,
    base_layout: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reach_client_only(monkeypatch, engine)

    check_builder(
        lambda context: load("remote", context),
        executes=True,
        base=base_layout,
        platforms=[str(Platform.host())],
        execution=remotely(remote_buildkit),
        laws=RESULTS,
    )


@pytest.mark.engine
@pytest.mark.parametrize("kind", ["engine", "classic_engine"])
def test_the_hybrid_builder_conforms(
    kind: str,
    request: pytest.FixtureRequest,
    base_layout: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reach(monkeypatch, request.getfixturevalue(kind))

    check_builder(
        lambda context: HybridBuilder(
            context,
            assembler=OCIBuilder(context),
            executor=lambda: BuildKitBuilder(context),
        ),
        name="hybrid",
        executes=True,
        base=base_layout,
        platforms=[str(Platform.host())],
        # A Dockerfile is no part of a chain: imagekit.choice gives it to BuildKit.
        laws=EXECUTED | {"forecast", "check-is-cheap", "same-again"},
    )


# The laws find faults.


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_found(fault: Fault) -> None:
    report = check_builder(
        lambda context: fault.wrap(context, OCIBuilder(context)),
        name="embedded",
        laws={law.name for law in LAWS} - SLOW | fault.laws,
        raises=False,
    )

    assert {result.law for result in report.failures} == fault.laws, str(report)


@pytest.mark.parametrize("fault", EXECUTION_FAULTS, ids=lambda fault: fault.name)
def test_a_fault_of_execution_is_found(
    fault: Fault, chroot: Callable[[BuilderContext], Builder], base_layout: Path
) -> None:
    report = check_builder(
        lambda context: fault.wrap(context, chroot(context)),
        name="chroot",
        executes=True,
        base=base_layout,
        platforms=[str(Platform.host())],
        laws=EXECUTED,
        raises=False,
    )

    assert {result.law for result in report.failures} == fault.laws, str(report)


def test_every_law_is_broken_by_some_fault() -> None:
    broken = {law for fault in (*FAULTS, *EXECUTION_FAULTS) for law in fault.laws}

    # These are for builders that the tests without an engine have none of.
    assert {law.name for law in LAWS} - broken == {"dockerfile", "dockerfile-writer"}


# The report.


def test_all_failures_are_raised_at_once() -> None:
    faults = [fault for fault in FAULTS if fault.name in ("WrongName", "RunsAsRoot")]

    def make(context: BuilderContext) -> Builder:
        first, second = faults
        return first.wrap(context, second.wrap(context, OCIBuilder(context)))

    with pytest.raises(ConformanceError) as caught:
        check_builder(make, name="embedded", laws=["name", "config", "workdir"])

    assert isinstance(caught.value, AssertionError)
    assert outcomes(caught.value.report) == {
        "name": "failed",
        "workdir": "passed",
        "config": "failed",
    }
    assert "breaks 2 laws" in str(caught.value)
    assert "wanted 'embedded', found 'other'" in str(caught.value)
    assert "User: wanted '65534:65534', found 'root'" in str(caught.value)


def test_what_a_builder_raises_is_a_failure_with_its_traceback() -> None:
    class Broken(OCIBuilder):
        def build(self, plan: Any) -> Any:
            raise ZeroDivisionError("of all things")

    report = check_builder(Broken, name="embedded", raises=False)

    assert not report.ok
    assert outcomes(report)["builds"] == "failed"
    assert outcomes(report)["files"] == "skipped"
    assert "ZeroDivisionError: of all things" in str(report)
    assert outcomes(report)["name"] == "passed"


def test_the_name_is_looked_up_where_none_is_given() -> None:
    assert check_builder(OCIBuilder, laws=["name"]).ok

    other = next(fault for fault in FAULTS if fault.name == "WrongName")
    with pytest.raises(ConformanceError, match="no entry point 'other' is installed"):
        check_builder(
            lambda context: other.wrap(context, OCIBuilder(context)), laws=["name"]
        )


def test_a_builder_may_refuse_more_kinds_of_steps() -> None:
    class NoWheels(OCIBuilder):
        def check(self, plan: Any) -> None:
            super().check(plan)
            for part in plan.platforms:
                for step in part.steps:
                    if isinstance(step, InstallDistributions):
                        names = ", ".join(item.name for item in step.distributions)
                        raise UnsupportedLayerError(
                            f"no wheels: {names}", origin=str(step.origin)
                        )

        def build(self, plan: Any) -> Any:
            self.check(plan)
            return super().build(plan)

    report = check_builder(NoWheels, name="embedded", refuses=[InstallDistributions])

    assert outcomes(report)["environment-files"] == "skipped"
    assert outcomes(report)["refuses"] == "passed"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"executes": True}, "needs a base="),
        ({"laws": ["naem"]}, "no laws named naem"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_builder(OCIBuilder, **arguments)


def test_reports_can_be_read() -> None:
    report = Report(
        builder="mine",
        results=(
            Result(law="a", statement="Is so", outcome="passed"),
            Result(law="b", statement="Is not", outcome="failed", detail="x\ny"),
            Result(law="c", statement="Is hidden", outcome="skipped", detail="why"),
        ),
    )

    assert str(report) == (
        "builder 'mine': 1 passed, 1 failed, 1 skipped\n"
        "  passed  a: Is so\n"
        "  FAILED  b: Is not\n"
        "      x\n"
        "      y\n"
        "  skipped c: Is hidden\n"
        "      why"
    )


def test_every_law_has_a_name_of_its_own_and_a_statement() -> None:
    names = [law.name for law in LAWS]

    assert len(set(names)) == len(names)
    assert all(law.statement and law.statement[0].isupper() for law in LAWS)


def test_the_suite_imports_no_builder_and_no_test_runner() -> None:
    program = (
        "import sys, imagekit.testing\n"
        "print(sorted({n.partition('.')[0] for n in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )

    for name in ("pytest", "imagekit_oci", "imagekit_buildkit", "flyte"):
        assert f"'{name}'" not in done.stdout


# The oracle is right.


def test_the_oracle_installs_wheels_as_uv_does(tmp_path: Path) -> None:
    wheels = make_wheels(tmp_path / "wheels")
    venv = tmp_path / "venv"
    uv: list[str | Path] = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", "--python", sys.executable, venv], check=True)
    before = {*on_disk(venv), ".lock"}
    chosen = (wheels.newer, wheels.odd)
    paths = [wheels.files[item.sha256] for item in chosen]
    subprocess.run(
        [
            *(*uv, "pip", "install", "-q", "--offline", "--no-index", "--no-deps"),
            *("--link-mode", "copy", "--python", str(venv / "bin/python")),
            *paths,
        ],
        check=True,
    )
    here = Interpreter(
        path=sys.executable, version=sys.version_info[:2], full_version="3"
    )

    wanted: dict[str, Node] = {}
    free: set[str] = set()
    for item, path in zip(chosen, paths, strict=True):
        result = installed(path, item, interpreter=here, prefix=str(venv))
        wanted |= result.files
        free |= {
            f"{result.site}/{result.info}/{name}"
            for name in ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json")
        }
        free.add(f"{result.site}/{result.info}/uv_cache.json")

    found = {path: node for path, node in on_disk(venv).items() if path not in before}
    for nodes in (wanted, found):
        for name in free:
            nodes.pop(name, None)
    assert found == wanted


def on_disk(folder: Path) -> dict[str, Node]:
    """Return the files below *folder*, by relative path."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            executable = bool(path.stat().st_mode & stat.S_IXUSR)
            node = Node.file(path.read_bytes(), executable=executable)
            found[str(path.relative_to(folder))] = node
    return found


def layer(*entries: tuple[str, bytes, str]) -> Iterator[LayerEntry]:
    """Return a layer, of names, types and contents or targets."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, text in entries:
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, 0o755
            data = text.encode() if kind == tarfile.REGTYPE else b""
            info.linkname = "" if data else text
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return read_entries(iter([buffer.getvalue()]))


FILE, DIR, LINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE


@pytest.mark.parametrize(
    ("upper", "names"),
    [
        ((), {"a", "a/b", "a/c", "a/c/d", "l"}),
        ((("a/.wh.b", FILE, ""),), {"a", "a/c", "a/c/d", "l"}),
        ((("a/.wh.c", FILE, ""),), {"a", "a/b", "l"}),
        ((("a/.wh..wh..opq", FILE, ""), ("a/e", FILE, "e")), {"a", "a/e", "l"}),
        (
            (("a/.wh.c", FILE, ""), ("a/c/e", FILE, "e")),
            {"a", "a/b", "a/c", "a/c/e", "l"},
        ),
        ((("a", FILE, "now a file"),), {"a", "l"}),
        ((("l/x", FILE, "x"),), {"a", "a/b", "a/c", "a/c/d", "l", "l/x"}),
    ],
    ids=["none", "file", "folder", "opaque", "replaced", "file-on-folder", "on-a-link"],
)
def test_layers_are_put_on_top_of_each_other(
    upper: tuple[tuple[str, bytes, str], ...], names: set[str]
) -> None:
    tree = FileTree()
    tree.apply(
        layer(
            ("a", DIR, ""), ("a/b", FILE, "b"), ("./a/c/d", FILE, "d"), ("l", LINK, "a")
        )
    )
    tree.apply(layer(*upper))

    assert set(tree.nodes) == names
    if "l/x" in names:
        assert tree.nodes["l"].type == "directory"  # no link any more


def test_hard_links_are_files_like_their_targets() -> None:
    tree = FileTree()
    tree.apply(layer(("a", FILE, "text"), ("b", tarfile.LNKTYPE, "a")))

    assert tree.nodes["b"] == tree.nodes["a"]


def test_the_oracle_reads_a_base_as_the_kernel_unpacks_it(
    chroot: Callable[[BuilderContext], Builder], base_layout: Path, tmp_path: Path
) -> None:
    layout = Layout.open(base_layout)
    found = find_image(layout.resolve(), Platform.host(), layout.read)
    assert found is not None
    tree = FileTree()
    folder = tmp_path / "root"
    for item in found.manifest.layers:
        tree.apply(
            read_entries(
                [gzip.decompress(layout.blob_path(item.digest).read_bytes())],
                keep=False,
            )
        )
        with tarfile.open(layout.blob_path(item.digest)) as archive:
            archive.extractall(folder, numeric_owner=True, filter="fully_trusted")

    paths = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    assert set(tree.nodes) == paths
    for path, node in tree.nodes.items():
        status = os.lstat(folder / path)
        assert node.owner == (status.st_uid, status.st_gid), path
        if node.type in ("file", "directory"):
            assert node.mode == stat.S_IMODE(status.st_mode), path
