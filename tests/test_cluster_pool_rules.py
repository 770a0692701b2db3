"""Pools without a cluster: who shares pods, how many there are, who would wait for ever."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from cluster_environments import drawn, environment_document, options_of
from hypothesis import given, settings
from hypothesis import strategies as st

from imagekit import ReusePolicy
from imagekit.cluster import names
from imagekit.cluster.documents import EnvironmentDocument, RunDocument, TaskDocument
from imagekit.cluster.manifests import environment_objects
from imagekit.context import ActionID
from imagekit.records import replace
from imagekit.redaction import Redactor
from imagekit.running.cluster.deployed import Deployed
from imagekit.running.cluster.pod_output import PodOutput, Printing
from imagekit.running.cluster.pool_claims import (
    OPEN,
    PooledCall,
    is_nested,
    would_never_run,
)
from imagekit.running.cluster.pool_idle import PoolIdle
from imagekit.running.cluster.pool_pods import (
    LOG_TOKEN,
    Pool,
    PoolPlace,
    may_be_pooled,
    pool_of,
)
from imagekit.running.container.pool import PoolLimits
from imagekit.runtime.log_marks import MarkedOutput, own_part
from imagekit.task_errors import RuntimeSystemError
from imagekit.task_settings import TaskSettings

POLICY = ReusePolicy(replicas=(1, 3), concurrency=2, idle_ttl=60, scaledown_ttl=30)
LIMITS = PoolLimits.of(POLICY)


# Who shares pods.


class _Objects:
    """What was deployed, as a cluster has it."""

    def __init__(self, document: EnvironmentDocument, seed: int) -> None:
        made = environment_objects(document, options_of(Random(seed)))
        self.there = {(item["kind"], item["metadata"]["name"]): item for item in made}
        for number, item in enumerate(made):
            item["metadata"]["uid"] = f"uid-{number}"

    def find(self, kind: str, name: str) -> Any:
        return self.there.get((kind, name))


def environment(seed: int) -> EnvironmentDocument:
    """Return an environment that is reused, with two tasks that are alike."""
    document = environment_document(Random(seed))
    [task, *_] = document.tasks
    settings = replace(
        task.settings,
        reusable=POLICY,
        pod_template=None
        if isinstance(task.settings.pod_template, str)
        else task.settings.pod_template,
    )
    one = replace(task, settings=settings)
    two = replace(
        one, name=f"{document.name}.other", template=f"{one.template[:50]}-other"
    )
    return replace(document, tasks=(one, two))


def pool(
    document: EnvironmentDocument,
    task: TaskDocument,
    *,
    seed: int = 0,
    override: dict[str, Any] | None = None,
    **run: Any,
) -> Pool:
    objects: Any = _Objects(document, seed)
    described = names.environment_name(document.name, document.version)
    known = RunDocument(
        **{
            "name": "run",
            "task": task.name,
            "version": "v",
            "environments": {document.name: described},
            "started": 0.0,
            **run,
        }
    )
    settings = replace(task.settings, **(override or {}))
    return pool_of(Deployed(objects, known), known, task.name, settings)


@given(st.integers(0, 500))
@settings(max_examples=20, deadline=None)
def test_runs_and_tasks_of_an_environment_share_pods(seed: int) -> None:
    document = environment(seed)
    one, two = document.tasks

    found = pool(document, one)

    assert pool(document, two) == found
    assert pool(document, one, name="another", started=7.0, most=3) == found
    assert may_be_pooled(found.pod_name(0))
    assert len(found.pod_name(LIMITS.most)) <= names.NAME_LENGTH
    assert names.label_value(found.name) == found.name


@pytest.mark.parametrize(
    ("override", "run"),
    [
        ({"env_vars": (("LEVEL", "another"),)}, {}),
        ({"reusable": ReusePolicy(replicas=2)}, {}),
        ({"interruptible": True}, {}),
        ({}, {"service_account": "another"}),
        ({}, {"labels": (("crew", "blue"),)}),
        ({}, {"annotations": (("note", "blue"),)}),
        ({}, {"raw_data_path": "pvc://claim/x"}),
    ],
)
def test_what_makes_other_pods_makes_another_pool(
    override: dict[str, Any], run: dict[str, Any]
) -> None:
    document = environment(3)
    task = replace(
        document.tasks[0],
        settings=TaskSettings(reusable=POLICY, env_vars=(("LEVEL", "one"),)),
    )
    document = replace(document, tasks=(task,))

    assert (
        pool(document, task).name != pool(document, task, override=override, **run).name
    )


def test_pods_know_their_place() -> None:
    document = environment(1)
    found = pool(document, document.tasks[0], labels=(("crew", "blue"),))

    first, second = found.manifest(0), found.manifest(1)

    place = PoolPlace.of(first)
    assert (place.index, place.limits) == (0, LIMITS)
    assert PoolPlace.of(second).index == 1
    assert place.token != PoolPlace.of(second).token
    assert first["metadata"]["annotations"][LOG_TOKEN] == place.token
    labels = first["metadata"]["labels"]
    assert labels[names.POOL] == found.name
    assert labels["crew"] == "blue"
    # It is of no run and no task.
    assert {names.RUN, names.TASK} & labels.keys() == set()
    assert first["metadata"]["ownerReferences"] == [found.owner]
    del first["metadata"]["annotations"]["imagekit/pool-place"]
    with pytest.raises(RuntimeSystemError, match="format 1"):
        PoolPlace.of(first)


# How many there are.


def pods_of(found: Pool, states: list[str]) -> dict[str, Any]:
    """Return pods; *states* has one for each number."""
    pods = {}
    for index, state in enumerate(states):
        pod = found.manifest(index)
        if state == "none":
            continue
        pod["status"] = {"phase": "Succeeded" if state == "over" else state}
        if state == "going":
            pod["status"] = {"phase": "Running"}
            pod["metadata"]["deletionTimestamp"] = "now"
        pods[pod["metadata"]["name"]] = pod
    return pods


STATES = st.sampled_from(["none", "over", "going", "Pending", "Running"])


@given(
    st.integers(0, 3),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(0, 40),
    st.lists(STATES, max_size=7),
)
def test_there_are_as_many_pods_as_calls_want(
    fewest: int, more: int, concurrency: int, calls: int, states: list[str]
) -> None:
    most = fewest + more
    limits = replace(LIMITS, fewest=fewest, most=most, concurrency=concurrency)
    found = replace(_POOL, limits=limits)
    states = states[:most]
    pods = pods_of(found, states)

    missing = found.missing(calls, pods)

    alive = sum(state in ("Pending", "Running") for state in states)
    assert alive + len(missing) <= most
    assert len(set(missing)) == len(missing)
    for index in missing:
        state = states[index] if index < len(states) else "none"
        assert state in ("none", "over")
    if not calls:
        assert missing == []
        return
    places = (alive + len(missing)) * concurrency
    blocked = states.count("going")
    enough = places >= calls and alive + len(missing) >= fewest
    # Or there can't be more now.
    assert enough or alive + len(missing) + blocked == most
    # Not one too many.
    if missing and alive + len(missing) > fewest:
        assert places - concurrency < calls


_POOL = pool(environment(1), environment(1).tasks[0])


# When they go.


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("index", "others", "left"),
    [(0, 0, 60.0), (0, 1, None), (1, 0, 30.0), (1, 1, 30.0), (2, 5, 30.0)],
)
def test_pods_go_when_they_are_idle(
    index: int, others: int, left: float | None
) -> None:
    clock = _Clock()
    idle = PoolIdle(LIMITS, index, clock=clock)
    idle.see(own=1, calls=1)
    clock.now += 1000
    assert idle.left() is None

    idle.see(own=0, calls=others)
    assert idle.left() == left
    clock.now += 10
    idle.see(own=0, calls=others)
    assert idle.left() == (left and left - 10)
    # Used again, it has all its time again.
    idle.see(own=1, calls=1)
    assert idle.left() is None
    idle.see(own=0, calls=others)
    assert idle.left() == left
    clock.now += 1000
    assert idle.left() == (left and 0)


def test_the_time_of_a_pool_begins_with_its_last_call() -> None:
    clock = _Clock()
    idle = PoolIdle(LIMITS, 0, clock=clock)
    idle.see(own=0, calls=1)
    clock.now += 50
    idle.see(own=0, calls=0)
    assert idle.left() == 60


# Who would wait for ever.


@dataclass
class _Task:
    """A task that calls others, one after the other.

    Attributes:
        pool: number of the pool that it runs in; None for a pod of its own.
    """

    action: str
    pool: int | None
    calls: list[_Task] = field(default_factory=list)


@dataclass
class _Plan:
    places: list[int]
    tasks: list[_Task]


def plan_of(random: Random) -> _Plan:
    places = [random.randint(1, 3) for _ in range(random.randint(1, 3))]

    def task(action: str, depth: int) -> _Task:
        count = random.randint(0, 2) if depth else 0
        return _Task(
            action,
            random.choice([None, *range(len(places))]),
            [task(f"{action}.{number + 1}", depth - 1) for number in range(count)],
        )

    tasks = [task(f"a0.{number}", 3) for number in range(random.randint(1, 5))]
    return _Plan(places, tasks)


class _Cluster:
    """Runs a plan, in any order that a cluster might, and as pools do it."""

    def __init__(self, plan: _Plan, random: Random) -> None:
        self.plan = plan
        self.random = random
        self.waiting: list[tuple[_Task, _Task | None]] = []
        self.running: dict[str, tuple[_Task, _Task | None, int]] = {}
        self.elsewhere: set[str] = set()
        self.done: set[str] = set()

    def run(self) -> None:
        for task in self.plan.tasks:
            self.begin(task, None)
        while self.waiting or self.running:
            steps = [*self.claims(), *self.advances()]
            if steps:
                self.random.choice(steps)()
                continue
            # Nothing moves: somebody has to notice.
            stuck = [item for item in self.waiting if self.never_runs(item[0])]
            assert stuck
            assert all(is_nested(action_of(task)) for task, _ in stuck)
            item = self.random.choice(stuck)
            self.waiting.remove(item)
            self.elsewhere.add(item[0].action)
            self.start(*item)

    def begin(self, task: _Task, caller: _Task | None) -> None:
        if task.pool is None:
            self.start(task, caller)
        else:
            self.waiting.append((task, caller))

    def start(self, task: _Task, caller: _Task | None) -> None:
        self.running[task.action] = (task, caller, 0)

    def held(self, number: int) -> int:
        return sum(
            task.pool == number and task.action not in self.elsewhere
            for task, _, _ in self.running.values()
        )

    def claims(self) -> list[Any]:
        found = []
        for item in self.waiting:
            number = item[0].pool
            assert number is not None
            if self.held(number) < self.plan.places[number]:
                # There is room: nobody is to say that it will never be.
                assert not self.never_runs(item[0])
                found.append(lambda item=item: self.claim(item))
        return found

    def claim(self, item: tuple[_Task, _Task | None]) -> None:
        self.waiting.remove(item)
        self.start(*item)

    def advances(self) -> list[Any]:
        found = []
        for task, caller, at in self.running.values():
            if at == 0 or task.calls[at - 1].action in self.done:
                found.append(
                    lambda task=task, c=caller, at=at: self.advance(task, c, at)
                )
        return found

    def advance(self, task: _Task, caller: _Task | None, at: int) -> None:
        if at < len(task.calls):
            self.running[task.action] = (task, caller, at + 1)
            self.begin(task.calls[at], task)
            return
        del self.running[task.action]
        self.done.add(task.action)

    def never_runs(self, task: _Task) -> bool:
        calls = [self.known(item, OPEN) for item, _ in self.waiting]
        calls += [
            self.known(item, "pod")
            for item, _, _ in self.running.values()
            if item.pool is not None and item.action not in self.elsewhere
        ]
        assert task.pool is not None
        places = self.plan.places[task.pool]
        return would_never_run(calls, str(task.pool), places, action_of(task))

    def known(self, task: _Task, claim: str) -> PooledCall:
        assert task.pool is not None
        return PooledCall(
            name=task.action,
            uid=task.action,
            version="1",
            pool=str(task.pool),
            action=action_of(task),
            places=self.plan.places[task.pool],
            run="1",
            claim=claim,
            pod="",
            created="",
        )


def action_of(task: _Task) -> ActionID:
    return ActionID(name=task.action, run_name="run", project="p")


@given(drawn(plan_of), st.integers(0, 2**32))
@settings(deadline=None)
def test_whatever_calls_whatever_comes_to_an_end(plan: _Plan, seed: int) -> None:
    cluster = _Cluster(plan, Random(seed))
    cluster.run()
    assert cluster.done >= {task.action for task in plan.tasks}


# What they print.

PIECES = st.lists(
    st.tuples(
        st.sampled_from([("one", "a0.1"), ("two", "a0.1"), ("two", "a0.2")]),
        st.binary(max_size=12)
        | st.sampled_from([b"secret-value", b"sec", b"ret-value"]),
    ),
    max_size=20,
)


@given(PIECES, st.integers(1, 7))
def test_output_in_one_log_is_taken_apart(
    pieces: list[tuple[tuple[str, str], bytes]], size: int
) -> None:
    log = bytearray()
    output = PodOutput("token", write=log.extend)
    printing: dict[tuple[str, str], Printing] = {}
    hidden = Redactor(["secret-value"])
    wanted: dict[tuple[str, str], bytes] = {}
    for owner, data in pieces:
        if owner not in printing:
            printing[owner] = Printing(output, owner[0])
            printing[owner].hide(hidden)
        printing[owner].log(owner[1], data)
        wanted[owner] = wanted.get(owner, b"") + data
    for (_, action), own in printing.items():
        own.end(action)
        own.end(action)

    marked = MarkedOutput("token", "")
    found: dict[str, bytes] = {}
    ends: list[str] = []
    for at in range(0, len(log), size):
        for name, part in marked.feed(bytes(log[at : at + size])):
            if part is None:
                ends.append(name)
            else:
                found[name] = found.get(name, b"") + part
    found[marked.action] = found.get(marked.action, b"") + marked.close()

    # Lines come at once: nobody's are the ends of those that were not ended.
    assert found.pop("", b"").strip(b"\n") == b""
    assert {name: data for name, data in found.items() if data} == {
        f"{run}/{action}": hidden.whole(data)
        for (run, action), data in wanted.items()
        if data
    }
    assert sorted(ends) == sorted(f"{run}/{action}" for run, action in printing)


def test_errors_quote_what_the_task_itself_has_printed() -> None:
    log = bytearray(b"of some task before\n")
    output = PodOutput("token", write=log.extend)
    for run, text in (
        ("one", b"mine\n"),
        ("two", b"theirs\n"),
        ("one", b"mine again\n"),
    ):
        output.write(f"{run}/a0.1", text)
    output.end("one/a0.1")

    told = log.decode()
    assert own_part("token", told, "one/a0.1").strip() == "mine\nmine again"
    assert own_part("token", told, "two/a0.1").strip() == "theirs"
    assert own_part("", "all of it", "one/a0.1") == "all of it"
