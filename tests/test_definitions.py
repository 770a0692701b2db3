"""What surrounds tasks: resources, retries, timeouts, pools, pods and environments."""

from __future__ import annotations

import gc
import random
import warnings
from collections.abc import Callable
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flyte
import imagekit
from imagekit import (
    GPU,
    TPU,
    Device,
    Environment,
    Image,
    PodTemplate,
    Resources,
    RetryStrategy,
    ReusePolicy,
    Secret,
    TaskEnvironment,
    Timeout,
)
from imagekit import quantity as quantities
from imagekit.environment import environments
from imagekit.errors import DefinitionError
from imagekit.timeout import timeout_from_request


def refused(make: Callable[[], object], message: str | None = None) -> DefinitionError:
    with pytest.raises(DefinitionError, match=message) as caught:
        make()
    assert isinstance(caught.value, ValueError)
    return caught.value


# Amounts -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("1", 1),
        ("128974848", 128974848),
        ("129e6", 129_000_000),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1E", 10**18),
        ("5e-1k", None),
        ("129M", 129_000_000),
        ("123Mi", 123 * 2**20),
        ("1k", 1000),
        ("1Ki", 1024),
        ("1.5Gi", 3 * 2**29),
        (".5Ki", 512),
        ("1.Ki", 1024),
        ("1500m", 2),
        ("1GiB", 2**30),
        ("2GB", 2 * 10**9),
        ("10B", 10),
        ("lots", None),
        ("", None),
        ("Gi", None),
        (".", None),
        ("-1Gi", None),
        ("1 Gi", None),
        ("1gi", None),
        ("1mB", None),
        ("1e999", None),
        ("0", None),
        ("0.5", None),
        ("1e30", None),
        ("9" * 31, None),
        ("१", None),
    ],
)
def test_bytes_are_as_kubernetes_writes_them(text: str, bytes_: int | None) -> None:
    if bytes_ is None:
        refused(lambda: quantities.size("memory", text), "wanted memory")
    else:
        assert quantities.size("memory", text) == bytes_
        assert Resources(memory=text).memory_limit == bytes_


@pytest.mark.parametrize(
    ("value", "cores"),
    [
        (0, 0.0),
        (2, 2.0),
        (0.5, 0.5),
        ("500m", 0.5),
        ("2", 2.0),
        ("0.1", 0.1),
        ("1k", 1000.0),
        ("250000u", 0.25),
        (-1, None),
        (-0.5, None),
        (True, None),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
        ("1e9", None),
        ("many", None),
        ("1GB", None),
        ([1], None),
    ],
)
def test_cores_are_numbers_or_texts(value: Any, cores: float | None) -> None:
    if cores is None:
        refused(lambda: Resources(cpu=value), "wanted cpu")
    else:
        assert Resources(cpu=value).cpu_request == cores
        assert Resources(cpu=value).cpu_limit == cores


@given(
    st.integers(1, 10**6),
    st.integers(0, 10**6),
    st.sampled_from([("Ki", 2**10), ("Mi", 2**20), ("M", 10**6), ("", 1)]),
)
def test_bytes_are_exact_and_rounded_up(
    whole: int, part: int, unit: tuple[str, int]
) -> None:
    text = f"{whole}.{part:06d}{unit[0]}"
    exact = Fraction(f"{whole}.{part:06d}") * unit[1]

    assert quantities.size("memory", text) == -(-exact.numerator // exact.denominator)


def test_half_a_byte_is_a_slip_for_a_million() -> None:
    error = refused(lambda: Resources(memory="512m"))

    assert error.hint is not None
    assert "a million" in error.hint


# Resources -----------------------------------------------------------------------


def test_nothing_is_asked_for_by_default() -> None:
    nothing = Resources()

    assert nothing.cpu_request is nothing.cpu_limit is None
    assert nothing.memory_request is nothing.memory_limit is None
    assert nothing.disk_bytes is nothing.shm_bytes is None
    assert nothing.get_device() is None
    assert nothing.get_shared_memory() is None


def test_a_pair_is_request_and_limit() -> None:
    found = Resources(cpu=("500m", 2), memory=("256Mi", "1Gi"), disk="10GiB")

    assert (found.cpu_request, found.cpu_limit) == (0.5, 2.0)
    assert (found.memory_request, found.memory_limit) == (2**28, 2**30)
    assert found.disk_bytes == 10 * 2**30


@pytest.mark.parametrize(
    "given",
    [
        {"cpu": (2, 1)},
        {"cpu": (1, 2, 3)},
        {"cpu": (1,)},
        {"cpu": (1, "x")},
        {"memory": ("2Gi", "1Gi")},
        {"memory": 1024},
        {"memory": ("1Gi", None)},
        {"disk": "big"},
        {"disk": 5},
        {"shm": "some"},
        {"gpu": -1},
        {"gpu": True},
        {"gpu": 1.0},
        {"gpu": "T4"},
        {"gpu": "T4:9"},
        {"gpu": "T4:0"},
        {"gpu": "V100:1"},
        {"gpu": ("T4", 1)},
    ],
)
def test_resources_that_mean_nothing_are_refused(given: dict[str, Any]) -> None:
    refused(lambda: Resources(**given), "wanted")


@pytest.mark.parametrize(
    ("gpu", "device"),
    [
        (0, None),
        (3, Device(quantity=3)),
        ("A100 80G:8", Device(quantity=8, device="A100 80G")),
        (GPU("A100", 2, "1g.5gb"), Device(2, "A100", "1g.5gb")),
    ],
)
def test_devices(gpu: Any, device: Device | None) -> None:
    assert Resources(gpu=gpu).get_device() == device


def test_shared_memory() -> None:
    assert Resources(shm="auto").get_shared_memory() == ""
    assert Resources(shm="auto").shm_bytes == "auto"
    assert Resources(shm="64Mi").get_shared_memory() == "64Mi"
    assert Resources(shm="64Mi").shm_bytes == 2**26


def test_tpus_are_one_slice() -> None:
    assert TPU("V5P", "2x2x1") == Device(1, "V5P", "2x2x1")
    assert TPU("V6E").quantity == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: GPU("T5", 1),  # type: ignore[arg-type]
        lambda: GPU("T4", 0),  # type: ignore[arg-type]
        lambda: GPU("T4", 9),  # type: ignore[arg-type]
        lambda: GPU("T4", 1, "1g.5gb"),
        lambda: GPU("A100", 1, "1g.10gb"),
        lambda: GPU("A100 80G", 1, "1g.5gb"),
        lambda: GPU("H100", 1, "1x1"),  # type: ignore[arg-type]
        lambda: TPU("V4"),  # type: ignore[arg-type]
        lambda: TPU("V5P", "1x1"),
        lambda: TPU("V6E", "2x2x1"),
        lambda: Device(0),
        lambda: Device(True),
        lambda: Device("1"),  # type: ignore[arg-type]
    ],
)
def test_devices_that_are_none_are_refused(make: Callable[[], object]) -> None:
    refused(make, "wanted")


# Retries -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {"count": -1},
        {"count": True},
        {"count": 1.5},
        {"count": "3"},
        {"count": 1, "backoff": -1},
        {"count": 1, "backoff": "1s"},
        {"count": 1, "backoff": float("inf")},
        {"count": 1, "backoff_factor": 0.5},
        {"count": 1, "backoff_factor": float("nan")},
        {"count": 1, "max_backoff": timedelta(seconds=-1)},
    ],
)
def test_retries_that_mean_nothing_are_refused(given: dict[str, Any]) -> None:
    refused(lambda: RetryStrategy(**given), "wanted")


class Constant:
    """A source of jitter that always gives the same."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


def test_waits_grow_up_to_the_most() -> None:
    strategy = RetryStrategy(5, backoff=1, backoff_factor=3, max_backoff=20)

    delays = [strategy.delay(attempt, Constant(0)) for attempt in range(1, 6)]

    assert delays == [1, 3, 9, 20, 20]
    assert strategy.delay(2, Constant(0.5)) == 3 * 0.75


def test_the_default_waits_half_a_second_and_never_over_a_minute() -> None:
    assert RetryStrategy(1).delay(1, Constant(0)) == 0.5
    assert RetryStrategy(1).delay(2, Constant(0)) == 1
    assert RetryStrategy(1).delay(10**9, Constant(0)) == 60
    assert RetryStrategy(1, backoff=300).delay(2, Constant(0)) == 300
    assert RetryStrategy(1, backoff=0).delay(10**9, Constant(0)) == 0


def test_the_documented_retry_example_works() -> None:
    strategy = RetryStrategy(count=5, max_backoff=10, backoff=2)

    assert [strategy.delay(n, Constant(0)) for n in (1, 2, 3, 4)] == [2, 4, 8, 10]


@given(
    st.integers(1, 10**6),
    st.floats(0, 1e9),
    st.floats(1, 1e6),
    st.floats(0, 1e9),
    st.integers(),
)
def test_delays_stay_between_half_and_all_of_the_bound(
    attempt: int, backoff: float, factor: float, most: float, seed: int
) -> None:
    strategy = RetryStrategy(3, backoff, factor, most)
    whole = strategy.delay(attempt, Constant(0))

    assert 0 <= whole <= most
    assert whole / 2 <= strategy.delay(attempt, random.Random(seed)) <= whole
    assert strategy.delay(attempt + 1, Constant(0)) >= whole


def test_lengths_of_time_are_equal_however_written() -> None:
    assert RetryStrategy(1, timedelta(seconds=2)) == RetryStrategy(1, 2)
    assert Timeout(60) == Timeout(timedelta(minutes=1))
    assert ReusePolicy(idle_ttl=60) == ReusePolicy(idle_ttl=timedelta(minutes=1))


# Timeouts ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "runtime", "queued"),
    [
        (5, 5.0, None),
        (timedelta(milliseconds=500), 0.5, None),
        (Timeout(5, 7), 5.0, 7.0),
        (Timeout(0, timedelta(minutes=1)), None, 60.0),
        (Timeout(max_queued_time=3), None, 3.0),
        (Timeout(10**20), timedelta.max.total_seconds(), None),
    ],
)
def test_timeouts(request_: Any, runtime: float | None, queued: float | None) -> None:
    found = timeout_from_request(request_)

    assert found is not None
    assert (found.runtime_seconds, found.queued_seconds) == (runtime, queued)


@pytest.mark.parametrize("nothing", [None, 0, timedelta(0), Timeout(0), Timeout(0, 0)])
def test_timeouts_of_nothing_bound_nothing(nothing: Any) -> None:
    assert timeout_from_request(nothing) is None


@pytest.mark.parametrize("wrong", [-1, timedelta(-1), "5", 0.5, True, (1, 2)])
def test_timeouts_that_mean_nothing_are_refused(wrong: Any) -> None:
    refused(lambda: timeout_from_request(wrong), "wanted a timeout")
    refused(lambda: Timeout(wrong), "wanted max_runtime")
    refused(lambda: Timeout(1, wrong), "wanted max_queued_time")


# Pools ---------------------------------------------------------------------------


def test_the_default_pool() -> None:
    policy = ReusePolicy()

    assert (policy.min_replicas, policy.max_replicas) == (2, 2)
    assert policy.ttl == policy.get_scaledown_ttl() == timedelta(seconds=30)
    assert policy.concurrency == 1


def test_replicas_are_a_number_or_a_pair() -> None:
    assert ReusePolicy(3).replicas == (3, 3)
    assert ReusePolicy((0, 4)).min_replicas == 0
    assert ReusePolicy((0, 4)).max_replicas == 4


@pytest.mark.parametrize(
    "given",
    [
        {"replicas": 0},
        {"replicas": True},
        {"replicas": (2, 1)},
        {"replicas": (0, 0)},
        {"replicas": (-1, 1)},
        {"replicas": (1, 2, 3)},
        {"replicas": "2"},
        {"idle_ttl": 29},
        {"idle_ttl": timedelta(seconds=29)},
        {"idle_ttl": None},
        {"scaledown_ttl": 10},
        {"scaledown_ttl": 30.5},
        {"concurrency": 0},
        {"concurrency": "1"},
    ],
)
def test_pools_that_mean_nothing_are_refused(given: dict[str, Any]) -> None:
    refused(lambda: ReusePolicy(**given), "wanted")


def test_a_pool_of_one_task_at_a_time_is_warned_of() -> None:
    for _ in range(30):  # the first instances of a record are made another way
        ReusePolicy()
    with pytest.warns(UserWarning, match="one task at a time") as caught:
        ReusePolicy(1)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ReusePolicy(1, concurrency=2)
        ReusePolicy((1, 2))


# Pods ----------------------------------------------------------------------------


def test_a_pod_template_needs_no_package() -> None:
    assert PodTemplate().pod_spec is None
    assert PodTemplate().primary_container_name == "primary"
    assert PodTemplate().to_k8s_pod() == {"metadata": {}, "spec": {}}


def test_a_pod_is_as_manifests_have_it() -> None:
    container = SimpleNamespace(
        attribute_map={"image_pull_policy": "imagePullPolicy", "name": "name"},
        image_pull_policy="Always",
        name=None,
    )
    spec = SimpleNamespace(
        attribute_map={"containers": "containers", "node_selector": "nodeSelector"},
        containers=[container],
        node_selector={"my_key": "v"},
    )
    template = PodTemplate(spec, labels={"a": "b"})

    assert template.to_k8s_pod() == {
        "metadata": {"labels": {"a": "b"}},
        "spec": {
            "containers": [{"imagePullPolicy": "Always"}],
            "nodeSelector": {"my_key": "v"},
        },
    }
    assert PodTemplate({"x": [1]}).to_k8s_pod()["spec"] == {"x": [1]}


@pytest.mark.parametrize(
    "given",
    [
        {"pod_spec": "spec"},
        {"primary_container_name": ""},
        {"labels": {"a": 1}},
        {"labels": "a=b"},
        {"annotations": [("a", "b")]},
    ],
)
def test_pods_that_mean_nothing_are_refused(given: dict[str, Any]) -> None:
    refused(lambda: PodTemplate(**given), "wanted")


# Environments --------------------------------------------------------------------

KINDS = pytest.mark.parametrize("kind", [Environment, TaskEnvironment])


@pytest.mark.parametrize("name", ["a", "a1", "my-env", "my_env-2", "0", "a" * 200])
def test_names_of_environments(name: str) -> None:
    assert Environment(name).name == name


@pytest.mark.parametrize(
    "name",
    ["", "A", "a b", "a.b", "-a", "a-", "a--b", "a-_b", "a\n", "é", "a/b", None, 5],
)
def test_other_names_are_refused_with_the_place(name: Any) -> None:
    error = refused(lambda: Environment(name), "wanted a name")

    assert str(error.origin).startswith(__file__)


@KINDS
@pytest.mark.parametrize(
    "given",
    [
        {"image": ""},
        {"image": None},
        {"image": 5},
        {"env_vars": {"A": 1}},
        {"env_vars": {"A=B": ""}},
        {"env_vars": {"": ""}},
        {"env_vars": {"A": "\0"}},
        {"env_vars": ["A=B"]},
        {"resources": {"cpu": 1}},
        {"pod_template": 5},
        {"pod_template": ""},
        {"secrets": 5},
        {"secrets": "1k"},
    ],
)
def test_wrong_arguments_are_refused_with_the_place(
    kind: type[Environment], given: dict[str, Any]
) -> None:
    error = refused(lambda: kind("wrong", **given))

    assert str(error.origin).startswith(__file__)


def test_environments_know_where_they_are_defined() -> None:
    assert Path(Environment("here").origin.file) == Path(__file__)
    assert Path(TaskEnvironment("here").clone_with("b").origin.file) == Path(__file__)


def test_secrets_become_values() -> None:
    asked: list[str | Secret] = ["my-key", Secret("a", as_env_var="B"), "my-key"]

    assert Environment("secrets", secrets=asked).secrets == (
        Secret("my-key"),
        Secret("a", as_env_var="B"),
    )


def test_what_was_passed_is_not_shared() -> None:
    variables, depends = {"B": "1", "A": "2"}, [Environment("other")]
    env = Environment("mine", env_vars=variables, depends_on=depends)

    variables["C"] = "3"
    depends.clear()

    assert env.env_vars == {"A": "2", "B": "1"}
    assert [item.name for item in env.depends_on] == ["other"]


@KINDS
def test_dependencies(kind: type[Environment]) -> None:
    env, a, b = kind("env"), Environment("a"), kind("b")

    env.add_dependency(a, b, a)
    env.add_dependency(b)

    assert env.depends_on == [a, b]
    with pytest.raises(TypeError, match="can only depend on environments"):
        env.add_dependency("a")  # type: ignore[arg-type]
    refused(lambda: env.add_dependency(env), "can't depend on itself")
    refused(lambda: env.add_dependency(Environment("env")), "can't depend on itself")
    assert Environment("fresh").depends_on == []


@KINDS
def test_a_clone_keeps_what_is_not_given(kind: type[Environment]) -> None:
    env = kind(
        "env",
        depends_on=[Environment("base")],
        pod_template="pod",
        description="what it is for",
        secrets=["key"],
        env_vars={"A": "1"},
        resources=Resources(cpu=1),
        interruptible=True,
        image="python:3.12",
    )
    before = env._arguments()

    clone = env.clone_with("clone")

    assert type(clone) is kind
    assert clone._arguments() == {**before, "name": "clone"}
    clone.add_dependency(Environment("more"))
    clone.env_vars["B"] = "2"
    assert env._arguments() == before
    assert len(env.depends_on) == 1


CHANGES: dict[str, Any] = {
    "image": Image.from_base("python:3.13"),
    "resources": Resources(cpu=2),
    "env_vars": {"B": "2"},
    "depends_on": [],
    "description": "another",
    "interruptible": False,
    "pod_template": PodTemplate(),
}


@KINDS
@given(chosen=st.sets(st.sampled_from(sorted(CHANGES))))
def test_a_clone_has_what_is_given(kind: type[Environment], chosen: set[str]) -> None:
    env = kind("env", interruptible=True, depends_on=[Environment("base")])
    changes = {name: CHANGES[name] for name in chosen}

    clone = env.clone_with("clone", **changes)

    assert clone._arguments() == {**env._arguments(), **changes, "name": "clone"}
    again = clone.clone_with("again", **changes)
    assert again._arguments() == {**clone._arguments(), "name": "again"}


def test_a_clone_takes_the_arguments_of_its_class() -> None:
    policy, plugin = ReusePolicy(), object()
    env = TaskEnvironment("env", cache="auto")

    assert env.clone_with("a", cache="disable").cache.behavior == "disable"
    assert env.clone_with("a", reusable=policy).reusable is policy
    assert env.clone_with("a", plugin_config=plugin).plugin_config is plugin
    assert env.clone_with("a").cache.behavior == "auto"
    with pytest.raises(TypeError, match="no argument 'retries'"):
        env.clone_with("a", retries=3)
    with pytest.raises(TypeError, match="no argument 'cache'"):
        Environment("env").clone_with("a", cache="auto")


def test_a_plugin_has_containers_of_its_own() -> None:
    refused(
        lambda: TaskEnvironment("a", reusable=ReusePolicy(), plugin_config={"a": 1}),
        "both reusable and plugin_config",
    )
    refused(lambda: TaskEnvironment("a", reusable="always"), "wanted a ReusePolicy")  # type: ignore[arg-type]
    refused(lambda: TaskEnvironment("a", cache="sometimes"), "wanted a cache behavior")  # type: ignore[arg-type]
    assert TaskEnvironment("a", plugin_config=[1]).plugin_config == [1]


def test_environments_are_known_while_they_are_in_use() -> None:
    env = Environment("in-use")
    again = Environment("in-use")
    here = [item for item in environments() if item.name == "in-use"]

    assert here == [env, again]
    del env, again, here
    gc.collect()
    assert not [item for item in environments() if item.name == "in-use"]


@pytest.mark.parametrize("api", [imagekit, flyte])
def test_modules_do_not_hide_functions(api: ModuleType) -> None:
    from imagekit import build_images as function
    from imagekit.build_images import build_images

    assert function is build_images is api.build_images
