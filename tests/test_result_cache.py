"""Results that are kept, and who computes them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagekit.result_cache import ResultCache
from imagekit.task_errors import RuntimeSystemError

KEY = ResultCache.key(task="env.f", version="1", inputs={"x": 1})


@pytest.fixture
def cache(tmp_path: Path) -> ResultCache:
    return ResultCache(tmp_path / "cache")


def test_keys() -> None:
    assert len(KEY) == 64
    assert ResultCache.key(inputs={"x": 1}, version="1", task="env.f") == KEY
    assert ResultCache.key(a={"x": 1, "y": 2}) == ResultCache.key(a={"y": 2, "x": 1})
    others = [
        ResultCache.key(task="env.f", version="1", inputs={"x": value})
        for value in (2, 1.0, "1", True, None, [1])
    ]
    assert len({KEY, *others}) == 7
    with pytest.raises(TypeError):
        ResultCache.key(inputs={1, 2})


def test_a_key_is_the_same_in_every_process() -> None:
    program = (
        "from imagekit.result_cache import ResultCache as R;"
        "print(R.key(task='env.f', version='1', inputs={'x': 1}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )

    assert done.stdout.strip() == KEY


@given(
    st.recursive(
        st.integers() | st.text() | st.floats(allow_nan=False) | st.booleans(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_what_is_put_is_got(
    tmp_path_factory: pytest.TempPathFactory, outputs: object
) -> None:
    cache = ResultCache(tmp_path_factory.mktemp("cache"))
    cache.put(KEY, outputs)

    assert cache.get(KEY) == outputs


def test_absent_and_replaced(cache: ResultCache) -> None:
    assert cache.get(KEY) is None
    cache.put(KEY, {"y": 1})
    cache.put(KEY, {"y": 2})

    assert cache.get(KEY) == {"y": 2}
    assert cache.get(ResultCache.key(other=1)) is None
    cache.put(KEY, None)
    assert cache.get(KEY, "default") is None
    assert cache.get(ResultCache.key(other=1), "default") == "default"
    with pytest.raises(TypeError):
        cache.put(KEY, {1, 2})


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-5],
        lambda data: data.replace(b"good", b"evil"),
        lambda data: data.replace(b'"version": 1', b'"version": 2'),
        lambda data: b"[]",
        lambda data: b"\xff\xfe",
    ],
)
def test_damaged_entries_are_none(cache: ResultCache, damage) -> None:  # type: ignore[no-untyped-def]
    cache.put(KEY, {"y": "good"})
    (path,) = cache.folder.rglob("*.json")
    damaged = damage(path.read_bytes())
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)

    assert cache.get(KEY) is None
    cache.put(KEY, {"y": "new"})
    assert cache.get(KEY) == {"y": "new"}


def test_an_entry_counts_while_its_blobs_are_there(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(b"x")
    cache = ResultCache(
        tmp_path / "cache", lambda outputs: Path(outputs["at"]).exists()
    )
    cache.put(KEY, {"at": str(blob)})

    assert cache.get(KEY) == {"at": str(blob)}
    blob.unlink()
    assert cache.get(KEY) is None


def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = ResultCache(tmp_path / "file")

    async def locked() -> None:
        async with cache.serialized(KEY):
            pass

    with pytest.raises(RuntimeSystemError, match="can't write"):
        cache.put(KEY, 1)
    with pytest.raises(RuntimeSystemError, match="can't write"):
        asyncio.run(locked())


async def cached(cache: ResultCache, key: str, computed: list[str]) -> None:
    """Compute a result unless it is there, in the way in which tasks are run."""
    async with cache.serialized(key):
        if cache.get(key) is None:
            computed.append(key)
            await asyncio.sleep(0.02)
            cache.put(key, key)


def test_one_computes_in_loops_and_threads(cache: ResultCache) -> None:
    computed: list[str] = []

    async def many() -> None:
        await asyncio.gather(*(cached(cache, KEY, computed) for _ in range(50)))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: asyncio.run(many()), range(4)))

    assert computed == [KEY]
    assert list((cache.folder / "locks").iterdir()) == []


def test_other_keys_do_not_wait(cache: ResultCache) -> None:
    async def nested() -> None:
        async with cache.serialized("one"), cache.serialized("two"):
            pass

    asyncio.run(asyncio.wait_for(nested(), 10))


def test_a_waiter_can_be_cancelled(cache: ResultCache) -> None:
    async def run() -> None:
        async with cache.serialized(KEY):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(cached(cache, KEY, []), 0.05)
        # And nothing is left locked.
        await asyncio.wait_for(cached(cache, KEY, []), 10)

    asyncio.run(run())


def test_a_process_that_is_killed_lets_go(cache: ResultCache) -> None:
    program = """
import asyncio, pathlib, sys
from imagekit.result_cache import ResultCache
async def hold():
    async with ResultCache(pathlib.Path(sys.argv[1])).serialized(sys.argv[2]):
        print("held", flush=True)
        await asyncio.sleep(600)
asyncio.run(hold())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(cache.folder), KEY], stdout=subprocess.PIPE
    )
    computed: list[str] = []

    async def run() -> None:
        waiting = asyncio.create_task(cached(cache, KEY, computed))
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        assert not done
        assert computed == []
        process.kill()
        await asyncio.wait_for(waiting, 10)

    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            asyncio.run(run())
        finally:
            process.kill()
    assert computed == [KEY]
