"""What tests share: a clean environment, and the machine that some of them need.

The engine, the registry and the base image are set up when the first test asks for
them, in a private folder (``fixtures/README.md``).
"""

import os
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from machine import debian_base
from machine import judges as judge_tools
from machine.certificates import mutual_tls
from machine.cluster import Cluster, cluster_folder, start_cluster
from machine.engine import Engine, start_engine
from machine.judges import Judges
from machine.push import push_layout
from machine.registry import Registry
from machine.remote_buildkit import RemoteBuildKit
from machine.state import UnsupportedMachineError, state_folder

from imagekit.store import Store

pytest_plugins = ["parallel"]

_Made = TypeVar("_Made")
_Running = TypeVar("_Running", Engine, Registry, RemoteBuildKit, Cluster)

_CI = os.environ.get("CI", "").lower() in {"1", "true"}
_HOME = Path.home()
_UV_CACHE = os.environ.get("UV_CACHE_DIR") or str(
    Path(os.environ.get("XDG_CACHE_HOME") or _HOME / ".cache") / "uv"
)
# How this machine reaches its package index is the machine's to say.
_KEPT = {
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "UV_INSECURE_HOST",
    "UV_NATIVE_TLS",
    "UV_SYSTEM_CERTS",
}


def pytest_configure() -> None:
    """Settle where folders are before any test changes the environment."""
    state_folder()
    cluster_folder()
    # A shell that starts the tests in the background has it ignored, and so would all
    # processes that are to be interrupted.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make a skip a failure in CI: what did not run is not known to work."""
    report = yield
    if _CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Make the skip of a whole module a failure in CI too."""
    report = yield
    if _CI and report.outcome == "skipped":
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def clean_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keep the user's settings and credentials away from the test."""
    for name in list(os.environ):
        if name.startswith(("IMAGEKIT_", "UV_", "DOCKER_")) and name not in _KEPT:
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for kind in ("CONFIG", "CACHE", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(home / kind.lower()))
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("UV_CACHE_DIR", _UV_CACHE)
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    monkeypatch.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")  # can't be pulled
    if (_HOME / ".pyenv").is_dir() and "PYENV_ROOT" not in os.environ:
        # Its python3 looks for itself below HOME.
        monkeypatch.setenv("PYENV_ROOT", str(_HOME / ".pyenv"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return an empty content store."""
    return Store(tmp_path / "store")


@pytest.fixture(scope="session")
def warm_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return the content store of this run, for tests that may find things in it."""
    return Store(tmp_path_factory.mktemp("warm") / "store")


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """Return an engine with the containerd image store."""
    with _machine(lambda: start_engine("containerd")) as running:
        yield running


@pytest.fixture(scope="session")
def engine_on_disk() -> Iterator[Engine]:
    """Return one whose containers write to the disk, not to memory that they take."""
    with _machine(lambda: start_engine("containerd", in_memory=False)) as running:
        yield running


@pytest.fixture(scope="session")
def classic_engine() -> Iterator[Engine]:
    """Return an engine with the classic image store."""
    with _machine(lambda: start_engine("classic")) as running:
        yield running


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Return a Kubernetes cluster; its pods can pull from ``registry``."""
    with _machine(start_cluster) as running:
        yield running


@pytest.fixture
def remote_buildkit(engine: Engine) -> Iterator[RemoteBuildKit]:
    """Return a remote BuildKit that lets everyone in."""
    with _machine(lambda: RemoteBuildKit(engine.host)) as running:
        yield running


@pytest.fixture
def remote_buildkit_tls(engine: Engine, tmp_path: Path) -> Iterator[RemoteBuildKit]:
    """Return a remote BuildKit that wants the client certificate in its ``tls``."""
    tls = _set_up(lambda: mutual_tls(tmp_path / "tls"))
    with _machine(lambda: RemoteBuildKit(engine.host, tls=tls)) as running:
        yield running


@pytest.fixture(scope="session")
def base_layout() -> Path:
    """Return an OCI layout with the base image, for linux/amd64 and linux/arm64."""
    return _set_up(debian_base.base_layout)


@pytest.fixture(scope="session")
def registry(base_layout: Path) -> Iterator[str]:
    """Return the address of a registry with library/python:3.11-slim-bookworm."""
    with _machine(Registry) as running:
        push_layout(base_layout, running.address, debian_base.NAME, debian_base.TAG)
        yield running.address


@pytest.fixture
def empty_registry() -> Iterator[Callable[..., Registry]]:
    """Return a maker of empty registries; its arguments are those of Registry."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(
            _machine(lambda: Registry(**options))
        )


@pytest.fixture(scope="session")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Judges:
    """Return skopeo, umoci and crane."""
    folder = tmp_path_factory.mktemp("judges")
    return _set_up(lambda: judge_tools.judges(folder))


@contextmanager
def _machine(start: Callable[[], _Running]) -> Iterator[_Running]:
    with _set_up(start) as running:
        yield running


def _set_up(make: Callable[[], _Made]) -> _Made:
    try:
        return make()
    except UnsupportedMachineError as error:
        pytest.skip(f"this machine can't be set up: {error}")
