"""Results that are kept on a cluster, and who computes them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from machine.cluster import Cluster as Machine

from imagekit.cluster.access import Api
from imagekit.cluster.api import Cluster
from imagekit.cluster.api_errors import ForbiddenError, UnreachableError
from imagekit.cluster.kubeconfig import client_api
from imagekit.cluster.role import pod_rules
from imagekit.digest import Digest
from imagekit.result_cache import ResultCache, Results
from imagekit.running.cluster.cluster_results import ClusterResults, cached_name
from imagekit.running.cluster.lease_lock import LeaseLocks
from imagekit.running.cluster.parcels import BOUND
from imagekit.running.cluster.raw_data import FolderData
from imagekit.value_blobs import ValueBlobs

pytestmark = pytest.mark.engine

KEY = ResultCache.key(task="env.f", version="1", inputs={"x": 1})
NAME = cached_name(KEY)


class FaultyApi:
    """Access that is out of reach while *is_down*.

    Attributes:
        created: set once something was created, or was to be.
    """

    def __init__(self, api: Api) -> None:
        self.api = api
        self.namespace = api.namespace
        self.is_down = False
        self.created = Event()

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        if self.is_down:
            raise UnreachableError("nothing answers")
        try:
            return self.api.request(method, path, body, **options)
        finally:
            if method == "POST":
                self.created.set()

    def stream(self, path: str, **options: Any) -> Any:
        return self.api.stream(path, **options)

    def patient(self, *_arguments: Any, **_options: Any) -> Any:
        return self  # its faults last as long as they last

    def close(self) -> None:
        self.api.close()


@pytest.fixture(scope="module")
def namespace(cluster: Machine) -> Iterator[str]:
    with cluster.namespace() as name:
        yield name


@pytest.fixture(scope="module")
def pod_kubeconfig(cluster: Machine, namespace: str) -> Path:
    """Return access of those who may do what pods may, and no more."""
    return cluster.user(namespace, pod_rules())


@pytest.fixture
def access(pod_kubeconfig: Path) -> Iterator[Callable[[], FaultyApi]]:
    made: list[FaultyApi] = []

    def make() -> FaultyApi:
        api = client_api(kubeconfig=str(pod_kubeconfig), patience=5)
        made.append(FaultyApi(api))
        return made[-1]

    yield make
    objects = Cluster(make())
    objects.delete("ConfigMap", NAME)
    objects.delete("Lease", NAME)
    for api in made:
        api.close()


@pytest.fixture
def objects(access: Callable[[], FaultyApi]) -> Cluster:
    return Cluster(access())


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path) -> FolderData:
    (tmp_path / "store").mkdir()
    return FolderData(str(tmp_path / "store"))


@pytest.fixture
def here(tmp_path: Path) -> ValueBlobs:
    return ValueBlobs(tmp_path / "here")


@pytest.fixture
def results(
    objects: Cluster, here: ValueBlobs, store: FolderData, notes: list[str]
) -> ClusterResults:
    return ClusterResults(objects, blobs=here, store=store, note=notes.append)


@pytest.fixture
def elsewhere(
    access: Callable[[], FaultyApi], tmp_path: Path, store: FolderData, notes: list[str]
) -> ClusterResults:
    """Return the same results as another pod has them."""
    blobs = ValueBlobs(tmp_path / "there")
    return ClusterResults(
        Cluster(access()), blobs=blobs, store=store, note=notes.append
    )


def document_of(digest: Digest, size: int) -> dict[str, object]:
    """Return a part of outputs as files have it."""
    return {"$file": {"name": "x", "data": {"$blob": str(digest), "size": size}}}


def test_both_caches_are_results(tmp_path: Path, results: ClusterResults) -> None:
    both: list[Results] = [ResultCache(tmp_path), results]
    assert {item.key(task="env.f", version="1", inputs={"x": 1}) for item in both} == {
        KEY
    }
    for item in both:
        item.put(KEY, {"y": 1}, task="env.f")
        assert item.get(KEY) == {"y": 1}


def test_what_is_put_is_got_elsewhere(
    results: ClusterResults,
    elsewhere: ClusterResults,
    objects: Cluster,
    here: ValueBlobs,
    tmp_path: Path,
    notes: list[str],
) -> None:
    small, large = here.put_bytes(b"small"), here.put_bytes(bytes(BOUND))
    outputs = [document_of(small, 5), {"deep": [document_of(large, BOUND), "ü"]}]
    assert elsewhere.get(KEY, "default") == "default"
    results.put(KEY, outputs, task="env.task that is called oddly")

    assert elsewhere.get(KEY) == outputs
    there = ValueBlobs(tmp_path / "there")
    assert there.read(small) == b"small"
    assert there.read(large) == bytes(BOUND)
    labels = objects.get("ConfigMap", NAME)["metadata"]["labels"]
    assert labels["imagekit/kind"] == "cached"
    assert labels["app.kubernetes.io/managed-by"] == "imagekit"
    assert labels["imagekit/task"].startswith("env.task-that-is-called-oddly-")
    assert notes == []


def test_absent_and_replaced(
    results: ClusterResults, objects: Cluster, here: ValueBlobs
) -> None:
    digest = here.put_bytes(b"content")
    results.put(KEY, [document_of(digest, 7), "long" * 10_000])
    results.put(KEY, {"y": 2})

    assert results.get(KEY) == {"y": 2}
    found = objects.get("ConfigMap", NAME)
    assert list(found["data"]) == ["document.json"]
    assert not found.get("binaryData")
    results.put(KEY, None)
    assert results.get(KEY, "default") is None
    with pytest.raises(TypeError):
        results.put(KEY, {1, 2})


@pytest.mark.parametrize(
    "damage",
    [
        {"data": {"document.json": "{"}},
        {"data": {"document.json": "[]"}},
        {"data": {"document.json": None}},
        {"data": {"document.json": '{"format":1,"key":"x","outputs":1,"sha256":"x"}'}},
        {"binaryData": {f"blob.{'0' * 64}": "eA=="}},
    ],
)
def test_damaged_entries_are_none(
    results: ClusterResults, objects: Cluster, notes: list[str], damage: Any
) -> None:
    results.put(KEY, "good")
    objects.patch("ConfigMap", NAME, damage)

    assert results.get(KEY, "default") == "default"
    assert len(notes) == 1
    assert "a kept result" in notes[0]


def test_an_entry_whose_blob_is_gone(
    results: ClusterResults,
    elsewhere: ClusterResults,
    here: ValueBlobs,
    store: FolderData,
    notes: list[str],
) -> None:
    digest = here.put_bytes(bytes(BOUND))
    results.put(KEY, document_of(digest, BOUND))
    ValueBlobs(store.name).path(digest).unlink()

    assert elsewhere.get(KEY, "default") == "default"
    assert notes == [
        f"a kept result can't be used: no blob {digest} in {store.name}",
    ]


def test_what_is_too_large_is_not_kept(
    objects: Cluster, here: ValueBlobs, notes: list[str]
) -> None:
    results = ClusterResults(objects, blobs=here, store=None, note=notes.append)
    digest = here.put_bytes(bytes(BOUND))
    results.put(KEY, document_of(digest, BOUND), task="env.f")

    assert results.get(KEY, "default") == "default"
    assert len(notes) == 1
    assert notes[0].startswith("the result of 'env.f' is not kept: values of ")


def test_a_quota_that_is_used_up(
    cluster: Machine, tmp_path: Path, notes: list[str]
) -> None:
    with cluster.namespace() as name:
        path = f"/api/v1/namespaces/{name}/resourcequotas"
        body = {"metadata": {"name": "q"}, "spec": {"hard": {"configmaps": "1"}}}
        cluster.request("POST", path, body)
        cluster.wait_for(
            f"{path}/q",
            lambda found: (
                found.get("status", {}).get("used", {}) == {"configmaps": "1"}
            ),
        )
        kubeconfig = cluster.user(name, pod_rules())
        api = client_api(kubeconfig=str(kubeconfig), patience=1)
        results = ClusterResults(
            Cluster(api), blobs=ValueBlobs(tmp_path), store=None, note=notes.append
        )
        results.put(KEY, 1)
        api.close()

    assert len(notes) == 1
    assert "not kept: the quota 'q' is exceeded" in notes[0]


def test_an_api_that_is_away(
    access: Callable[[], FaultyApi], here: ValueBlobs, notes: list[str]
) -> None:
    api = access()
    results = ClusterResults(Cluster(api), blobs=here, store=None, note=notes.append)
    api.is_down = True
    results.put(KEY, 1, task="env.f")

    assert results.get(KEY, "default") == "default"
    assert notes == [
        "the result of 'env.f' is not kept: nothing answers",
        "a kept result can't be used: nothing answers",
    ]


async def cached(results: ClusterResults, computed: list[str]) -> None:
    """Compute a result unless it is there, in the way in which tasks are run."""
    async with results.serialized(KEY):
        if await asyncio.to_thread(results.get, KEY) is None:
            computed.append(KEY)
            await asyncio.sleep(0.02)
            await asyncio.to_thread(results.put, KEY, KEY)


def test_one_computes_in_loops_and_pods(
    results: ClusterResults, elsewhere: ClusterResults, objects: Cluster
) -> None:
    computed: list[str] = []

    async def many(pod: ClusterResults) -> None:
        await asyncio.gather(*(cached(pod, computed) for _ in range(10)))

    with ThreadPoolExecutor(3) as threads:
        list(
            threads.map(
                lambda pod: asyncio.run(many(pod)), [results, elsewhere, elsewhere]
            )
        )

    assert computed == [KEY]
    assert objects.find("Lease", NAME) is None


def test_a_waiter_can_be_cancelled(
    results: ClusterResults, elsewhere: ClusterResults, objects: Cluster
) -> None:
    async def run() -> None:
        async with results.serialized(KEY):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(cached(elsewhere, []), 0.3)
            assert objects.find("Lease", NAME) is not None
        # And nothing is left locked.
        await asyncio.wait_for(cached(elsewhere, []), 10)

    asyncio.run(run())
    assert objects.find("Lease", NAME) is None


def locks(api: Api, notes: list[str], seconds: int = 2) -> LeaseLocks:
    return LeaseLocks(
        Cluster(api),
        labels={"imagekit/kind": "cached"},
        note=notes.append,
        seconds=seconds,
    )


class SlowApi(FaultyApi):
    """Its creates are answered when *goes_on* is set."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self.goes_on = Event()

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        answer = super().request(method, path, body, **options)
        if method == "POST":
            self.goes_on.wait()
        return answer


def test_who_is_cancelled_while_it_acquires_lets_go(
    access: Callable[[], FaultyApi], objects: Cluster, notes: list[str]
) -> None:
    async def run() -> None:
        slow = SlowApi(access())
        # Not when it expires: the lease would last for ten minutes.
        holding = locks(slow, notes, seconds=600).held(NAME)
        acquiring = asyncio.ensure_future(holding.__aenter__())
        await asyncio.to_thread(slow.created.wait)
        acquiring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await acquiring
        slow.goes_on.set()
        async with locks(access(), notes).held(NAME):
            pass

    asyncio.run(asyncio.wait_for(run(), 30))
    assert objects.find("Lease", NAME) is None


def test_a_holder_that_lives_is_waited_for(
    access: Callable[[], FaultyApi], notes: list[str]
) -> None:
    """It renews its lease, longer than the lease lasts."""
    order: list[str] = []

    async def hold() -> None:
        async with locks(access(), notes).held(NAME):
            held.set()
            await asyncio.sleep(3.5)
            order.append("holder")

    async def run() -> None:
        holding = asyncio.create_task(hold())
        await held.wait()
        async with locks(access(), notes).held(NAME):
            order.append("waiter")
        await holding

    held = asyncio.Event()
    asyncio.run(run())
    assert order == ["holder", "waiter"]
    assert notes == []


def test_an_api_that_is_away_for_longer_than_a_lease_lasts(
    access: Callable[[], FaultyApi], notes: list[str]
) -> None:
    """Who could not renew its lease is not taken for dead."""
    order: list[str] = []

    async def run() -> None:
        holding_api, waiting_api = access(), access()

        async def wait() -> None:
            async with locks(waiting_api, notes).held(NAME):
                order.append("waiter")

        async with locks(holding_api, notes).held(NAME):
            waiting = asyncio.create_task(wait())
            await asyncio.to_thread(waiting_api.created.wait)
            holding_api.is_down = waiting_api.is_down = True
            await asyncio.sleep(3)
            waiting_api.is_down = False
            await asyncio.sleep(1)
            holding_api.is_down = False
            await asyncio.sleep(2)
            order.append("holder")
        await waiting

    asyncio.run(asyncio.wait_for(run(), 60))
    assert order == ["holder", "waiter"]
    assert f"waiting for the lease {NAME}: nothing answers" in notes
    assert f"can't renew the lease {NAME}: nothing answers" in notes


def test_a_lease_that_is_lost(
    access: Callable[[], FaultyApi], objects: Cluster, notes: list[str]
) -> None:
    """Who is away for too long loses it, and leaves that of the next one alone."""
    lost = Event()

    def note(text: str) -> None:
        if text == f"the lease {NAME} was lost to another":
            lost.set()

    async def run() -> None:
        away = access()
        losing = LeaseLocks(Cluster(away), labels={}, note=note, seconds=2)
        async with losing.held(NAME):
            away.is_down = True
            async with locks(access(), notes).held(NAME):
                away.is_down = False
                await asyncio.to_thread(lost.wait)
                taken = objects.get("Lease", NAME)
                assert taken["spec"]["leaseTransitions"] == 1
        assert objects.find("Lease", NAME) is None

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_process_that_is_killed_lets_go(
    pod_kubeconfig: Path, access: Callable[[], FaultyApi], notes: list[str]
) -> None:
    program = """
import asyncio, sys
from imagekit.cluster.api import Cluster
from imagekit.cluster.kubeconfig import client_api
from imagekit.running.cluster.lease_lock import LeaseLocks
async def hold():
    cluster = Cluster(client_api(kubeconfig=sys.argv[1]))
    locks = LeaseLocks(cluster, labels={}, note=print, seconds=2)
    async with locks.held(sys.argv[2]):
        print("held", flush=True)
        await asyncio.sleep(600)
asyncio.run(hold())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(pod_kubeconfig), NAME],
        stdout=subprocess.PIPE,
    )

    async def run() -> None:
        async with locks(access(), notes).held(NAME):
            pass

    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            process.kill()
            asyncio.run(asyncio.wait_for(run(), 30))
        finally:
            process.kill()
    assert notes == []


def test_who_may_not_have_leases(cluster: Machine, notes: list[str]) -> None:
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]
    with cluster.namespace() as name:
        api = client_api(kubeconfig=str(cluster.user(name, rules)))

        async def run() -> None:
            async with locks(api, notes).held(NAME):
                pass

        with pytest.raises(ForbiddenError, match="may not create leases"):
            asyncio.run(run())
        api.close()
