"""A remote BuildKit that can't be used says so at once, and does no harm."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from engine_plans import (
    Recorder,
    context,
    debian,
    plan,
    reach_client_only,
    remotely,
)
from image_trees import image_tree, only_image
from machine.certificates import MutualTLS, mutual_tls
from machine.engine import Engine
from machine.remote_buildkit import RemoteBuildKit
from processes import running_docker

from imagekit.builder import Execution
from imagekit.errors import BuilderUnavailableError
from imagekit.plan import BaseImage, Plan, RunCommands
from imagekit.progress import Event, TaskStarted
from imagekit.store import Store
from imagekit_buildkit import RemoteBuilder

pytestmark = pytest.mark.engine

#: A person is told what is wrong within so many seconds.
SECONDS = 10
ENDLESS = "tail -f /dev/null"

Change = Callable[[Execution, MutualTLS], Execution]


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> MutualTLS:
    """Certificates of an authority that the endpoint does not know."""
    return mutual_tls(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="module")
def base(base_layout: Path, warm_store: Store) -> BaseImage:
    return debian(base_layout, warm_store)


@pytest.fixture
def quick(base: BaseImage) -> Plan:
    return plan(base, RunCommands(commands=("echo made > /made",)))


@pytest.fixture
def endless(base: BaseImage) -> Plan:
    return plan(base, RunCommands(commands=(ENDLESS,)))


@pytest.fixture(autouse=True)
def clean(
    engine: Engine, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Check that nothing is left of a failed build, wherever it could be."""
    reach_client_only(monkeypatch, engine)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    theirs = ("--name", "theirs", "--driver", "remote", "tcp://127.0.0.1:9")
    engine.docker("buildx", "create", "--use", *theirs)
    try:
        before = instances(engine)
        yield
        assert instances(engine) == before
    finally:
        engine.docker("buildx", "rm", "--force", "theirs")
    assert list(temporary.iterdir()) == []
    assert list(store.temporary().iterdir()) == []
    assert running_docker() == []
    for blob in store.root.glob("blobs/sha256/*"):
        with blob.open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == blob.name


def instances(engine: Engine) -> dict[str, bytes]:
    """Return what buildx knows of the user's instances, and which one is chosen."""
    home = Path(engine.environment["HOME"]) / ".docker"
    config = Path(engine.environment.get("DOCKER_CONFIG", home)) / "buildx"
    found = [*config.glob("instances/*"), config / "current"]
    assert len(found) > 1
    return {str(path): path.read_bytes() for path in found}


def refusal(build: Callable[[], object], remote: RemoteBuildKit) -> str:
    """Return what *build* fails with, which has to name the endpoint, and in time."""
    started = time.monotonic()
    with pytest.raises(BuilderUnavailableError) as caught:
        build()
    assert time.monotonic() - started < SECONDS
    assert remote.endpoint in caught.value.message
    assert caught.value.hint
    return caught.value.message


def check_retry(store: Store, base: BaseImage, remote: RemoteBuildKit) -> None:
    """Build with the same store and endpoint, now that nothing is wrong."""
    wanted = plan(base, RunCommands(commands=("echo again > /made",)))
    built = RemoteBuilder(context(store, remotely(remote))).build(wanted)
    made = image_tree(store, base, only_image(built)).nodes["made"]
    assert made.data == b"again\n"


def starts_endless(event: Event) -> bool:
    return isinstance(event, TaskStarted) and ENDLESS in event.title


def starts(event: Event) -> bool:
    return isinstance(event, TaskStarted)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(
            lambda good, other: replace(
                good,
                remote_cert=str(other.client.cert),
                remote_key=str(other.client.key),
            ),
            "refused the client certificate",
            id="wrong client certificate",
        ),
        pytest.param(
            lambda good, _: replace(good, remote_cert=None, remote_key=None),
            "refused the client certificate",
            id="no client certificate",
        ),
        pytest.param(
            lambda good, other: replace(good, remote_ca=str(other.ca)),
            "not trusted",
            id="wrong authority",
        ),
        pytest.param(
            lambda good, _: replace(good, remote_ca=None),
            "not trusted",
            id="authorities of the system",
        ),
        pytest.param(
            lambda good, _: Execution(remote=good.remote), "wants TLS", id="no TLS"
        ),
    ],
)
def test_certificates_that_do_not_fit_are_told_apart(
    remote_buildkit_tls: RemoteBuildKit,
    stranger: MutualTLS,
    quick: Plan,
    base: BaseImage,
    store: Store,
    change: Change,
    reason: str,
) -> None:
    wrong = change(remotely(remote_buildkit_tls), stranger)
    builder = RemoteBuilder(context(store, wrong))

    message = refusal(lambda: builder.build(quick), remote_buildkit_tls)

    assert reason in message
    assert remote_buildkit_tls.builds == 0
    check_retry(store, base, remote_buildkit_tls)


def test_tls_where_none_is_spoken_is_refused(
    remote_buildkit: RemoteBuildKit, stranger: MutualTLS, quick: Plan, store: Store
) -> None:
    wrong = replace(remotely(remote_buildkit), remote_ca=str(stranger.ca))
    builder = RemoteBuilder(context(store, wrong))

    assert "TLS" in refusal(lambda: builder.build(quick), remote_buildkit)


def test_closed_port_is_refused(
    remote_buildkit: RemoteBuildKit, quick: Plan, base: BaseImage, store: Store
) -> None:
    builder = RemoteBuilder(context(store, remotely(remote_buildkit)))
    remote_buildkit.die()

    message = refusal(lambda: builder.build(quick), remote_buildkit)

    assert "refused" in message
    remote_buildkit.serve()
    check_retry(store, base, remote_buildkit)


def test_endpoint_that_accepts_and_never_answers_is_given_up(
    remote_buildkit: RemoteBuildKit, quick: Plan, base: BaseImage, store: Store
) -> None:
    builder = RemoteBuilder(context(store, remotely(remote_buildkit)))
    remote_buildkit.stall()

    message = refusal(lambda: builder.build(quick), remote_buildkit)

    assert "no answer" in message
    assert remote_buildkit.builds == 0
    remote_buildkit.serve()
    check_retry(store, base, remote_buildkit)


@pytest.mark.parametrize("fixture", ["remote_buildkit", "remote_buildkit_tls"])
def test_endpoint_that_dies_while_a_command_runs_is_noticed(
    request: pytest.FixtureRequest,
    endless: Plan,
    base: BaseImage,
    store: Store,
    fixture: str,
) -> None:
    remote: RemoteBuildKit = request.getfixturevalue(fixture)
    recorder = Recorder(when=starts_endless, act=remote.die)
    builder = RemoteBuilder(
        context(store, remotely(remote), progress=recorder),
    )

    refusal(lambda: builder.build(endless), remote)

    assert recorder.acted
    remote.serve()
    check_retry(store, base, remote)


def test_endpoint_that_falls_silent_while_a_command_runs_is_noticed(
    remote_buildkit: RemoteBuildKit, endless: Plan, base: BaseImage, store: Store
) -> None:
    silenced = []

    def silence() -> None:
        remote_buildkit.stall()
        silenced.append(time.monotonic())

    recorder = Recorder(when=starts_endless, act=silence)
    builder = RemoteBuilder(
        context(store, remotely(remote_buildkit), progress=recorder)
    )

    with pytest.raises(BuilderUnavailableError) as caught:
        builder.build(endless)

    assert time.monotonic() - silenced[0] < SECONDS
    assert remote_buildkit.endpoint in caught.value.message
    remote_buildkit.serve()
    check_retry(store, base, remote_buildkit)


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_endpoint_that_dies_while_the_image_comes_back_is_noticed(
    remote_buildkit: RemoteBuildKit,
    base: BaseImage,
    store: Store,
    tmp_path: Path,
    part: float,
) -> None:
    noise = "head -c 4000000 /dev/urandom > /noise"
    wanted = plan(base, RunCommands(commands=(noise,)))
    execution = remotely(remote_buildkit)
    whole = Store(tmp_path / "whole")
    for _ in range(2):  # the second finds all in BuildKit's cache, and only fetches it
        before = remote_buildkit.passed
        made = RemoteBuilder(context(whole, execution)).build(wanted)
    remote_buildkit.die_after(int((remote_buildkit.passed - before) * part))
    builder = RemoteBuilder(context(store, execution))

    refusal(lambda: builder.build(wanted), remote_buildkit)

    assert not store.has_blob(only_image(made).layers[-1].descriptor.digest)
    remote_buildkit.serve()
    assert builder.build(wanted).digest == made.digest
