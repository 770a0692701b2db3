"""Runs that are cancelled while nodes do not answer; the cluster is in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from calls_in_memory import CALLER, Calls

from imagekit.cluster import names
from imagekit.cluster.documents import DOCUMENT
from imagekit.failures import decode_failure
from imagekit.remote import cancelling
from imagekit.remote.cancelling import cancel_run
from imagekit.remote.known_run import KnownRun
from imagekit.running.cluster import departures
from imagekit.task_errors import RunAbortedError, RuntimeSystemError

LABELS = {names.MANAGED_BY: names.MANAGER, names.RUN: "run"}


@pytest.fixture
def calls(tmp_path: Path) -> Calls:
    return Calls(tmp_path)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as found:
        yield found


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pods that should be gone be given up soon."""
    monkeypatch.setattr(departures, "_MARGIN", 0.2)
    monkeypatch.setattr(cancelling, "_LOOK", 0.1)


def pod(calls: Calls, name: str) -> Any:
    metadata = {"name": name, "uid": name, "labels": LABELS}
    status = {"phase": "Running"}
    return calls.api.put({"kind": "Pod", "metadata": metadata, "status": status})


def cancelled(calls: Calls, threads: ThreadPoolExecutor) -> Future[bool]:
    """Cancel the run, and return what comes of it."""
    metadata = {"name": names.run_name("run"), "labels": LABELS}
    data = {DOCUMENT: json.dumps(calls.run.to_json())}
    owner = {**calls.owner, "metadata": calls.owner["metadata"] | metadata}
    run = KnownRun.of(calls.api.put({**owner, "data": data}))
    return threads.submit(cancel_run, calls.cluster, run)


def end_of(calls: Calls) -> BaseException:
    result = calls.objects.result(CALLER)
    assert result is not None
    return decode_failure(result.error)


def test_pods_that_end_are_waited_for(
    calls: Calls, threads: ThreadPoolExecutor
) -> None:
    one, two = pod(calls, "one"), pod(calls, "two")
    found = cancelled(calls, threads)
    calls.going(one, 600)
    calls.going(two, 600)
    calls.api.remove("Pod", "one")
    with pytest.raises(TimeoutError):
        found.result(1)
    calls.api.remove("Pod", "two")
    assert found.result(10)
    assert isinstance(end_of(calls), RunAbortedError)


def test_pods_whose_node_is_lost_are_named(
    calls: Calls, threads: ThreadPoolExecutor
) -> None:
    one, two = pod(calls, "one"), pod(calls, "two")
    found = cancelled(calls, threads)
    calls.going(one, 0)
    calls.going(two, 0)
    with pytest.raises(RuntimeSystemError, match="its pods one, two have ended"):
        found.result(10)
    assert isinstance(end_of(calls), RunAbortedError)


def test_pods_that_nobody_tells_to_end_are_named(
    calls: Calls, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancelling, "_BEGIN", 0.5)
    pod(calls, "one")
    with pytest.raises(RuntimeSystemError, match="its pods one have ended"):
        cancelled(calls, threads).result(10)
    assert isinstance(end_of(calls), RunAbortedError)


def test_a_run_without_pods(calls: Calls, threads: ThreadPoolExecutor) -> None:
    assert cancelled(calls, threads).result(10)
    assert isinstance(end_of(calls), RunAbortedError)
