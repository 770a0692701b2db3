"""Calls of a task on a cluster, and what the cluster does to them; it is in memory."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from calls_in_memory import CALLER, Calls

from imagekit import ReusePolicy, Timeout
from imagekit.cluster.api_errors import ForbiddenError, QuotaError
from imagekit.cluster.refusal import quota_error
from imagekit.running.cluster import (
    departures,
    job_executor,
    pool_executor,
    siblings,
)
from imagekit.running.cluster.callee_executor import CalleeExecutor
from imagekit.running.cluster.pod_events import PATIENCE, no_pod
from imagekit.running.cluster.pool_claims import PooledCall, claim
from imagekit.task_errors import RuntimeSystemError, TaskInterruptedError
from imagekit.task_settings import TaskSettings


@pytest.fixture
def calls(tmp_path: Path) -> Calls:
    return Calls(tmp_path)


@pytest.fixture
def pooled(tmp_path: Path) -> Calls:
    return Calls(
        tmp_path, TaskSettings(reusable=ReusePolicy(replicas=1, concurrency=2))
    )


def run(calls: Calls, work: Any, *, most: int = 100) -> Any:
    """Return what *work* returns, given what runs calls."""

    async def main() -> Any:
        executor = CalleeExecutor.of(calls.objects, CALLER, most=most)
        try:
            return await work(executor)
        finally:
            executor.close()

    found = asyncio.run(main())
    calls.api.wait(lambda: calls.api.watching == 0)
    return found


# Watches that die


def test_calls_after_a_watch_has_died(calls: Calls) -> None:
    async def work(executor: CalleeExecutor) -> list[Any]:
        lost = asyncio.create_task(executor.execute(calls.attempt(), calls.placed))
        await calls.do(calls.pod, "a0.1")
        await calls.do(calls.api.wait, lambda: calls.api.watching == 2)
        calls.api.break_watches(ForbiddenError("not now"))
        with pytest.raises(RuntimeSystemError, match="not now"):
            await lost
        later = [
            asyncio.create_task(executor.execute(calls.attempt(name), calls.placed))
            for name in ("a0.2", "a0.3")
        ]
        for name in ("a0.2", "a0.3"):
            await calls.do(calls.pod, name)
            await calls.do(calls.result, name, name)
            await calls.do(calls.pod, name, "Succeeded")
        return await asyncio.gather(*later)

    assert run(calls, work) == ["a0.2", "a0.3"]


def test_calls_of_pools_after_a_watch_has_died(pooled: Calls) -> None:
    calls = pooled

    def is_made(action: str) -> bool:
        names = [item["metadata"]["name"] for item in calls.api.of_kind("ConfigMap")]
        return calls.name_of(action) in names

    async def begun(executor: CalleeExecutor, action: str) -> asyncio.Task[Any]:
        task = asyncio.create_task(
            executor.execute(calls.attempt(action), calls.placed)
        )
        await calls.do(calls.api.wait, lambda: is_made(action))
        # Calls and pods of the pool, pods and results of the caller.
        await calls.do(calls.api.wait, lambda: calls.api.watching == 4)
        return task

    async def work(executor: CalleeExecutor) -> Any:
        lost = await begun(executor, "a0.1")
        calls.api.break_watches(ForbiddenError("not now"))
        with pytest.raises(RuntimeSystemError, match="not now"):
            await lost
        task = await begun(executor, "a0.2")
        await calls.do(calls.result, "a0.2", 7)
        return await task

    assert run(calls, work) == 7


# Pods that wait

UNSCHEDULABLE = {
    "conditions": [
        {"type": "PodScheduled", "status": "False", "message": "too much cpu"}
    ]
}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pods that wait for nodes give up soon, where no task says how long."""
    monkeypatch.setattr(siblings, "PENDING", 0.1)


@pytest.mark.usefixtures("short")
def test_a_pod_may_wait_for_as_long_as_its_task_says(calls: Calls) -> None:
    async def work(executor: CalleeExecutor) -> Any:
        bounded = calls.attempt("a0.1", timeout=Timeout(max_queued_time=1000))
        patient = asyncio.create_task(executor.execute(bounded, calls.placed))
        other = executor.execute(calls.attempt("a0.2"), calls.placed)
        hasty = asyncio.create_task(other)
        for name in ("a0.1", "a0.2"):
            await calls.do(calls.pod, name, "Pending", **UNSCHEDULABLE)
        with pytest.raises(RuntimeSystemError, match="no node takes the pod"):
            await hasty
        assert not patient.done()
        assert "too much cpu" in str(executor.delay(bounded))
        await calls.do(calls.result, "a0.1", 1)
        await calls.do(calls.pod, "a0.1", "Succeeded")
        return await patient

    assert run(calls, work) == 1


@pytest.mark.usefixtures("short")
def test_a_pod_may_wait_behind_its_siblings(calls: Calls) -> None:
    async def work(executor: CalleeExecutor) -> list[Any]:
        first, second = (
            asyncio.create_task(executor.execute(calls.attempt(name), calls.placed))
            for name in ("a0.1", "a0.2")
        )
        await calls.do(calls.pod, "a0.1", "Running")
        await calls.do(calls.pod, "a0.2", "Pending", **UNSCHEDULABLE)
        done, _ = await asyncio.wait({second}, timeout=3)
        assert not done
        await calls.do(calls.result, "a0.1", 1)
        await calls.do(calls.pod, "a0.1", "Succeeded")
        with pytest.raises(RuntimeSystemError, match="no node takes the pod"):
            await second
        return [await first]

    assert run(calls, work) == [1]


@pytest.mark.usefixtures("short")
def test_a_pool_may_wait_behind_jobs(pooled: Calls) -> None:
    calls = pooled

    async def work(executor: CalleeExecutor) -> None:
        alone = calls.attempt("a0.1", reusable=None)
        first = asyncio.create_task(executor.execute(alone, calls.placed))
        await calls.do(calls.pod, "a0.1", "Running")
        waiting = executor.execute(calls.attempt("a0.2"), calls.placed)
        second = asyncio.create_task(waiting)
        await calls.do(calls.api.wait, lambda: len(calls.api.of_kind("Pod")) > 1)
        pod = next(
            pod for pod in calls.api.of_kind("Pod") if "pool" in pod["metadata"]["name"]
        )
        calls.api.put({**pod, "status": {"phase": "Pending", **UNSCHEDULABLE}})
        done, _ = await asyncio.wait({second}, timeout=3)
        assert not done
        await calls.do(calls.result, "a0.1", 1)
        await calls.do(calls.pod, "a0.1", "Succeeded")
        await first
        with pytest.raises(RuntimeSystemError, match="no node takes the pod"):
            await second

    run(calls, work)


# Quotas, and what else refuses Jobs and pods


def exceeded(name: str, used: int, limited: int) -> str:
    return (
        f"exceeded quota: few, requested: {name}=1, used: {name}={used}, "
        f"limited: {name}={limited}"
    )


class JobQuota:
    """A quota of Jobs in the namespace."""

    def __init__(self, calls: Calls, most: int) -> None:
        self.calls = calls
        self.most = most
        self.refused = 0
        calls.api.refuse = self

    def __call__(self, method: str, path: str, body: Any) -> None:
        # There is that of the caller beside them.
        used = len(self.calls.api.of_kind("Job")) - 1
        if method == "POST" and body["kind"] == "Job" and used >= self.most:
            with self.calls.api.changed:
                self.refused += 1
                self.calls.api.changed.notify_all()
            error = quota_error(exceeded("count/jobs.batch", used, self.most))
            assert error is not None
            raise error
        del path


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Jobs be tried again soon."""
    monkeypatch.setattr(job_executor, "_AGAIN", 0.05)


@pytest.mark.usefixtures("often")
def test_a_job_waits_for_room_in_a_quota(calls: Calls) -> None:
    quota = JobQuota(calls, 0)

    async def work(executor: CalleeExecutor) -> Any:
        attempt = calls.attempt()
        task = asyncio.create_task(executor.execute(attempt, calls.placed))
        await calls.do(calls.api.wait, lambda: quota.refused > 2)
        assert "the quota 'few' is exceeded" in str(executor.delay(attempt))
        quota.most = 1
        await calls.do(calls.pod, "a0.1")
        await calls.do(calls.result, "a0.1", 5)
        await calls.do(calls.pod, "a0.1", "Succeeded")
        return await task

    assert run(calls, work) == 5


@pytest.mark.usefixtures("often", "short")
def test_a_quota_that_leaves_no_room(calls: Calls) -> None:
    JobQuota(calls, 0)

    async def work(executor: CalleeExecutor) -> None:
        with pytest.raises(QuotaError, match="'few' is exceeded") as caught:
            await executor.execute(calls.attempt(), calls.placed)
        assert "have the quota raised" in str(caught.value.hint)

    run(calls, work)


def test_a_call_can_be_given_up_while_it_waits_for_room(calls: Calls) -> None:
    quota = JobQuota(calls, 0)

    async def work(executor: CalleeExecutor) -> None:
        task = asyncio.create_task(executor.execute(calls.attempt(), calls.placed))
        await calls.do(calls.api.wait, lambda: quota.refused > 0)
        task.cancel()
        await asyncio.wait({task}, timeout=2)
        assert task.cancelled()

    run(calls, work)


@pytest.mark.usefixtures("often", "short")
def test_jobs_that_have_ended_make_room(calls: Calls) -> None:
    JobQuota(calls, 2)
    actions = [f"a0.{number}" for number in range(1, 7)]

    async def work(executor: CalleeExecutor) -> list[Any]:
        found = []
        for name in actions:
            task = asyncio.create_task(
                executor.execute(calls.attempt(name), calls.placed)
            )
            await calls.do(calls.pod, name)
            await calls.do(calls.result, name, name)
            await calls.do(calls.pod, name, "Succeeded")
            found.append(await task)
            await executor.settled()
        return found

    assert run(calls, work) == actions
    left = {job["metadata"]["name"] for job in calls.api.of_kind("Job")}
    assert left == {CALLER, *map(calls.name_of, actions[-2:])}


def event(calls: Calls, number: int, message: str, **times: Any) -> None:
    calls.api.put(
        {
            "kind": "Event",
            "metadata": {"name": f"event-{number}"},
            "involvedObject": {"kind": "Job", "name": "j"},
            "reason": "FailedCreate",
            "message": f"Error creating: {message}",
            **times,
        }
    )


def test_a_quota_that_events_tell_of_is_typed(calls: Calls) -> None:
    event(calls, 1, f'pods "j-x" is forbidden: {exceeded("pods", 2, 2)}')
    found = no_pod(calls.cluster, "j")
    assert found is not None
    assert found.patience is None
    assert isinstance(found.error, QuotaError)
    assert (found.error.quota, found.error.limited) == ("few", {"pods": "2"})
    assert str(found.error).startswith("the Job 'j' gets no pod: the quota 'few' is")
    assert no_pod(calls.cluster, "another") is None


def test_the_last_event_counts(calls: Calls) -> None:
    event(calls, 1, "the last", lastTimestamp="2026-01-01T00:00:09Z")
    event(calls, 2, "before", eventTime="2026-01-01T00:00:08.5Z", lastTimestamp=None)
    event(calls, 3, "first", lastTimestamp="2025-12-31T23:59:59Z")
    found = no_pod(calls.cluster, "j")
    assert found is not None
    assert found.error.message.endswith("the last")


@pytest.mark.parametrize(
    ("message", "hint", "patience"),
    [
        (
            'pods "j-x" is forbidden: error looking up service account team/runner: x',
            "create the service account",
            PATIENCE,
        ),
        (
            'pods "j-x" is forbidden: violates PodSecurity "restricted:latest": x',
            "Pod Security level",
            PATIENCE,
        ),
        (
            'admission webhook "no.example.com" denied the request: no',
            "a policy of the cluster",
            PATIENCE,
        ),
        (
            'pods "j-x" is forbidden: maximum cpu usage per Container is 1',
            "a limit or policy",
            PATIENCE,
        ),
        (
            'pods "j-x" is forbidden: failed quota: few: must specify limits.cpu',
            "have the quota raised",
            PATIENCE,
        ),
        (
            'pods "j-x" is forbidden: status unknown for quota: few, resources: pods',
            None,
            None,
        ),
        ('Internal error: failed calling webhook "no.example.com"', None, None),
    ],
)
def test_other_reasons_are_not_blamed_on_quotas(
    calls: Calls, message: str, hint: str | None, patience: float | None
) -> None:
    event(calls, 1, message)
    found = no_pod(calls.cluster, "j")
    assert found is not None
    assert found.patience == patience
    assert (hint or "None") in str(found.error.hint)


# Nodes that are lost


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pods that should be gone be given up at once."""
    monkeypatch.setattr(departures, "_MARGIN", 0.2)


@pytest.mark.usefixtures("impatient")
def test_a_job_whose_node_is_lost(calls: Calls) -> None:
    async def work(executor: CalleeExecutor) -> None:
        task = asyncio.create_task(executor.execute(calls.attempt(), calls.placed))
        calls.going(await calls.do(calls.pod, "a0.1"), 0)
        with pytest.raises(TaskInterruptedError, match="was interrupted"):
            await task
        # What is left of it is not to make another pod.
        assert [job["metadata"]["name"] for job in calls.api.of_kind("Job")] == [CALLER]

    run(calls, work)


@pytest.mark.usefixtures("impatient")
def test_a_result_of_a_node_that_is_lost(calls: Calls) -> None:
    async def work(executor: CalleeExecutor) -> Any:
        task = asyncio.create_task(executor.execute(calls.attempt(), calls.placed))
        pod = await calls.do(calls.pod, "a0.1")
        calls.going(pod, 600)
        done, _ = await asyncio.wait({task}, timeout=1.5)
        assert not done  # it has all the time that it was given
        await calls.do(calls.result, "a0.1", 3)
        calls.api.remove("Pod", pod["metadata"]["name"])
        return await task

    assert run(calls, work) == 3


@pytest.mark.usefixtures("impatient")
def test_a_pool_whose_node_is_lost(
    pooled: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = pooled
    monkeypatch.setattr(pool_executor, "_RUNNING", 0.1)

    def pods() -> list[Any]:
        return calls.api.of_kind("Pod")

    async def work(executor: CalleeExecutor) -> None:
        task = asyncio.create_task(executor.execute(calls.attempt(), calls.placed))
        await calls.do(calls.api.wait, lambda: len(pods()) == 1)
        [pod] = pods()
        pod = calls.api.put({**pod, "status": {"phase": "Running"}})
        name = calls.name_of("a0.1")
        seen = PooledCall.of(calls.cluster.get("ConfigMap", name)["metadata"])
        claim(calls.cluster, seen, pod["metadata"]["name"], pod["metadata"]["uid"])
        calls.going(pod, 0)
        with pytest.raises(TaskInterruptedError, match="was interrupted"):
            await task
        # The next call gets a pod in place of that one.
        waiting = executor.execute(calls.attempt("a0.2"), calls.placed)
        other = asyncio.create_task(waiting)
        await calls.do(
            calls.api.wait,
            lambda: (
                [item["metadata"]["uid"] for item in pods()]
                not in ([], [pod["metadata"]["uid"]])
            ),
        )
        await calls.do(calls.result, "a0.2", 1)
        await other

    run(calls, work)
