"""Fetching wheels: verified, resumed, retried, and logins sent to their host only."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from package_index import PackageIndex, serve, wheel

from imagekit.errors import DownloadError, HashMismatchError, StoreError
from imagekit.plan import Distribution
from imagekit.progress import Event, TaskAdvanced, TaskEnded, TaskStarted
from imagekit.resolve.credentials import Credentials, redact
from imagekit.resolve.download import Wheels
from imagekit.resolve.fetching import Patience
from imagekit.store import Store

SIZE = 3_000_000


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    with serve() as index:
        yield index


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def patience(pauses: list[float]) -> Patience:
    return Patience(tries=4, sleep=pauses.append)


def offered(index: PackageIndex, name: str = "demo", size: int = SIZE) -> Distribution:
    """Return a distribution that the index has."""
    filename, data = wheel(name, "1.0", size=size)
    url = index.add((filename, data))
    return Distribution(
        name=name,
        version="1.0",
        filename=filename,
        sha256=index.sha256(filename),
        size=len(data),
        url=url,
    )


def test_a_wheel_is_fetched_once(index: PackageIndex, store: Store) -> None:
    events: list[Event] = []
    wheels = Wheels(store, credentials=Credentials(environ={}), progress=events.append)
    distribution = offered(index)

    path = wheels.path(distribution)
    again = wheels.path(distribution)

    assert path == again == store.wheel_path(distribution.sha256, distribution.filename)
    assert path.read_bytes() == index.files[distribution.filename][1]
    assert len(index.requests) == 1
    advanced = sum(event.amount for event in events if isinstance(event, TaskAdvanced))
    assert isinstance(events[0], TaskStarted)
    assert (events[0].phase, events[0].total) == ("fetch", advanced)
    assert events[-1] == TaskEnded(events[0].task)
    assert list(store.temporary().iterdir()) == []


def test_a_dropped_connection_is_resumed(
    index: PackageIndex, store: Store, patience: Patience, pauses: list[float]
) -> None:
    distribution = offered(index)
    index.broken_after = [1_000_000, 500_000]

    path = Wheels(store, patience=patience).path(distribution)

    assert path.read_bytes() == index.files[distribution.filename][1]
    ranges = [headers.get("Range") for _, headers in index.requests]
    assert ranges == [None, "bytes=1000000-", "bytes=1500000-"]
    assert len(pauses) == 2


def test_a_host_without_ranges_starts_over(
    index: PackageIndex, store: Store, patience: Patience
) -> None:
    distribution = offered(index)
    index.broken_after = [1_000_000]
    index.ranges = False

    path = Wheels(store, patience=patience).path(distribution)

    assert path.read_bytes() == index.files[distribution.filename][1]


def test_connections_that_keep_dropping_end_in_an_error(
    index: PackageIndex, store: Store, patience: Patience
) -> None:
    distribution = offered(index)
    index.broken_after = [0] * 10

    with pytest.raises(DownloadError, match=r"can't fetch demo 1\.0"):
        Wheels(store, patience=patience).path(distribution)
    assert list(store.temporary().iterdir()) == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_hosts_are_asked_again(
    index: PackageIndex,
    store: Store,
    patience: Patience,
    pauses: list[float],
    status: int,
) -> None:
    distribution = offered(index)
    index.statuses = [status, status]

    assert Wheels(store, patience=patience).path(distribution).exists()
    assert len(pauses) == 2


def test_missing_files_are_not_asked_for_again(
    index: PackageIndex, store: Store, patience: Patience, pauses: list[float]
) -> None:
    distribution = offered(index)
    index.files.clear()

    with pytest.raises(DownloadError, match="status 404"):
        Wheels(store, patience=patience).path(distribution)
    assert pauses == []


def test_other_bytes_are_refused(
    index: PackageIndex, store: Store, patience: Patience
) -> None:
    distribution = offered(index)
    index.files[distribution.filename] = ("demo", b"something else")

    with pytest.raises(HashMismatchError, match="found"):
        Wheels(store, patience=patience).path(distribution)
    assert not store.wheel_path(distribution.sha256, distribution.filename).exists()


def test_a_file_that_is_replaced_halfway_is_fetched_anew(
    index: PackageIndex, store: Store, patience: Patience
) -> None:
    distribution = offered(index)
    owner, right = index.files[distribution.filename]
    wrong = b"#" * len(right)
    index.files[distribution.filename] = (owner, wrong)
    index.broken_after = [1_000_000]
    # The right file is back before the connection is resumed.
    patience = Patience(
        sleep=lambda _: index.files.update({distribution.filename: (owner, right)})
    )

    path = Wheels(store, patience=patience).path(distribution)

    assert path.read_bytes() == right


def test_a_check_that_fails_publishes_nothing(
    index: PackageIndex, store: Store
) -> None:
    distribution = offered(index)

    def check(path: Path) -> None:
        raise HashMismatchError(f"bad RECORD in {path.name}")

    with pytest.raises(HashMismatchError, match="bad RECORD"):
        Wheels(store, check=check).path(distribution)
    assert not store.wheel_path(distribution.sha256, distribution.filename).exists()


def test_threads_share_one_download(index: PackageIndex, store: Store) -> None:
    wheels = Wheels(store)
    distribution = offered(index)
    threads = [
        threading.Thread(target=wheels.path, args=(distribution,)) for _ in range(6)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(index.requests) == 1


def test_everything_is_fetched(index: PackageIndex, store: Store) -> None:
    distributions = [offered(index, f"demo-{number}", 1000) for number in range(8)]

    Wheels(store).fetch_all(distributions, jobs=3)

    assert len(index.requests) == 8
    assert all(
        store.wheel_path(item.sha256, item.filename).exists() for item in distributions
    )


def test_one_failure_ends_all(
    index: PackageIndex, store: Store, patience: Patience
) -> None:
    distributions = [offered(index, f"demo-{number}", 1000) for number in range(3)]
    del index.files[distributions[1].filename]

    with pytest.raises(DownloadError, match="demo-1"):
        Wheels(store, patience=patience).fetch_all(distributions, jobs=1)


def test_files_of_this_machine(store: Store, tmp_path: Path) -> None:
    filename, data = wheel("demo", "1.0")
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / filename).write_bytes(data)
    import hashlib

    distribution = Distribution(
        name="demo",
        version="1.0",
        filename=filename,
        sha256=hashlib.sha256(data).hexdigest(),
        url=(folder / filename).as_uri(),
    )

    assert Wheels(store).path(distribution).read_bytes() == data


def test_a_built_wheel_that_is_gone(store: Store) -> None:
    distribution = Distribution(
        name="demo",
        version="1.0",
        filename="demo-1.0-py3-none-any.whl",
        sha256="0" * 64,
    )

    with pytest.raises(DownloadError, match="was built here"):
        Wheels(store).path(distribution)


def test_a_store_that_can_not_be_written(index: PackageIndex, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("in the way")

    with pytest.raises(StoreError):
        Wheels(Store(tmp_path / "store")).path(offered(index))


def test_a_full_disk_is_named(index: PackageIndex) -> None:
    # /dev/full takes nothing, as a full disk does.
    from imagekit.progress import silent
    from imagekit.resolve.fetching import Fetcher
    from imagekit.resolve.partial_file import RemoteFile

    item = offered(index)
    assert item.url is not None
    file = RemoteFile(
        filename=item.filename, url=item.url, sha256=item.sha256, title="demo"
    )

    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        pytest.raises(StoreError, match="the disk is full"),
    ):
        Fetcher().fetch(file, full, silent)


LOGIN = ("bob", "s3cr3t-pass/word")
BASIC = f"Basic {base64.b64encode(':'.join(LOGIN).encode()).decode()}"


@pytest.mark.parametrize("where", ["url", "named", "netrc"])
def test_logins_from_the_users_settings(
    store: Store, tmp_path: Path, where: str
) -> None:
    with serve(LOGIN) as index:
        distribution = offered(index)
        environ, urls, named = {}, [], []
        if where == "url":
            urls = [f"http://bob:s3cr3t-pass%2Fword@127.0.0.1:{index.port}/simple"]
        elif where == "named":
            named = [("my-index", index.url)]
            environ = {
                "UV_INDEX_MY_INDEX_USERNAME": LOGIN[0],
                "UV_INDEX_MY_INDEX_PASSWORD": LOGIN[1],
            }
        else:
            netrc = tmp_path / "netrc"
            netrc.write_text(
                f"machine 127.0.0.1 login {LOGIN[0]} password {LOGIN[1]}\n"
            )
            netrc.chmod(0o600)
            environ = {"NETRC": str(netrc)}
        credentials = Credentials(urls, named=named, environ=environ)

        path = Wheels(store, credentials=credentials).path(distribution)

        assert path.exists()
        assert index.requests[-1][1]["Authorization"] == BASIC


def test_logins_from_uvs_own_store(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import subprocess

    from imagekit.resolve.uv import Uv

    monkeypatch.setenv("UV_CREDENTIALS_DIR", str(tmp_path / "uv-credentials"))
    with serve(LOGIN) as index:
        argv = [Uv(temporary=tmp_path).path, "auth", "login", index.url]
        argv += ["--username", LOGIN[0], "--password", "-"]
        subprocess.run(argv, input=LOGIN[1], text=True, check=True, capture_output=True)

        path = Wheels(store, credentials=Credentials).path(offered(index))

        assert path.exists()
        assert index.requests[-1][1]["Authorization"] == BASIC


def test_a_refused_login(store: Store, patience: Patience) -> None:
    with serve(LOGIN) as index:
        credentials = Credentials(
            [f"http://bob:wr0ng@127.0.0.1:{index.port}"], environ={}
        )
        with pytest.raises(DownloadError, match="status 401") as caught:
            Wheels(store, credentials=credentials, patience=patience).path(
                offered(index)
            )

    assert "wr0ng" not in str(caught.value)
    assert "netrc" in (caught.value.hint or "")


def test_logins_are_not_sent_to_other_hosts(store: Store) -> None:
    with serve(LOGIN) as private, serve() as other:
        distribution = offered(private)
        other.add((distribution.filename, private.files[distribution.filename][1]))
        private.redirect = f"http://localhost:{other.port}/files"
        credentials = Credentials(
            [f"http://bob:s3cr3t-pass%2Fword@127.0.0.1:{private.port}/simple"],
            environ={},
        )

        assert Wheels(store, credentials=credentials).path(distribution).exists()
        assert private.requests[-1][1]["Authorization"] == BASIC
        assert "Authorization" not in other.requests[-1][1]


def test_the_nearest_login_of_a_host_is_taken() -> None:
    credentials = Credentials(
        ["https://a:1@x.example/one/simple", "https://b:2@x.example/two/simple"],
        environ={},
    )

    def user(url: str) -> str:
        header = credentials.header(url)
        assert header is not None
        return base64.b64decode(header.removeprefix("Basic ")).decode()

    assert user("https://x.example/two/simple/demo/") == "b:2"
    assert user("https://x.example/files/demo.whl") == "a:1"
    assert credentials.header("https://y.example/files/demo.whl") is None
    assert credentials.header("http://x.example/files/demo.whl") is None


def test_secrets_are_hidden() -> None:
    credentials = Credentials(
        ["https://bob:pass%2Fword@x.example/simple"],
        secrets=["t0k3n-value"],
        environ={},
    )

    hidden = credentials.hide(
        "asked https://bob:pass%2Fword@x.example with t0k3n-value, pass/word"
    )

    assert hidden == "asked https://****@x.example with ****, ****"
    assert redact("git+ssh://git@h.example/r") == "git+ssh://****@h.example/r"


def test_two_processes_at_once(index: PackageIndex, store: Store) -> None:
    """Both fetch, both publish equal bytes under one name."""
    import subprocess
    import sys

    distribution = offered(index)
    program = (
        "import sys; from pathlib import Path\n"
        "from imagekit.plan import Distribution\n"
        "from imagekit.resolve.download import Wheels\n"
        "from imagekit.store import Store\n"
        "root, filename, sha256, url = sys.argv[1:]\n"
        "item = Distribution(name='d', version='1', filename=filename, "
        "sha256=sha256, url=url)\n"
        "print(Wheels(Store(Path(root))).path(item))\n"
    )
    assert distribution.url is not None
    argv = [sys.executable, "-c", program, str(store.root), distribution.filename]
    argv += [distribution.sha256, distribution.url]
    running = [
        subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    printed = [process.communicate()[0].strip() for process in running]

    path = store.wheel_path(distribution.sha256, distribution.filename)
    assert printed == [str(path)] * 2
    assert path.read_bytes() == index.files[distribution.filename][1]
