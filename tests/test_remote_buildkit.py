"""Builds on a remote BuildKit: the same image as here, plainly and with mutual TLS."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from engine_plans import (
    VARIABLES,
    WORKDIR,
    assembled_steps,
    context,
    debian,
    plan,
    reach,
    reach_client_only,
    remotely,
)
from image_trees import (
    environment,
    image_tree,
    only_image,
    run_settings,
    tree_differences,
)
from machine.certificates import mutual_tls
from machine.engine import Engine
from machine.remote_buildkit import RemoteBuildKit

from imagekit.builder import Built, Execution
from imagekit.plan import BaseImage, Distribution, InstallAptPackages, Plan, RunCommands
from imagekit.platform import Platform
from imagekit.plugins import load
from imagekit.progress import silent
from imagekit.resolve.download import Wheels
from imagekit.resolve.installer import installer
from imagekit.store import Store
from imagekit.testing.bases import dressed_layout
from imagekit_buildkit import BuildKitBuilder, RemoteBuilder
from imagekit_oci import OCIBuilder

pytestmark = pytest.mark.engine

COMMANDS = RunCommands(
    commands=(
        'printf %s "$GREETING" > greeting.txt',
        "mkdir -m 750 made && echo made > made/file && ln -s file made/link",
        "pwd > /where && id -un > /who",
        # Bytecode holds the time of its source, which is not known before the end.
        "/opt/venv/bin/python /opt/venv/bin/remotely-tool > /printed",
    )
)


@pytest.fixture(scope="module")
def dressed(base_layout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base with a user, a working directory and more, which have to be kept."""
    folder = tmp_path_factory.mktemp("dressed") / "layout"
    return dressed_layout(base_layout, folder, [Platform.host()])


@pytest.fixture(scope="module")
def base(dressed: Path, warm_store: Store) -> BaseImage:
    return debian(dressed, warm_store)


@pytest.fixture(scope="module")
def uv(base: BaseImage, warm_store: Store) -> Distribution:
    """The wheel of uv that installs inside the image."""
    return installer(
        base,
        folder="/",
        store=warm_store,
        wheels=Wheels(warm_store),
        progress=silent,
    )


@pytest.fixture(params=["remote_buildkit", "remote_buildkit_tls"])
def remote(request: pytest.FixtureRequest) -> RemoteBuildKit:
    """A remote BuildKit, once with and once without TLS."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, RemoteBuildKit)
    return found


def test_buildx_itself_builds_on_the_stand_in(
    engine: Engine,
    remote: RemoteBuildKit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(engine.environment, "BUILDX_CONFIG", str(tmp_path / "buildx"))
    options: list[str] = []
    if remote.tls is not None:
        files = f"cacert={remote.tls.ca},cert={remote.tls.client.cert}"
        options = ["--driver-opt", f"{files},key={remote.tls.client.key}"]
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /copied\n")
    output = tmp_path / "output"

    driver = ("--driver", "remote", *options, remote.endpoint)
    engine.docker("buildx", "create", "--name", "direct", *driver)
    to = ("--output", str(output), str(context))
    engine.docker("buildx", "build", "--builder", "direct", *to)

    assert (output / "copied").read_text().startswith("FROM scratch")
    assert remote.builds > 0


def test_keys_can_be_read_by_their_owner_only(tmp_path: Path) -> None:
    tls = mutual_tls(tmp_path)

    assert {key.stat().st_mode & 0o777 for key in (tls.server.key, tls.client.key)} == {
        0o600
    }
    assert not (tmp_path / "ca-key.pem").exists()


@pytest.fixture(scope="module")
def every_kind(
    base: BaseImage,
    uv: Distribution,
    warm_store: Store,
    tmp_path_factory: pytest.TempPathFactory,
) -> Plan:
    """A plan with every kind of step."""
    return plan(
        base,
        InstallAptPackages(packages=("tree",)),
        *assembled_steps(base, warm_store, tmp_path_factory.mktemp("every")),
        COMMANDS,
        installer=uv,
    )


@pytest.fixture(scope="module")
def made_here(engine: Engine, every_kind: Plan, warm_store: Store) -> Built:
    """What the local BuildKit makes of it."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        reach(monkeypatch, engine)
        return BuildKitBuilder(context(warm_store)).build(every_kind)


@pytest.mark.index
def test_every_kind_of_step_gives_what_the_local_buildkit_gives(
    engine: Engine,
    remote: RemoteBuildKit,
    base: BaseImage,
    every_kind: Plan,
    made_here: Built,
    warm_store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reach_client_only(monkeypatch, engine)
    # It is the same engine in the end: once, everything has to run anew.
    execution = replace(remotely(remote), no_cache=remote.tls is None)
    made_there = RemoteBuilder(context(warm_store, execution)).build(every_kind)

    far, near = only_image(made_there), only_image(made_here)
    files = image_tree(warm_store, base, far)
    assert tree_differences(image_tree(warm_store, base, near), files) == []
    assert run_settings(warm_store, far) == run_settings(warm_store, near)
    assert made_there.digest == made_here.digest
    assert remote.builds > 0
    assert files.nodes["usr/bin/tree"].mode == 0o755
    folder = WORKDIR.strip("/")
    assert files.nodes[f"{folder}/made"].mode == 0o750
    assert files.nodes[f"{folder}/greeting.txt"].data == VARIABLES[0][1].encode()
    assert files.nodes["where"].data == f"{WORKDIR}\n".encode()
    assert files.nodes["who"].data == b"root\n"
    assert files.nodes["printed"].data == b"it runs\n"


@pytest.mark.index
def test_what_executes_nothing_equals_what_is_assembled(
    engine: Engine,
    remote: RemoteBuildKit,
    base: BaseImage,
    uv: Distribution,
    warm_store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reach_client_only(monkeypatch, engine)
    wanted = plan(base, *assembled_steps(base, warm_store, tmp_path), installer=uv)

    there = RemoteBuilder(context(warm_store, remotely(remote))).build(wanted)
    assembled = OCIBuilder(context(warm_store)).build(wanted)

    far, near = only_image(there), only_image(assembled)
    trees = [image_tree(warm_store, base, image) for image in (near, far)]
    assert tree_differences(*trees) == []
    assert run_settings(warm_store, far) == run_settings(warm_store, near)
    settings = run_settings(warm_store, far)
    assert settings["User"] == "65534:65534"
    assert settings["WorkingDir"] == WORKDIR
    assert environment(warm_store, far).items() >= dict(VARIABLES).items()


def test_builds_side_by_side_share_an_instance(
    engine: Engine,
    remote_buildkit: RemoteBuildKit,
    base: BaseImage,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reach_client_only(monkeypatch, engine)
    plans = [
        plan(base, RunCommands(commands=(f"echo {number} > /number",)))
        for number in range(3)
    ]

    with ThreadPoolExecutor(3) as pool:
        builds = pool.map(
            lambda wanted: RemoteBuilder(
                context(store, remotely(remote_buildkit))
            ).build(wanted),
            plans,
        )
        trees = [image_tree(store, base, only_image(built)) for built in builds]

    found = [tree.nodes["number"].data for tree in trees]
    assert found == [b"0\n", b"1\n", b"2\n"]


def test_the_entry_point_is_the_remote_builder(
    remote_buildkit: RemoteBuildKit, store: Store
) -> None:
    found = load("remote", context(store, remotely(remote_buildkit)))

    assert isinstance(found, RemoteBuilder)
    assert found.name == "remote"


def test_an_instance_of_the_users_is_used_and_kept(
    engine: Engine,
    remote_buildkit: RemoteBuildKit,
    base: BaseImage,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reach_client_only(monkeypatch, engine)
    config = tmp_path / "buildx"
    monkeypatch.setenv("BUILDX_CONFIG", str(config))
    monkeypatch.setitem(engine.environment, "BUILDX_CONFIG", str(config))
    driver = ("--driver", "remote", remote_buildkit.endpoint)
    engine.docker("buildx", "create", "--name", "theirs", *driver)
    before = _files(config)

    built = RemoteBuilder(context(store, Execution(remote="buildx://theirs"))).build(
        plan(base, RunCommands(commands=("echo made > /made",)))
    )

    assert image_tree(store, base, only_image(built)).nodes["made"].data == b"made\n"
    assert _files(config) == before
    assert "theirs" in engine.docker("buildx", "ls")


def _files(config: Path) -> dict[str, bytes]:
    """Return what buildx keeps of instances, but for when they were last used."""
    return {
        str(path.relative_to(config)): path.read_bytes()
        for path in sorted(config.rglob("*"))
        if path.is_file()
        and path.relative_to(config).parts[0] in ("instances", "current")
    }
