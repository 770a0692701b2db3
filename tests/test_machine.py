"""The set-up itself: what the other tests stand on works, and leaves nothing behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from machine import packages, state
from machine.bridge import Bridge
from machine.debian_base import NAME, TAG
from machine.engine import Engine
from machine.judges import Judges
from machine.leftovers import RunFolder
from machine.push import push_layout
from machine.registry import HTPASSWD, PASSWORD, USER, Registry
from machine.state import UnsupportedMachineError

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_PROGRAM = "import ssl, sqlite3, sys; print(sys.version_info[:2])"


@pytest.mark.engine
def test_containerd_engine_runs_the_base(engine: Engine, registry: str) -> None:
    printed = _run_base(engine, registry)

    assert printed == "(3, 11)\n"
    assert engine.store == "containerd"


@pytest.mark.engine
def test_classic_engine_runs_the_base(classic_engine: Engine, registry: str) -> None:
    printed = _run_base(classic_engine, registry)

    assert printed == "(3, 11)\n"
    assert classic_engine.store == "classic"


@pytest.mark.engine
def test_engine_has_buildx(engine: Engine) -> None:
    assert "buildx" in engine.docker("buildx", "version")


@pytest.mark.engine
def test_private_engine_gives_containers_a_network(
    engine: Engine, registry: str
) -> None:
    base = f"{registry}/{NAME}:{TAG}"

    printed = engine.docker("run", "--rm", base, "cat", "/proc/net/route")

    assert "eth0" in printed


@pytest.mark.engine
def test_registry_serves_both_platforms(registry: str) -> None:
    index = json.loads(_get(f"http://{registry}/v2/{NAME}/manifests/{TAG}"))

    assert index["mediaType"] == _INDEX
    assert [entry["platform"]["architecture"] for entry in index["manifests"]] == [
        "amd64",
        "arm64",
    ]
    for entry in index["manifests"]:
        url = f"http://{registry}/v2/{NAME}"
        manifest = json.loads(_get(f"{url}/manifests/{entry['digest']}"))
        config = json.loads(_get(f"{url}/blobs/{manifest['config']['digest']}"))
        assert config["architecture"] == entry["platform"]["architecture"]
        assert any(
            variable.startswith("PYTHON_VERSION=3.11.")
            for variable in config["config"]["Env"]
        )


@pytest.mark.engine
def test_judges_accept_the_base(
    judges: Judges, registry: str, base_layout: Path, tmp_path: Path
) -> None:
    reference = f"{registry}/{NAME}:{TAG}"

    seen = judges.run(
        judges.skopeo, "inspect", "--tls-verify=false", f"docker://{reference}"
    )
    tags = judges.run(judges.umoci, "list", "--layout", str(base_layout))
    digest = judges.run(judges.crane, "digest", "--insecure", reference)

    assert json.loads(seen)["Digest"] == digest.strip()
    assert tags.split() == [TAG]


@pytest.mark.engine
def test_registry_with_a_password_wants_it(
    empty_registry: Callable[..., Registry], base_layout: Path
) -> None:
    guarded = empty_registry(htpasswd=HTPASSWD)
    url = f"http://{guarded.address}/v2/"
    login = b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    with pytest.raises(urllib.error.HTTPError, match="401"):
        _get(url)

    assert _get(url, {"Authorization": f"Basic {login}"}) == b"{}"


@pytest.mark.engine
def test_read_only_registry_refuses_an_upload(
    empty_registry: Callable[..., Registry], base_layout: Path
) -> None:
    closed = empty_registry(read_only=True)

    with pytest.raises(AssertionError, match="405"):
        push_layout(base_layout, closed.address, NAME, TAG)


@pytest.mark.engine
def test_stopped_registry_leaves_no_file_and_no_listener(
    empty_registry: Callable[..., Registry],
) -> None:
    stopped = empty_registry()
    storage = stopped.storage.parent
    stopped.stop()

    assert not storage.exists()
    with pytest.raises(urllib.error.URLError):
        _get(f"http://{stopped.address}/v2/")


@pytest.mark.engine
def test_removed_run_folder_is_gone_though_something_is_mounted_in_it(
    engine: Engine,
) -> None:
    folder = RunFolder()
    mounted = folder.short / "mounted"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(mounted)], check=True)

    folder.remove()

    assert not folder.short.exists()


@pytest.mark.engine
def test_deleted_bridge_is_gone(engine: Engine) -> None:
    root = packages.unpacked("engine")
    with contextlib.ExitStack() as stack:
        bridge = Bridge(packages.environment(root))
        stack.callback(bridge.delete)
        bridge.make()
        made = _links()

    assert bridge.name in made
    assert bridge.name not in _links()


def test_what_a_killed_run_left_is_undone_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "_state_path", lambda: tmp_path)
    witness = tmp_path / "left on the machine"
    witness.touch()
    program = (
        "import os, signal; from machine.leftovers import RunFolder;"
        f"folder = RunFolder(); folder.undo_with([['rm', {str(witness)!r}]],"
        " dict(os.environ)); print(folder.short, flush=True);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program],
        env={
            **os.environ,
            "PYTHONPATH": str(Path(state.__file__).parents[1]),
            "IMAGEKIT_MACHINE_DIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
    )
    short = Path(killed.stdout.strip())
    before = witness.exists() and short.exists()
    running = RunFolder()
    beside = RunFolder()

    assert killed.returncode == -signal.SIGKILL
    assert before
    assert not witness.exists()
    assert not short.exists()
    assert running.short.exists(), "a run that goes on is left alone"
    running.remove()
    beside.remove()
    assert not list((tmp_path / "runs").iterdir())


def test_folders_without_the_mark_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "_state_path", lambda: tmp_path)
    foreign = tmp_path / "runs" / "of somebody else"
    foreign.mkdir(parents=True)
    (foreign / "image").write_text("in use")

    RunFolder().remove()

    assert [path.name for path in foreign.iterdir()] == ["image"]


def test_a_folder_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_state_path", lambda: tmp_path)
    made: list[Path] = []

    def make(draft: Path) -> None:
        made.append(draft)
        (draft / "file").write_text("x")

    first = state.made_once("some/folder", make)
    second = state.made_once("some/folder", make)

    assert first == second == tmp_path / "some" / "folder"
    assert (first / "file").read_text() == "x"
    assert len(made) == 1


def test_a_folder_that_fails_to_be_made_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "_state_path", lambda: tmp_path)

    def fail(draft: Path) -> None:
        (draft / "half").write_text("x")
        raise UnsupportedMachineError("no network")

    with pytest.raises(UnsupportedMachineError):
        state.made_once("folder", fail)

    assert not (tmp_path / "folder").exists()


_ONE_LINE = """\
# deb http://old.test/debian bookworm main
deb-src http://source.test/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://mirror.test/debian bookworm main
"""
_STANZAS = """\
Types: deb
Enabled: no
URIs: http://off.test/debian
Suites: bookworm

Types: deb deb-src
# URIs: http://old.test/debian
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates
"""


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("sources.list", "deb http://mirror.test/debian/ bookworm main\n"),
        ("sources.list.d/x.list", _ONE_LINE),
        ("sources.list.d/debian.sources", _STANZAS),
    ],
    ids=["sources.list", "one-line", "stanzas"],
)
def test_the_mirror_is_the_machines_own(tmp_path: Path, file: str, text: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)

    assert packages._mirror(tmp_path, "bookworm") == "http://mirror.test/debian"


def test_no_mirror_for_the_release_is_said(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb http://mirror.test/d trixie main\n")

    with pytest.raises(UnsupportedMachineError, match="no source for bookworm"):
        packages._mirror(tmp_path, "bookworm")


def test_another_system_is_refused_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = {"ID": "fedora", "PRETTY_NAME": "Fedora Linux 42"}
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: release)

    with pytest.raises(UnsupportedMachineError, match=r"Fedora.*DOCKER_HOST"):
        packages.this_debian()


def _run_base(engine: Engine, registry: str) -> str:
    base = f"{registry}/{NAME}:{TAG}"
    return engine.docker("run", "--rm", base, "python3", "-c", _PROGRAM)


def _get(url: str, headers: dict[str, str] | None = None) -> bytes:
    accepted = {"Accept": f"{_INDEX}, {_MANIFEST}"}
    request = urllib.request.Request(url, headers={**accepted, **(headers or {})})
    with urllib.request.urlopen(request, timeout=20) as response:
        body: Any = response.read()
    assert isinstance(body, bytes)
    return body


def _links() -> list[str]:
    return os.listdir("/sys/class/net")
