"""The place for large data: folders, volumes of claims, object stores."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import fsspec  # type: ignore[import-untyped]
import pytest
import s3fs  # type: ignore[import-untyped]
from fsspec.implementations.memory import (  # type: ignore[import-untyped]
    MemoryFileSystem,
)
from machine.object_store import BUCKET, SECRET, ObjectStore
from machine.state import UnsupportedMachineError

from imagekit.cluster import jobs
from imagekit.digest import Digest
from imagekit.errors import StoreError
from imagekit.running.cluster import transient
from imagekit.running.cluster.raw_data import FolderData, RawData, raw_data
from imagekit.running.cluster.transient import is_transient, retried
from imagekit.task_errors import RuntimeSystemError, RuntimeUserError
from imagekit.value_blobs import ValueBlobs

#: A few parts of what is sent at a time.
LARGE = random.Random(1).randbytes(20 << 20)


@pytest.fixture(scope="module")
def object_store() -> Iterator[ObjectStore]:
    try:
        started = ObjectStore()
    except UnsupportedMachineError as error:
        pytest.skip(f"this machine can't be set up: {error}")
    with started:
        yield started


@pytest.fixture
def s3(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return a new prefix; variables have what is needed to use it."""
    for name, value in object_store.variables.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    yield f"s3://{BUCKET}/{os.urandom(4).hex()}/more"
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(params=["folder", "claim", "memory", "file", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a raw_data_path of each kind."""
    folder = tmp_path / "volume"
    folder.mkdir()
    match request.param:
        case "folder":
            return str(folder)
        case "claim":
            monkeypatch = request.getfixturevalue("monkeypatch")
            monkeypatch.setattr(jobs, "DATA_FOLDER", str(folder))
            return "pvc://shared/some/path"
        case "memory":
            return f"memory://{os.urandom(4).hex()}"
        case "file":
            return folder.as_uri()
        case _:
            return str(request.getfixturevalue("s3"))


@pytest.fixture
def here(tmp_path: Path) -> ValueBlobs:
    return ValueBlobs(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> ValueBlobs:
    return ValueBlobs(tmp_path / "there")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds that are waited, which take no time."""
    found: list[float] = []
    monkeypatch.setattr("time.sleep", found.append)
    return found


def opened(path: str) -> RawData:
    store = raw_data(path)
    assert store is not None
    return store


def target(path: str, digest: Digest) -> tuple[Any, str]:
    """Return the file system and path where a place should have a blob."""
    if path.startswith("pvc://"):
        path = f"{jobs.DATA_FOLDER}/some/path"
    return fsspec.core.url_to_fs(f"{path}/{digest.hex[:2]}/{digest.hex}")  # type: ignore[no-any-return]


@pytest.mark.parametrize("content", [b"", b"x", LARGE], ids=["none", "one", "much"])
def test_what_is_put_is_got(
    place: str, here: ValueBlobs, there: ValueBlobs, content: bytes
) -> None:
    store = opened(place)
    digest = here.put_bytes(content)

    assert not store.has(digest)
    store.put(digest, here.path(digest))

    files, path = target(place, digest)
    assert files.cat_file(path) == content
    assert store.has(digest)
    assert store.has(digest, len(content))
    assert not store.has(digest, len(content) + 1)
    opened(place).get(digest, there)
    assert there.read(digest) == content


def test_what_is_there_is_not_sent_again(place: str, here: ValueBlobs) -> None:
    store = opened(place)
    digest = here.put_bytes(b"content")
    store.put(digest, here.path(digest))
    # As long, and another: what is there is trusted until somebody reads it.
    files, path = target(place, digest)
    files.pipe_file(path, b"CONTENT")
    store.put(digest, here.path(digest))

    assert files.cat_file(path) == b"CONTENT"


def test_half_a_blob_is_none(place: str, here: ValueBlobs, there: ValueBlobs) -> None:
    store = opened(place)
    digest = here.put_bytes(b"content")
    files, path = target(place, digest)
    files.makedirs(path.rpartition("/")[0], exist_ok=True)
    files.pipe_file(path, b"cont")

    assert not store.has(digest, 7)
    with pytest.raises(StoreError, match=f"{digest}.*is damaged"):
        store.get(digest, there)
    assert not any(there.folder.glob("??/*"))
    store.put(digest, here.path(digest))
    store.get(digest, there)
    assert there.read(digest) == b"content"


def test_a_blob_that_is_not_there(place: str, there: ValueBlobs) -> None:
    digest = Digest.of(b"nothing")
    with pytest.raises(StoreError) as found:
        opened(place).get(digest, there)

    name = place if place.startswith("pvc://") else opened(place).name
    assert found.value.message == f"no blob {digest} in {name}"


def test_a_damaged_file_is_not_sent(place: str, here: ValueBlobs) -> None:
    digest = here.put_bytes(b"content")
    here.path(digest).write_bytes(b"another")
    store = opened(place)
    with pytest.raises(StoreError, match="is damaged"):
        store.put(digest, here.path(digest))

    assert not store.has(digest)


# Not in memory: fsspec's files there are not made for threads.
@pytest.mark.parametrize("place", ["folder", "claim", "file", "s3"], indirect=True)
def test_many_write_at_once(place: str, here: ValueBlobs, there: ValueBlobs) -> None:
    digests = [here.put_bytes(bytes([number]) * 100_000) for number in range(4)]
    stores = [opened(place) for _ in range(4)]

    def write(number: int) -> None:
        digest = digests[number % 4]
        stores[number // 4].put(digest, here.path(digest))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(16)))
    for digest in digests:
        opened(place).get(digest, there)
        assert there.read(digest) == here.read(digest)
    files, path = target(place, digests[0])
    partial = f"{path.rpartition('/')[0].rpartition('/')[0]}/partial"
    assert not files.exists(partial) or files.ls(partial) == []


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ("data", "wanted a URL or an absolute folder as raw_data_path, found 'data'"),
        ("pvc:claim", "wanted a URL or an absolute folder"),
        ("pvc://", "wanted raw_data_path as pvc://CLAIM/PATH"),
        ("pvc://Claim_", "wanted raw_data_path as pvc://CLAIM/PATH"),
        ("pvc://claim/../x", "wanted raw_data_path as pvc://CLAIM/PATH"),
        ("s3://key:se/cret@bucket/x", r"found s3://key:\*\*\*@bucket/x$"),
        ("abfs://c@a.example/x?sig=secret", r"found abfs://c@a.example/x\?\*\*\*$"),
    ],
)
def test_what_is_no_place(path: str, match: str) -> None:
    with pytest.raises(RuntimeUserError, match=match) as found:
        raw_data(path)
    assert "cret" not in found.value.message


def test_no_place() -> None:
    assert raw_data("") is None


@pytest.mark.parametrize(
    "path", ["s3://bucket/x", "hdfs://host:8020/a@b", "abfs://c@account.example/x"]
)
def test_urls_without_credentials(path: str) -> None:
    assert opened(path).name == path


def test_a_claim_that_is_not_mounted_here(here: ValueBlobs, there: ValueBlobs) -> None:
    store = opened("pvc://shared/x")
    digest = here.put_bytes(b"content")

    with pytest.raises(RuntimeUserError, match="can't hand on 7 bytes") as found:
        store.put(digest, here.path(digest))
    assert "pvc://shared/x can only be reached in the cluster" in found.value.message
    assert "s3://BUCKET" in (found.value.hint or "")
    with pytest.raises(RuntimeUserError, match=f"can't fetch {digest}"):
        store.get(digest, there)
    with pytest.raises(RuntimeUserError, match=f"can't look for {digest}"):
        store.has(digest)


def test_a_folder_that_is_not_mounted(tmp_path: Path, here: ValueBlobs) -> None:
    digest = here.put_bytes(b"content")
    store = opened(str(tmp_path / "not-mounted"))

    with pytest.raises(RuntimeUserError, match="not-mounted', found none"):
        store.put(digest, here.path(digest))
    assert not (tmp_path / "not-mounted").exists()


def test_a_folder_that_can_not_be_written(tmp_path: Path, here: ValueBlobs) -> None:
    folder = tmp_path / "volume"
    folder.mkdir()
    (folder / "partial").write_text("in the way")
    digest = here.put_bytes(b"content")

    with pytest.raises(RuntimeUserError, match=f"can't write to {folder}"):
        opened(str(folder)).put(digest, here.path(digest))


class Flaky(MemoryFileSystem):  # type: ignore[misc]
    """Fails as often as *faults* says, with the errors in it."""

    protocol = "flaky"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    faults: ClassVar[list[Exception]] = []

    def info(self, path: str, **options: Any) -> Any:
        self._fail()
        return super().info(path, **options)

    def mv(self, *args: Any, **options: Any) -> Any:
        self._fail()
        return super().mv(*args, **options)

    def _open(self, *args: Any, **options: Any) -> Any:
        self._fail()
        return super()._open(*args, **options)

    def _fail(self) -> None:
        if self.faults:
            raise self.faults.pop(0)


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    faults: list[Exception] = []
    monkeypatch.setattr(Flaky, "faults", faults)
    return faults


class OddError(Exception):
    """Of a client that has its own classes."""


def test_faults_that_pass(
    flaky: list[Exception], waits: list[float], here: ValueBlobs, there: ValueBlobs
) -> None:
    store = opened("flaky://x")
    digest = here.put_bytes(b"content")
    faults = (OSError(5, "down"), ConnectionResetError(), TimeoutError(), OddError())
    flaky += faults
    store.put(digest, here.path(digest))
    assert flaky == []
    flaky += faults
    store.get(digest, there)
    assert flaky == []
    assert len(waits) == 2 * len(faults)
    assert there.read(digest) == b"content"
    assert sorted(path for path in Flaky.store if "partial" in path) == []


def test_faults_that_stay(
    flaky: list[Exception], waits: list[float], there: ValueBlobs
) -> None:
    flaky += [OSError(5, "https://u:secret@host/?sig=secret is down")] * 10
    with pytest.raises(RuntimeSystemError) as found:
        opened("flaky://x").get(Digest.of(b""), there)

    assert found.value.message == (
        "can't read flaky://x: [Errno 5] https://u:***@host/?*** is down"
    )
    assert found.value.__cause__ is None
    assert len(waits) == transient.TRIES - 1
    assert 4 < sum(waits) < 10


@pytest.mark.parametrize(
    "error", [PermissionError(13, "no"), OSError(28, "full"), NotImplementedError("x")]
)
def test_faults_that_nobody_waits_for(
    flaky: list[Exception], waits: list[float], there: ValueBlobs, error: Exception
) -> None:
    flaky += [error]
    with pytest.raises(RuntimeUserError, match="can't read flaky://x") as found:
        opened("flaky://x").get(Digest.of(b""), there)
    assert found.value.__cause__ is error
    assert waits == []


def test_a_folder_with_faults_that_pass(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    waits: list[float],
    here: ValueBlobs,
) -> None:
    real, faults = os.replace, [OSError(116, "stale"), OSError(5, "io")]

    def replace(*args: Any) -> None:
        if faults:
            raise faults.pop()
        real(*args)

    digest = here.put_bytes(b"content")
    monkeypatch.setattr("imagekit.value_blobs.os.replace", replace)
    store = FolderData(str(tmp_path))
    store.put(digest, here.path(digest))

    assert len(waits) == 2
    assert store.has(digest, 7)


def test_what_passes(waits: list[float]) -> None:
    assert is_transient(ConnectionRefusedError())
    assert not is_transient(RuntimeSystemError("x"))
    assert not is_transient(type("NoCredentialsError", (Exception,), {})())
    done: list[int] = []

    def never() -> None:
        done.append(1)
        raise TimeoutError

    with pytest.raises(TimeoutError):
        retried(never)
    assert len(done) == transient.TRIES


@pytest.mark.parametrize(
    ("gone", "wanted"),
    [("fsspec", '.with_pip_packages("fsspec", "s3fs")'), ("s3fs", '"s3fs"')],
)
def test_packages_that_are_not_there(
    monkeypatch: pytest.MonkeyPatch, here: ValueBlobs, gone: str, wanted: str
) -> None:
    # What was imported already is known without being imported again.
    known = import_module("fsspec.registry")._registry
    monkeypatch.delitem(known, "s3", raising=False)
    monkeypatch.setitem(sys.modules, gone, None)
    digest = here.put_bytes(b"content")

    with pytest.raises(RuntimeUserError, match="can't use s3://bucket: ") as found:
        opened("s3://bucket").put(digest, here.path(digest))
    assert wanted in (found.value.hint or "")


def test_a_protocol_that_nobody_knows(there: ValueBlobs) -> None:
    with pytest.raises(RuntimeUserError, match=r"can't use tape://7: .*tape"):
        opened("tape://7").get(Digest.of(b""), there)


def test_wrong_credentials(
    s3: str, monkeypatch: pytest.MonkeyPatch, waits: list[float], here: ValueBlobs
) -> None:
    digest = here.put_bytes(b"content")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{SECRET}-not")
    with pytest.raises(RuntimeUserError, match=f"can't read {s3}: ") as found:
        opened(s3).put(digest, here.path(digest))

    assert "credentials" in (found.value.hint or "")
    assert SECRET not in repr((found.value, found.value.__cause__))
    assert waits == []


@pytest.mark.usefixtures("s3")
def test_a_bucket_that_is_not_there(
    waits: list[float], here: ValueBlobs, there: ValueBlobs
) -> None:
    digest = here.put_bytes(b"content")
    store = opened("s3://no-such-bucket/x")

    with pytest.raises(RuntimeUserError, match="can't write to s3://no-such-bucket/x"):
        store.put(digest, here.path(digest))
    with pytest.raises(StoreError, match="no blob"):
        store.get(digest, there)
    assert waits == []


def test_no_credentials(
    s3: str, monkeypatch: pytest.MonkeyPatch, waits: list[float], there: ValueBlobs
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    with pytest.raises(RuntimeUserError, match=f"can't read {s3}: ") as found:
        opened(s3).get(Digest.of(b""), there)
    assert "env_vars and secrets" in (found.value.hint or "")
    assert waits == []


def test_memory_stays_small(s3: str, tmp_path: Path) -> None:
    """A blob of 128 MiB goes there and back in a process that never has half of it."""
    program = """
import pathlib, random, resource, sys
from imagekit.running.cluster.raw_data import raw_data
from imagekit.value_blobs import ValueBlobs

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
folder = pathlib.Path(sys.argv[1])
here, there = ValueBlobs(folder / "here"), ValueBlobs(folder / "there")
store = raw_data(sys.argv[2])
small = here.put_bytes(b"x")
store.put(small, here.path(small))
store.get(small, there)
part = random.Random(1).randbytes(1 << 20)
large = here.put(lambda sink: [sink.write(part) for _ in range(128)])
before = peak()
store.put(large, here.path(large))
store.get(large, there)
print((peak() - before) // 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), s3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 60, done.stdout


def test_only_the_standard_library_is_needed() -> None:
    """Without any installed package, as in images of users."""
    root = Path(transient.__file__).parents[3]
    names = ("raw_data", "parcels", "cluster_results", "lease_lock", "url_data")
    imports = "; ".join(f"import imagekit.running.cluster.{name}" for name in names)
    program = f"import sys; sys.path.append({str(root)!r}); {imports}; print('fsspec' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("False\n", "")
