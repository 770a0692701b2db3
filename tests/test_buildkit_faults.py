"""BuildKit that is missing, old, silent or fails says so, and nothing is left."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from engine_plans import ORIGIN, context, debian, plan, reach
from hypothesis import given, settings
from hypothesis import strategies as st
from machine.engine import Engine
from processes import processes, running_docker

from imagekit.builder import Execution
from imagekit.digest import Digest
from imagekit.errors import (
    BuilderUnavailableError,
    BuildFailedError,
    SettingsError,
)
from imagekit.ignore import NOTHING
from imagekit.layers import LayoutBase
from imagekit.oci import model
from imagekit.oci.archive import write_archive
from imagekit.oci.layout import Layout
from imagekit.oci.registry import Registries
from imagekit.origin import SourcePath
from imagekit.plan import (
    BaseImage,
    BuildDockerfile,
    LayoutSource,
    PlatformPlan,
    RunCommands,
    SetEnv,
)
from imagekit.platform import Platform
from imagekit.redaction import Redactor
from imagekit.reference import Reference
from imagekit.resolve.base import resolve_base
from imagekit.sources import walk
from imagekit.store import Store
from imagekit_buildkit import BuildKitBuilder, RemoteBuilder
from imagekit_buildkit.documents import config
from imagekit_buildkit.endpoint import remote_endpoint
from imagekit_buildkit.instruction_lines import InstructionLines
from imagekit_buildkit.layer_titles import layer_titles
from imagekit_buildkit.made import Made

SECONDS = 10


@pytest.fixture(scope="module")
def base(base_layout: Path, warm_store: Store) -> BaseImage:
    return debian(base_layout, warm_store)


@pytest.fixture(params=["engine", "classic_engine"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Engine:
    found: Engine = request.getfixturevalue(request.param)
    reach(monkeypatch, found)
    return found


# Steps that fail


@pytest.mark.engine
def test_a_failing_command_tells_what_and_where(
    either: Engine, base: BaseImage, store: Store
) -> None:
    command = "echo why >&2; for i in $(seq 30); do echo line $i; done; exit 42"
    wanted = plan(base, RunCommands(commands=("true", command), origin=ORIGIN))

    with pytest.raises(BuildFailedError) as caught:
        BuildKitBuilder(context(store)).build(wanted)

    error = caught.value
    assert repr(command) in error.message
    assert error.exit_code == 42
    assert error.origin == "image.py:7"
    lines = error.log_tail.splitlines()
    assert len(lines) == 20
    assert "line 30" in lines
    assert "why" in lines
    assert list(store.temporary().iterdir()) == []
    assert "imagekit" not in either.docker("image", "ls")


@pytest.mark.engine
@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("RUN exit 3", "'RUN exit 3' (line 3 of the Dockerfile) failed with exit code"),
        ("RAN exit 3", "unknown instruction: RAN"),
    ],
)
def test_a_failing_dockerfile_tells_its_line(
    engine: Engine,
    base: BaseImage,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    says: str,
) -> None:
    reach(monkeypatch, engine)
    assert isinstance(base.source, LayoutSource)
    engine.docker("load", stdin=_archive(base))
    (tmp_path / "own").mkdir()
    step = BuildDockerfile(
        file="Dockerfile",
        text=f"FROM imagekit-test/debian\n\n{line}\n",
        context=walk(str(tmp_path / "own"), NOTHING),
        origin=ORIGIN,
    )
    platform = PlatformPlan(platform=base.platform, base=None, steps=(step,))
    wanted = replace(plan(base), platforms=(platform,))

    try:
        with pytest.raises(BuildFailedError) as caught:
            BuildKitBuilder(context(store)).build(wanted)
    finally:
        engine.docker("image", "rm", "imagekit-test/debian")

    assert says in caught.value.message
    assert caught.value.origin == "image.py:7"


def _archive(base: BaseImage) -> bytes:
    assert isinstance(base.source, LayoutSource)
    layout = Layout(Path(base.source.path))
    content = layout.blob_path(base.manifest).read_bytes()
    output = io.BytesIO()
    write_archive(
        output,
        model.Descriptor.of(content, model.MANIFEST),
        lambda descriptor: layout.blob_path(descriptor.digest),
        names=[Reference.parse("imagekit-test/debian:latest")],
        platform=base.platform,
    )
    return output.getvalue()


@pytest.mark.engine
def test_a_foreign_program_needs_emulation(
    engine: Engine,
    base_layout: Path,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reach(monkeypatch, engine)
    if b"enabled" in _read(Path("/proc/sys/fs/binfmt_misc/status")):
        pytest.skip("this machine may emulate others")
    foreign = "arm64" if Platform.host().architecture == "amd64" else "amd64"
    with Registries() as registries:
        base = resolve_base(
            LayoutBase(path=SourcePath(name="base", location=str(base_layout))),
            Platform("linux", foreign),
            registries=registries,
            store=store,
            need_python=False,
        )

    with pytest.raises(BuildFailedError) as caught:
        BuildKitBuilder(context(store)).build(plan(base, RunCommands(commands=("a",))))

    assert f"linux/{foreign}" in caught.value.message
    assert "QEMU" in (caught.value.hint or "")


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


@pytest.mark.engine
def test_the_classic_store_exports_no_cache_and_says_so(
    classic_engine: Engine,
    base: BaseImage,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reach(monkeypatch, classic_engine)
    execution = Execution(cache_to=(f"type=local,dest={tmp_path / 'cache'}",))

    with pytest.raises(BuildFailedError, match="Cache export") as caught:
        BuildKitBuilder(context(store, execution)).build(
            plan(base, RunCommands(commands=("true",)))
        )

    assert "containerd image store" in (caught.value.hint or "")


# Engines that are missing, old or silent


def refusal(store: Store, base: BaseImage) -> str:
    """Return why the builder can't be used, which it has to know in time."""
    began = time.monotonic()
    with pytest.raises(BuilderUnavailableError) as caught:
        BuildKitBuilder(context(store)).build(plan(base))
    assert time.monotonic() - began < SECONDS
    assert caught.value.hint
    return caught.value.message


@pytest.mark.engine
def test_no_docker_command(
    base: BaseImage, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert "no 'docker' command" in refusal(store, base)


@pytest.mark.engine
def test_no_buildx(
    engine: Engine,
    base: BaseImage,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reach(monkeypatch, engine)
    if engine.docker("info", "--format", "{{.DockerRootDir}}").startswith("/var/lib"):
        pytest.skip("the machine's own docker finds its plugins without a setting")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    assert "no buildx" in refusal(store, base)


@pytest.mark.engine
def test_an_engine_that_does_not_answer(
    engine: Engine,
    base: BaseImage,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reach(monkeypatch, engine)
    path = f"unix://{tmp_path}/none.sock"
    monkeypatch.setenv("DOCKER_HOST", path)

    assert path in refusal(store, base)


@pytest.mark.engine
def test_an_engine_that_accepts_and_says_nothing(
    engine: Engine, base: BaseImage, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(monkeypatch, engine)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("DOCKER_HOST", address)

        message = refusal(store, base)

    assert address in message
    assert "no answer" in message


@pytest.mark.engine
@pytest.mark.parametrize(
    ("version", "store_type", "buildx", "reason"),
    [
        ("20.10.24", "", "v0.29.1", "wanted 25.0 or newer, found 20.10.24"),
        ("25.0.5", "io.containerd.snapshotter.v1", "v0.29.1", "wanted 26.0"),
        ("28.1.0", "", "0.10.5", "wanted 0.13 or newer, found 0.10.5"),
    ],
)
def test_what_is_too_old_is_named(
    base: BaseImage,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    store_type: str,
    buildx: str,
    reason: str,
) -> None:
    # No such engine can be run here: a script answers in its place.
    info = {
        "ServerVersion": version,
        "DriverStatus": [["driver-type", store_type]],
        "ClientInfo": {"Plugins": [{"Name": "buildx", "Version": buildx}]},
    }
    script = tmp_path / "docker"
    script.write_text(f"#!/bin/sh\ncat <<'EOF'\n{json.dumps(info)}\nEOF\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    assert reason in refusal(store, base)


# Builds that are broken off

_BUILD = """
import sys
sys.path[:0] = {path!r}
from pathlib import Path
from engine_plans import context, debian, plan
from imagekit.plan import RunCommands
from imagekit.progress import TaskStarted
from imagekit.store import Store
from imagekit_buildkit import BuildKitBuilder

def show(event):
    if isinstance(event, TaskStarted) and "tail -f" in event.title:
        print("running", flush=True)

store = Store(Path({store!r}))
endless = RunCommands(commands=("tail -f /dev/null",))
BuildKitBuilder(context(store, progress=show)).build(
    plan(debian(Path({layout!r}), store), endless)
)
"""


@pytest.fixture
def running(
    either: Engine, base_layout: Path, store: Store
) -> Iterator[subprocess.Popen[str]]:
    """A process that builds, and is in the middle of a command."""
    script = _BUILD.format(
        path=sys.path, store=str(store.root), layout=str(base_layout)
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        assert running_docker()
        yield process
        process.kill()


@pytest.mark.engine
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_build_that_is_broken_off_leaves_nothing(
    either: Engine,
    base: BaseImage,
    store: Store,
    running: subprocess.Popen[str],
    number: signal.Signals,
) -> None:
    own = {process.pid for process in running_docker()}

    running.send_signal(number)
    running.communicate(timeout=SECONDS)

    deadline = time.monotonic() + SECONDS
    while own & {process.pid for process in processes()}:
        assert time.monotonic() < deadline, "buildx goes on"
        os.sched_yield()
    if number is signal.SIGINT:
        assert list(store.temporary().iterdir()) == []
    # What a killed process could not do, the next build does.
    BuildKitBuilder(context(store)).build(plan(base, SetEnv(variables=(("A", "1"),))))
    assert "imagekit" not in either.docker("image", "ls")


# Endpoints


@pytest.mark.parametrize(
    "text",
    [
        "tcp://",
        "tcp://host",
        "tcp://host:99999",
        "tcp://host:12/path",
        "tcp://user@host:12",
        "ssh://",
        "ssh://-oProxyCommand=x",
        "docker-context://-x",
        "kubernetes://Not_A_Name",
        "buildx://a/b",
        "http://host:1",
        "host:1",
    ],
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="wanted the endpoint"):
        remote_endpoint(Execution(remote=text))


@pytest.mark.parametrize(
    "text",
    [
        "tcp://host:1234",
        "tcp://[::1]:1234",
        "ssh://user@host",
        "docker-context://desktop-linux",
        "kubernetes://",
        "kubernetes://builds",
        "buildx://my_builder.1",
    ],
)
def test_endpoints_are_named_as_they_were_written(text: str) -> None:
    assert str(remote_endpoint(Execution(remote=text))) == text


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    cert = tmp_path / "cert.pem"
    cert.write_text("")
    good = Execution(remote="tcp://host:1", remote_cert=str(cert))

    with pytest.raises(SettingsError, match="needs its key"):
        remote_endpoint(good)
    with pytest.raises(SettingsError, match="can't read"):
        remote_endpoint(replace(good, remote_key=str(tmp_path / "none")))
    with pytest.raises(SettingsError, match="certificates are for"):
        remote_endpoint(replace(good, remote="ssh://host"))


def test_no_endpoint_is_said_so(store: Store) -> None:
    builder = RemoteBuilder(context(store))

    with pytest.raises(BuilderUnavailableError, match="no endpoint") as caught:
        builder._connected()

    assert "IMAGEKIT_REMOTE" in (caught.value.hint or "")


# What BuildKit gives back


def test_settings_that_buildkit_got_wrong_are_no_image(base_config: bytes) -> None:
    wanted = plan(bare(base_config), SetEnv(variables=(("A", "$B"),)))
    made = Made(
        config=model.image_config(
            base_config, diff_ids=[], history=[], created="", env=[("A", "expanded")]
        ),
        base=(),
        layers=(),
        reused=frozenset(),
    )

    with pytest.raises(BuildFailedError, match=r"A='expanded' for '\$B'"):
        config(wanted, wanted.platforms[0], made, ())


@pytest.fixture
def base_config() -> bytes:
    return model.canonical_json(
        {
            "os": "linux",
            "architecture": "amd64",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": []},
        }
    )


def bare(content: bytes) -> BaseImage:
    return BaseImage(
        name="bare",
        platform=Platform("linux", "amd64"),
        manifest=Digest.of(b""),
        config=content,
        layers=(),
        source=LayoutSource(path="none"),
    )


DOCKERFILE = """\
# syntax? no
FROM --platform=linux/amd64 debian AS Build
RUN <<EOF
FROM not really
RUN neither
EOF
COPY a \\
  # within
  b
ENV X=1
FROM base
WORKDIR /x
RUN one && \\
    two
FROM build AS last
ADD a b
"""


@pytest.mark.parametrize(
    ("step", "line"),
    [
        ("[build 1/3] FROM docker.io/library/debian", None),
        ("[build 2/3] RUN <<EOF (FROM not really...)", 3),
        ("[build 3/3] COPY a   b", 7),
        ("[linux/amd64 build 3/3] COPY a   b", 7),
        ("[stage-1 1/3] WORKDIR /x", 12),
        ("[stage-1 2/3] RUN one &&     two", 13),
        ("[last 1/2] LINK ADD a b", 16),
        ("[1/2] ADD a b", 16),
        ("[stage-1 1/3] RUN it is a WORKDIR", None),
        ("[stage-1 9/9] RUN x", None),
        ("[other 1/1] RUN x", None),
        ("[internal] load build context", None),
        ("exporting to oci image format", None),
        ("", None),
    ],
)
def test_steps_are_found_in_the_dockerfile(step: str, line: int | None) -> None:
    found = InstructionLines(DOCKERFILE, frozenset({"base"})).find(step)

    assert (found.line if found else None) == line


def test_an_image_has_the_instructions_of_the_stages_that_it_is_on() -> None:
    lines = InstructionLines(DOCKERFILE, frozenset({"base"}))

    assert [item.line for item in lines.of_image(None)] == [3, 7, 16]
    assert [item.line for item in lines.of_image("stage-1")] == [12, 13]
    assert [item.line for item in lines.of_image("1")] == [12, 13]


@pytest.mark.parametrize(
    ("history", "layers", "expected"),
    [
        (["RUN a", "COPY b"], 2, ("A", "B")),
        (["base", "RUN a", "COPY b"], 2, ("A", "B")),
        (["RUN a", "-COPY b"], 1, ("A",)),
        (["RUN of the base", "RUN a", "-ENV x", "COPY b"], 2, ("A", "B")),
        (["COPY other"], 1, ("COPY other",)),
        ([], 1, ("layer",)),
        (["RUN a", "COPY b"], 0, ()),
    ],
)
def test_layers_are_named_by_their_instructions(
    history: list[str], layers: int, expected: tuple[str, ...]
) -> None:
    entries = [
        {"created_by": text.removeprefix("-"), "empty_layer": text.startswith("-")}
        for text in history
    ]

    assert layer_titles(entries, layers, [("RUN", "A"), ("COPY", "B")]) == expected


# Secrets

_SECRETS = st.text(st.characters(codec="utf-8"), min_size=8, max_size=60).filter(
    lambda text: len(text.strip()) >= 8
)
_ENCODINGS: list[Callable[[str], str]] = [
    str,
    lambda text: quote(text, safe=""),
    quote_plus,
    lambda text: base64.b64encode(text.encode()).decode(),
    lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    lambda text: text.encode().hex(),
    lambda text: json.dumps(text)[1:-1],
]


@given(_SECRETS, st.sampled_from(_ENCODINGS), st.text(max_size=5), st.text(max_size=5))
@settings(max_examples=300)
def test_no_encoding_of_a_secret_is_shown(
    secret: str, encode: Callable[[str], str], before: str, after: str
) -> None:
    encoded = encode(secret.strip())

    shown = Redactor([secret])(f"{before}{encoded}{after}")

    assert encoded not in shown


@given(_SECRETS, st.binary(max_size=5), st.binary(max_size=5))
def test_no_secret_can_be_read_from_base64_around_it(
    secret: str, before: bytes, after: bytes
) -> None:
    text = base64.b64encode(before + secret.strip().encode() + after).decode()

    shown = Redactor([secret])(text)

    # What is left are letters in which other bytes have a share.
    left = [len(part) for part in shown.split("***")]
    assert "***" in shown
    assert left[0] <= (len(before) + 2) // 3 * 4 + 2
    assert left[-1] <= (len(after) + 4) // 3 * 4 + 2


def test_the_longest_form_goes_first() -> None:
    redact = Redactor(["secret", "secret-and-more", ""])

    assert redact("a secret-and-more b secret c") == "a *** b *** c"
    assert Redactor([])("nothing") == "nothing"
