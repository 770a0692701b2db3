"""Tasks: how they are defined, changed, called, versioned and sent."""

from __future__ import annotations

import asyncio
import functools
import json
import linecache
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextvars import ContextVar
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flyte
import imagekit
from imagekit import (
    GPU,
    Cache,
    CachePolicy,
    Device,
    Documentation,
    PodTemplate,
    Resources,
    RetryStrategy,
    ReusePolicy,
    Secret,
    TaskEnvironment,
    TaskTemplate,
    Timeout,
    VersionParameters,
)
from imagekit.blocking import finish
from imagekit.context import (
    ActionID,
    Active,
    TaskContext,
    activated,
    active,
    first_active,
)
from imagekit.errors import DefinitionError
from imagekit.records import replace
from imagekit.run_events import Event
from imagekit.task_environment import find_task
from imagekit.task_settings import TaskSettings


def refused(make: Callable[[], object], message: str) -> DefinitionError:
    with pytest.raises(DefinitionError, match=message) as caught:
        make()
    return caught.value


@pytest.fixture
def env() -> TaskEnvironment:
    return TaskEnvironment("env")


def plain(x: int, y: int = 1) -> int:
    """Add two numbers.

    To each other.
    """
    return x + y


async def slow(x: int) -> int:
    await asyncio.sleep(0)
    return x + 1


# Definition ----------------------------------------------------------------------


@pytest.mark.parametrize("api", [imagekit, flyte])
def test_tasks_are_defined_with_and_without_parentheses(api: ModuleType) -> None:
    env: TaskEnvironment = api.TaskEnvironment("forms")

    @env.task
    def one(x: int) -> int:
        return x

    @env.task()
    async def two(x: int) -> int:
        return x

    @env.task(name="Three", retries=3, timeout=5, report=True)
    def three(x: int) -> int:
        return x

    assert env.tasks == {"forms.one": one, "forms.two": two, "forms.three": three}
    assert (one.is_async, two.is_async) == (False, True)
    assert (one.short_name, three.short_name) == ("one", "Three")
    assert three.settings.retries == RetryStrategy(3)
    assert three.settings.timeout == Timeout(5)
    assert three.settings.report
    assert env.task(short_name="a")(plain).short_name == "a"


def test_a_task_is_like_its_function(env: TaskEnvironment) -> None:
    import inspect

    task = env.task(plain)

    assert task.name == "env.plain"
    assert task.__name__ == "plain"  # type: ignore[attr-defined]
    assert task.__doc__ == plain.__doc__
    assert task.__module__ == plain.__module__
    assert inspect.signature(task) == inspect.signature(plain)
    assert task.docs == "Add two numbers.\n\nTo each other."
    assert task.origin.file == __file__
    assert task.origin.line == plain.__code__.co_firstlineno
    assert task.environment is env
    assert [item.name for item in task.interface.parameters] == ["x", "y"]


def test_documentation_may_be_given(env: TaskEnvironment) -> None:
    assert env.task(docs="Adds.")(plain).docs == "Adds."
    assert env.task(docs=Documentation("Adds."))(plain).docs == "Adds."
    assert env.task(slow).docs == ""


def test_a_task_has_the_settings_of_its_environment() -> None:
    env = TaskEnvironment(
        "env",
        env_vars={"B": "2", "A": "1"},
        secrets="key",
        resources=Resources(cpu=1),
        interruptible=True,
        pod_template="pod",
        cache="auto",
        reusable=ReusePolicy(),
    )

    assert env.task(plain).settings == TaskSettings(
        env_vars=(("A", "1"), ("B", "2")),
        secrets=(Secret("key"),),
        resources=Resources(cpu=1),
        interruptible=True,
        pod_template="pod",
        cache=Cache("auto"),
        reusable=ReusePolicy(),
    )
    own = env.task(cache="disable", interruptible=False)(plain).settings
    assert own.cache == Cache("disable")
    assert not own.interruptible


def test_defaults() -> None:
    settings = TaskEnvironment("env").task(plain).settings

    assert settings == TaskSettings()
    assert settings.retries.count == 0
    assert settings.timeout is None
    assert not settings.cache.is_enabled()
    assert settings.max_inline_io_bytes == 10485760


@pytest.mark.parametrize(
    "given",
    [
        {"retries": -1},
        {"retries": "3"},
        {"timeout": -1},
        {"timeout": "1h"},
        {"cache": "sometimes"},
        {"cache": Cache("auto", ignored_inputs="z")},
        {"pod_template": 5},
        {"max_inline_io_bytes": 0},
        {"max_inline_io_bytes": True},
    ],
)
def test_wrong_settings_are_refused_with_the_place(
    env: TaskEnvironment, given: dict[str, Any]
) -> None:
    error = refused(lambda: env.task(**given)(plain), "wanted")

    assert str(error.origin).startswith(__file__)
    assert not env.tasks


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> Any:
    yield 1


class Method:
    def method(self) -> None: ...

    def __call__(self) -> None: ...


@pytest.mark.parametrize("func", [generator, async_generator, lambda: 1])
def test_functions_without_a_result_or_name_are_refused(
    env: TaskEnvironment, func: Any
) -> None:
    refused(lambda: env.task(func), "a task can't be made of")


@pytest.mark.parametrize(
    "func", [5, len, Method, Method(), Method().method, functools.partial(plain, 1)]
)
def test_what_is_no_function_is_refused(env: TaskEnvironment, func: Any) -> None:
    with pytest.raises(TypeError, match="made of a function"):
        env.task(func)


def test_a_task_is_no_function_to_make_a_task_of(env: TaskEnvironment) -> None:
    with pytest.raises(TypeError, match="made of a function"):
        env.task(env.task(plain))


def test_decorated_functions_can_be_tasks(env: TaskEnvironment) -> None:
    @functools.wraps(slow)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await slow(*args, **kwargs) * 10

    task = env.task(wrapper)
    cached = env.task(functools.lru_cache(plain))

    assert task.name == "env.slow"
    assert task.is_async
    assert asyncio.run(task(1)) == 20
    assert not cached.is_async
    assert cached(1) == 2


def test_a_later_task_of_one_name_replaces_the_earlier(env: TaskEnvironment) -> None:
    env.task(plain)
    other = env.task(slow)
    again = env.task(retries=2)(plain)

    assert list(env.tasks.values()) == [other, again]
    env.tasks.clear()
    assert len(env.tasks) == 2


def test_a_task_of_another_environment_is_added_as_an_own_one() -> None:
    a = TaskEnvironment("a", env_vars={"A": "1"})
    b = TaskEnvironment("b", env_vars={"B": "2"}, resources=Resources(cpu=1))
    task = a.task(retries=3)(plain)

    added = b.add_task(task)

    assert (task.name, added.name) == ("a.plain", "b.plain")
    assert b.tasks == {"b.plain": added}
    assert added.settings.retries.count == 3
    assert added.settings.env_vars == (("B", "2"),)
    assert added.settings.resources == Resources(cpu=1)
    changed = a.add_task(task.override(retries=1))
    assert a.tasks == {"a.plain": changed}
    with pytest.raises(TypeError, match="takes tasks"):
        b.add_task(plain)  # type: ignore[arg-type]


def test_clones_have_no_tasks(env: TaskEnvironment) -> None:
    env.task(plain)

    assert not env.clone_with("other").tasks


def test_tasks_are_found_by_name() -> None:
    first = TaskEnvironment("found")
    task = first.task(plain)
    assert find_task("found.plain") is task

    again = TaskEnvironment("found")
    assert find_task("found.plain") is task  # it has none of the name yet
    second = again.task(plain)

    assert find_task("found.plain") is second
    assert find_task("found.slow") is find_task("plain") is find_task("") is None


def test_tasks_that_share_containers() -> None:
    pool = TaskEnvironment("pool", reusable=ReusePolicy(concurrency=2))

    assert pool.task(slow).settings.reusable == ReusePolicy(concurrency=2)
    error = refused(lambda: pool.task(plain), "is not async")
    assert str(error.origin).startswith(__file__)
    refused(lambda: pool.task(pod_template="pod")(slow), "can't have a pod_template")
    assert TaskEnvironment("one", reusable=ReusePolicy()).task(plain)(1) == 2


# Overrides -----------------------------------------------------------------------

CHANGES: dict[str, tuple[Any, str, Any]] = {
    "short_name": ("short", "short_name", "short"),
    "resources": (Resources(cpu=2), "resources", Resources(cpu=2)),
    "cache": ("auto", "cache", Cache("auto")),
    "retries": (5, "retries", RetryStrategy(5)),
    "timeout": (timedelta(1), "timeout", Timeout(timedelta(1))),
    "reusable": (ReusePolicy(), "reusable", ReusePolicy()),
    "env_vars": ({"B": "2"}, "env_vars", (("B", "2"),)),
    "secrets": ("key", "secrets", (Secret("key"),)),
    "max_inline_io_bytes": (5, "max_inline_io_bytes", 5),
    "pod_template": ("pod", "pod_template", "pod"),
    "interruptible": (True, "interruptible", True),
}


@given(st.sets(st.sampled_from(sorted(CHANGES.keys() - {"reusable"}))))
def test_an_override_changes_what_is_given_and_nothing_else(names: set[str]) -> None:
    task = TaskEnvironment("env", env_vars={"A": "1"}).task(retries=1)(plain)
    before = task.settings

    changed = task.override(**{name: CHANGES[name][0] for name in names})

    expected = {CHANGES[name][1]: CHANGES[name][2] for name in names}
    assert changed.settings == replace(before, **expected)
    assert task.settings == before
    assert changed is not task
    assert changed.name == task.name
    assert changed.environment.tasks == {task.name: task}
    assert changed.override().settings == changed.settings
    assert changed(1) == task(1)


def test_overrides_by_other_names_and_to_nothing(env: TaskEnvironment) -> None:
    task = env.task(timeout=5, retries=2, cache="auto")(plain)
    off = task.override(timeout=0, retries=0, cache="disable", friendly_name="b")

    assert off.settings.timeout is None
    assert off.settings.retries.count == 0
    assert not off.settings.cache.is_enabled()
    assert off.short_name == "b"
    assert task.override(short_name="a", friendly_name="b").short_name == "a"


@pytest.mark.parametrize("name", ["name", "image", "docs", "interface"])
def test_what_a_task_is_can_not_be_overridden(env: TaskEnvironment, name: str) -> None:
    change: Any = {name: "x"}

    refused(lambda: env.task(plain).override(**change), f"the {name} of a task")


@pytest.mark.parametrize("name", ["report", "retry", "func", "plugin_config"])
def test_other_overrides_do_not_exist(env: TaskEnvironment, name: str) -> None:
    change: Any = {name: "x"}

    with pytest.raises(TypeError, match=f"no argument '{name}'"):
        env.task(plain).override(**change)


def test_shared_containers_are_as_they_are_unless_they_are_not_shared() -> None:
    task = TaskEnvironment("env", reusable=ReusePolicy()).task(plain)
    change: Any = {"resources": Resources(cpu=2)}

    for name in ("resources", "env_vars", "secrets", "pod_template"):
        refused(lambda n=name: task.override(**{n: CHANGES[n][0]}), name)  # type: ignore[misc]
    off = task.override(reusable="off", **change)
    assert off.settings.reusable is None
    assert off.settings.resources == Resources(cpu=2)
    assert task.override(reusable=ReusePolicy(4)).settings.reusable == ReusePolicy(4)
    refused(lambda: task.override(reusable=ReusePolicy(2, 30, 2)), "is not async")


# Calls ---------------------------------------------------------------------------

PLACE: ContextVar[str] = ContextVar("place", default="outside")


class Recording:
    """Runs tasks by calling their functions, and remembers the calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Mapping[str, object], str | None, str]] = []
        self.threads: list[threading.Thread] = []

    async def call(
        self, task: TaskTemplate[..., Any], inputs: Mapping[str, object], by: Active
    ) -> Any:
        await asyncio.sleep(0)
        here = active()
        place = None if here is None else here.id
        self.calls.append((task.name, inputs, place, PLACE.get()))
        self.threads.append(threading.current_thread())
        assert by is here
        result = task.func(**inputs)
        return await result if task.is_async else result


class Silent:
    def record(self, event: Event) -> None: ...

    def log(self, action: str, data: bytes) -> None: ...


@pytest.fixture
def caller() -> Recording:
    return Recording()


@pytest.fixture
def state(caller: Recording) -> Active:
    context = TaskContext(action=ActionID(name="a0", run_name="r"), task_name="t")
    return first_active(context, caller, Silent())


def test_outside_of_runs_a_call_is_a_call_of_the_function(env: TaskEnvironment) -> None:
    add, inc = env.task(plain), env.task(slow)

    async def awaited() -> tuple[int, int, int]:
        return await inc(1), await inc.aio(1), await add.aio(2, y=3)

    assert add(1, y=2) == 3
    assert asyncio.run(awaited()) == (2, 2, 5)
    with pytest.raises(TypeError):
        add()  # type: ignore[call-arg]


def test_inside_a_run_calls_go_to_the_caller(
    env: TaskEnvironment, caller: Recording, state: Active
) -> None:
    add, inc = env.task(plain), env.task(slow)

    async def task() -> tuple[int, ...]:
        PLACE.set("inside")
        with activated(state):
            results = await asyncio.gather(inc(1), inc.aio(2), add.aio(3))
            return (*results, add(4, 5), add.forward(6))

    assert asyncio.run(task()) == (2, 3, 4, 9, 7)
    assert caller.calls == [
        ("env.slow", {"x": 1}, "a0", "inside"),
        ("env.slow", {"x": 2}, "a0", "inside"),
        ("env.plain", {"x": 3, "y": 1}, "a0", "inside"),
        ("env.plain", {"x": 4, "y": 5}, "a0", "inside"),
    ]
    # A loop ran in this thread: the blocking call had to run in another.
    assert caller.threads[-1] is not threading.main_thread()


def test_a_blocking_call_without_a_loop_stays_in_its_thread(
    env: TaskEnvironment, caller: Recording, state: Active
) -> None:
    with activated(state):
        assert env.task(plain)(1) == 2

    assert caller.threads == [threading.current_thread()]


def test_wrong_arguments_are_refused_at_the_call(
    env: TaskEnvironment, caller: Recording, state: Active
) -> None:
    with activated(state):
        with pytest.raises(TypeError):
            env.task(slow)()  # type: ignore[call-arg, unused-coroutine]
        with pytest.raises(TypeError):
            env.task(plain)(z=1)  # type: ignore[call-arg]
    assert not caller.calls


class ExpectedError(Exception):
    """An error of a task."""


def test_a_blocking_call_raises_what_the_task_raises(
    env: TaskEnvironment, state: Active
) -> None:
    @env.task
    def fail() -> None:
        raise ExpectedError

    async def task() -> None:
        with activated(state):
            fail()

    with activated(state), pytest.raises(ExpectedError):
        fail()
    with pytest.raises(ExpectedError):
        asyncio.run(task())


def test_an_interrupted_blocking_call_cancels_its_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As Ctrl-C does, which raises in the thread that waits."""
    running, ended = threading.Event(), threading.Event()
    join = threading.Thread.join

    def interrupted(thread: threading.Thread, timeout: float | None = None) -> None:
        monkeypatch.setattr(threading.Thread, "join", join)
        assert running.wait(10)
        raise KeyboardInterrupt

    async def work() -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def main() -> None:
        monkeypatch.setattr(threading.Thread, "join", interrupted)
        finish(work())

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert ended.is_set()


# Cache ---------------------------------------------------------------------------


class Fixed:
    """A policy that always gives the same version."""

    def __init__(self, version: Any) -> None:
        self.version = version

    def get_version(self, salt: str, params: VersionParameters) -> str:
        if isinstance(self.version, Exception):
            raise self.version
        return self.version  # type: ignore[no-any-return]


PARAMS = VersionParameters(plain)


def test_behaviors() -> None:
    assert Cache("auto").is_enabled()
    assert Cache("override").is_enabled()
    assert not Cache("disable").is_enabled()
    assert isinstance(Fixed(""), CachePolicy)


def test_a_disabled_cache_has_no_version_and_ignores_nothing() -> None:
    disabled = Cache("disable", version_override="1", ignored_inputs="x")

    assert disabled.get_version(PARAMS) == disabled.get_version() == ""
    assert disabled.get_ignored_inputs() == ()
    assert Cache("auto", ignored_inputs="x").get_ignored_inputs() == ("x",)
    assert Cache("auto", ignored_inputs=("x", "y")).get_ignored_inputs() == ("x", "y")


@pytest.mark.parametrize(
    "given",
    [
        {"behavior": "always"},
        {"behavior": None},
        {"behavior": "auto", "version_override": 1},
        {"behavior": "auto", "ignored_inputs": 1},
        {"behavior": "auto", "ignored_inputs": (1,)},
        {"behavior": "auto", "salt": None},
        {"behavior": "auto", "policies": "policy"},
        {"behavior": "auto", "policies": [Fixed("1"), 2]},
    ],
)
def test_caches_that_mean_nothing_are_refused(given: dict[str, Any]) -> None:
    refused(lambda: Cache(**given), "wanted")


def test_versions_of_policies() -> None:
    def version(*policies: CachePolicy) -> str:
        return Cache("auto", policies=list(policies)).get_version(PARAMS)

    one = version(Fixed("1"))

    assert one == Cache("auto", policies=Fixed("1")).get_version(PARAMS)
    versions = {one, version(Fixed("2")), version(Fixed("1"), Fixed(""))}
    assert len(versions) == 3
    refused(version, "a version_override or a policy")


def test_a_version_override_needs_nothing_else() -> None:
    assert Cache("override", version_override="7").get_version() == "7"
    assert Cache("auto", "7", policies=Fixed("8")).get_version(PARAMS) == "7"


def test_the_code_of_a_bundle_is_all_there_is() -> None:
    class Pickled:
        pkl = "code.pkl"
        computed_version = "of-the-bundle"

    params = VersionParameters(plain, code_bundle=Pickled())

    assert Cache("auto").get_version(params) == "of-the-bundle"


def test_versions_that_can_not_be_made() -> None:
    refused(lambda: Cache("auto").get_version(), "needs parameters")
    refused(
        lambda: Cache("auto", policies=Fixed(ExpectedError("no"))).get_version(PARAMS),
        "gave no version: no",
    )
    refused(lambda: Cache("auto", policies=Fixed(5)).get_version(PARAMS), "as version")
    refused(
        lambda: Cache("auto").get_version(VersionParameters(eval("lambda: 1"))),
        "can't be read",
    )


def defined(source: str, name: str = "f") -> Callable[..., Any]:
    """Return function *name* of a source text, which functions can be read from."""
    filename = f"<defined {len(linecache.cache)}>"
    linecache.cache[filename] = (
        len(source),
        None,
        source.splitlines(keepends=True),
        filename,
    )
    space: dict[str, Any] = {"env": TaskEnvironment("env")}
    space["wrap"] = lambda n: lambda f: functools.wraps(f)(lambda *a: f(*a) * n)
    exec(compile(source, filename, "exec"), space)
    found = space[name]
    return found.func if isinstance(found, TaskTemplate) else found


def version_of(source: str, *, salt: str = "") -> str:
    params = VersionParameters(defined(textwrap.dedent(source)))
    return Cache("auto", salt=salt).get_version(params)


BODY = """
    def f(x, y=None):
        '''Say what.

        And more.
        '''
        text = '''a
        b'''
        return [x + 1, "a", text, y]
    """


@pytest.mark.parametrize(
    "same",
    [
        BODY.replace("x + 1", "(x  # a comment\n            +1)"),
        BODY.replace('"a"', "'a'"),
        BODY.replace("    def", "    # before\n\n    def"),
        BODY.replace("'''Say", '"""\n        Say').replace(
            "more.\n        '''", 'more."""'
        ),
        BODY.replace("    def", "    @env.task\n    def"),
        BODY.replace("    def", "    @env.task(retries=3, cache='auto')\n    def"),
        BODY.replace("    def", "    task = env.task\n    @task\n    def"),
        "    if True:\n"
        + textwrap.indent(textwrap.dedent(BODY), " " * 7).replace(
            " " * 7 + "    b'''", " " * 8 + "b'''"
        ),
    ],
)
def test_how_a_function_is_written_makes_no_difference(same: str) -> None:
    assert version_of(same) == version_of(BODY)


@pytest.mark.parametrize(
    "other",
    [
        BODY.replace("x + 1", "x + 2"),
        BODY.replace("x + 1", "x + 1.0"),
        BODY.replace("x + 1", "x + True"),
        BODY.replace('"a"', 'b"a"'),
        BODY.replace('"a"', "None"),
        BODY.replace("y=None", "y=()"),
        BODY.replace("y=None", "y"),
        BODY.replace("y=None", "*, y=None"),
        BODY.replace("x, y=None", "y=None, x=None"),
        BODY.replace("x + 1", "x - 1"),
        BODY.replace("b'''", "  b'''"),
        BODY.replace("Say what.", "Say."),
        BODY.replace("    def", "    async def"),
        BODY.replace("def f", "def g") + "f = g",
        BODY.replace("    def", "    @env.task\n    @wrap(2)\n    def"),
        BODY.replace("[x", "[f'{x!r:>{y}}', x"),
        BODY.replace('"a", ', '"a", "", '),
    ],
)
def test_what_a_function_does_makes_a_difference(other: str) -> None:
    assert version_of(other) != version_of(BODY)


def test_other_decorators_make_a_difference() -> None:
    wrapped = BODY.replace("    def", "    @env.task\n    @wrap(2)\n    def")

    assert version_of(wrapped) != version_of(wrapped.replace("wrap(2)", "wrap(3)"))


def test_salt_makes_a_difference() -> None:
    assert version_of(BODY, salt="a") != version_of(BODY, salt="b")
    assert version_of(BODY, salt="a") == version_of(BODY, salt="a")


def test_long_expressions_have_versions() -> None:
    sum_ = " + ".join(["x"] * 900)

    assert version_of(f"    def f(x):\n        return {sum_}\n")


def test_versions_are_equal_in_other_processes() -> None:
    """And in other versions of Python: the value is written down."""
    source = """
    def f(x: int, *rest, y=None, **more) -> "int":
        match x:
            case {"a": [1, *others]} if x:
                return f"{x!r:>{y}}" "b"
        return (lambda z: {**z, "k": -1.5e3j})(x) or b"\\x00" or ...
    """

    assert version_of(source) == (
        "9b26d16fe06a522ef1452e609643a13ed4007c52f20292aa1cad47dda10985cf"
    )


def test_a_task_knows_the_version_of_its_results(env: TaskEnvironment) -> None:
    task = env.task(cache="auto")(plain)

    assert task.cache_version() == Cache("auto").get_version(PARAMS)
    assert env.task(plain).cache_version() == ""


# Settings in other processes -----------------------------------------------------

seconds = st.timedeltas(timedelta(0), timedelta(days=10**6))
SETTINGS = st.builds(
    TaskSettings,
    retries=st.builds(
        RetryStrategy,
        st.integers(0, 9),
        st.none() | seconds,
        st.none() | st.floats(1, 9),
        st.none() | st.floats(0, 1e9),
    ),
    timeout=st.none() | st.builds(Timeout, seconds, st.none() | seconds),
    cache=st.builds(
        Cache,
        st.sampled_from(["auto", "override", "disable"]),
        st.none() | st.text(),
        st.booleans(),
        st.lists(st.text()).map(tuple),
        st.text(),
    ),
    resources=st.none()
    | st.builds(
        Resources,
        st.sampled_from([None, 1, 0.5, "500m", (1, "2")]),
        st.sampled_from([None, "1Gi", ("1Gi", "2Gi")]),
        st.sampled_from([None, 0, 1, "T4:1", GPU("A100", 1, "1g.5gb"), Device(2)]),
        st.sampled_from([None, "1Gi"]),
        st.sampled_from([None, "auto", "1Gi"]),
    ),
    env_vars=st.lists(st.tuples(st.text(), st.text())).map(tuple),
    secrets=st.sampled_from([(), (Secret("a", "g", "/x"), Secret("b"))]),
    report=st.booleans(),
    reusable=st.none()
    | st.builds(
        ReusePolicy,
        st.integers(2, 9) | st.just((0, 2)),
        st.integers(30, 10**6),
        st.integers(1, 9),
        seconds.filter(lambda value: value >= timedelta(seconds=30)),
    ),
    interruptible=st.booleans(),
    max_inline_io_bytes=st.integers(1),
    pod_template=st.sampled_from(
        [None, "pod", PodTemplate(), PodTemplate({"a": [1]}, "p", {"a": "b"}, {})]
    ),
    short_name=st.text(),
)


@given(SETTINGS)
def test_settings_survive_json(settings: TaskSettings) -> None:
    document = json.loads(json.dumps(settings.to_json()))

    assert TaskSettings.from_json(document) == settings


def test_a_pool_of_one_is_not_warned_of_again() -> None:
    with pytest.warns(UserWarning, match="one task at a time"):
        settings = TaskSettings(reusable=ReusePolicy(1))

    assert TaskSettings.from_json(settings.to_json()) == settings


def test_policies_are_replaced_by_their_version_to_be_sent() -> None:
    settings = TaskSettings(cache=Cache("auto", policies=Fixed("1"), salt="s"))

    refused(settings.to_json, "can't be sent")
    sent = TaskSettings.from_json(settings.with_cache_version("v").to_json())
    assert sent.cache == Cache("auto", "v", salt="s")
    disabled = TaskSettings(cache=Cache("disable", policies=Fixed("1")))
    assert disabled.with_cache_version("v") is disabled
    assert not TaskSettings.from_json(disabled.to_json()).cache.is_enabled()


# Start ---------------------------------------------------------------------------

PROGRAM = """
import sys
from imagekit import TaskEnvironment, Resources, ReusePolicy, Cache, RetryStrategy
env = TaskEnvironment(
    "env", resources=Resources(cpu=1), env_vars={"A": "1"}, secrets="key",
    cache=Cache("auto"), reusable=ReusePolicy(), image="python:3.12",
)

@env.task(retries=RetryStrategy(3), timeout=5)
async def one(x: int) -> int:
    return x

@env.task
def two(x: int) -> int:
    return x

assert two.override(retries=1)(2) == 2
heavy = {"ast", "asyncio", "concurrent.futures", "dataclasses", "inspect", "logging",
         "random", "socket", "subprocess", "tempfile", "threading", "tokenize",
         "imagekit.image", "imagekit.interface", "imagekit.values"}
print(*sorted(heavy & set(sys.modules)))
"""


def test_defining_tasks_imports_little(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    # Without the site's own imports, which differ between machines.
    words = [sys.executable, "-S", str(program)]
    root = str(Path(imagekit.__file__).parent.parent)

    done = subprocess.run(
        words, capture_output=True, text=True, check=True, env={"PYTHONPATH": root}
    )

    assert done.stdout.split() == []


def test_a_coroutine_is_what_an_async_task_gives(
    env: TaskEnvironment, caller: Recording, state: Active
) -> None:
    with activated(state):
        call = env.task(slow)(1)

    assert isinstance(call, Coroutine)
    assert not caller.calls
    call.close()
