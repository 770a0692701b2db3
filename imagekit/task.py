"""``TaskTemplate``: a function that can run in the image of its environment."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    ParamSpec,
    TypeAlias,
    TypeVar,
    overload,
)

from imagekit.context import Active, active
from imagekit.environment import (
    checked_resources,
    checked_template,
    variables_from_request,
)
from imagekit.errors import DefinitionError
from imagekit.pod_template import PodTemplate
from imagekit.records import dataclass, replace
from imagekit.resources import Resources
from imagekit.retry_strategy import RetryStrategy, retries_from_request
from imagekit.reuse_policy import ReusePolicy
from imagekit.secret import SecretRequest, secrets_from_request
from imagekit.task_cache import CacheRequest, VersionParameters, cache_from_request
from imagekit.task_function import check_ignored_inputs, code_of, is_async, origin_of
from imagekit.task_settings import TaskSettings
from imagekit.timeout import TimeoutType, timeout_from_request

if TYPE_CHECKING:
    from imagekit.interface import Interface
    from imagekit.task_environment import TaskEnvironment

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_FIXED = ("name", "image", "docs", "interface")
_SHARED = ("resources", "env_vars", "secrets")


@dataclass(frozen=True, slots=True)
class Documentation:
    """What a task is for, where its docstring is not meant for its users."""

    description: str


class TaskTemplate(Generic[P, R]):
    """A task: a function, its environment, and how it runs.

    Inside a run, a call of it is a call of the task: it runs where the run's mode says,
    is recorded, retried and cached. Elsewhere it is a call of the function.

    Attributes:
        func: the function.
        environment: what it runs in.
        settings: how it runs: the environment's values and the task's own.
        is_async: whether the function is async.
        origin: where the function is defined.
    """

    def __init__(
        self,
        func: Callable[P, R],
        environment: TaskEnvironment,
        settings: TaskSettings,
        docs: str | Documentation | None = None,
    ) -> None:
        if isinstance(func, TaskTemplate):
            raise TypeError(f"a task is made of a function, found {func!r}")
        self.origin = origin_of(code_of(func))
        self.func = func
        self.environment = environment
        self.settings = settings
        self.is_async = is_async(func)
        self._docs = docs
        self._interface: Interface | None = None
        self._function_name: str = func.__name__
        for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
            setattr(self, attribute, getattr(func, attribute))
        self.__wrapped__ = func
        self._check()

    @property
    def name(self) -> str:
        """The environment's name, a dot and the function's name."""
        return f"{self.environment.name}.{self._function_name}"

    @property
    def called(self) -> str:
        """What its module is called here."""
        return self.func.__module__

    @property
    def short_name(self) -> str:
        """What it is called where people read it; by default the function's name."""
        return self.settings.short_name or self._function_name

    @property
    def docs(self) -> str:
        """What it is for: what was given, else the function's docstring."""
        if isinstance(self._docs, str):
            return self._docs
        if self._docs is not None:
            return self._docs.description
        import inspect  # noqa: PLC0415  (slow to import)

        return inspect.cleandoc(self.func.__doc__ or "")

    @property
    def interface(self) -> Interface:
        """The inputs and outputs that the signature gives."""
        if self._interface is None:
            from imagekit.interface import Interface  # noqa: PLC0415  (reads types)

            self._interface = Interface.of(self.func)
        return self._interface

    def cache_version(self, *, image: Any = None, code_bundle: Any = None) -> str:
        """Return the version of cached results; an empty text if none are kept.

        Raises:
            DefinitionError: the cache's policies give none.
        """
        params = VersionParameters(self.func, image=image, code_bundle=code_bundle)
        return self.settings.cache.get_version(params)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the task in a run, the function elsewhere."""
        state = active()
        if state is None:
            return self.func(*args, **kwargs)
        call = self._called(state, args, kwargs)
        if self.is_async:
            return call  # type: ignore[return-value]  # R is a coroutine here
        from imagekit.blocking import finish  # noqa: PLC0415  (only inside runs)

        result: R = finish(call)
        return result

    @overload
    def aio(
        self: TaskTemplate[P, Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[Any, Any, T]: ...

    @overload
    def aio(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]: ...

    def aio(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the task like an async one, whichever it is.

        Outside of a run, a function that isn't async runs in a thread.
        """
        state = active()
        if state is not None:
            return self._called(state, args, kwargs)
        if self.is_async:
            return self.func(*args, **kwargs)
        import asyncio  # noqa: PLC0415  (slow to import)

        return asyncio.to_thread(self.func, *args, **kwargs)

    def forward(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function, also inside a run."""
        return self.func(*args, **kwargs)

    def override(
        self,
        *,
        short_name: str | None = None,
        friendly_name: str | None = None,
        resources: Resources | None = None,
        cache: CacheRequest | None = None,
        retries: int | RetryStrategy | None = None,
        timeout: TimeoutType | None = None,
        reusable: ReusePolicy | Literal["off"] | None = None,
        env_vars: Mapping[str, str] | None = None,
        secrets: SecretRequest | None = None,
        max_inline_io_bytes: int | None = None,
        pod_template: str | PodTemplate | None = None,
        interruptible: bool | None = None,
        **kwargs: object,
    ) -> TaskTemplate[P, R]:
        """Return the task with other settings; what is None stays as it is.

        Args:
            short_name: what it is called where people read it.
            friendly_name: the same.
            resources: replace the environment's.
            cache: as for ``@env.task``, as are the others.
            retries: retries.
            timeout: timeout; 0 for none.
            reusable: another pool of containers; ``"off"`` for none.
            env_vars: replace the environment's, all of them.
            secrets: replace the environment's, all of them.
            max_inline_io_bytes: how large encoded inputs, or outputs, may be.
            pod_template: replaces the environment's.
            interruptible: whether it may be killed.
            kwargs: nothing; refused with a reason.

        Raises:
            DefinitionError: a value can't mean anything, or is given by what the task
                is, as its name, image, documentation and interface are; or the task
                shares containers, whose resources, variables and secrets are fixed.
            TypeError: there is no such setting.
        """
        _refuse(kwargs)
        changes: dict[str, Any] = {
            "short_name": short_name if short_name is not None else friendly_name,
            "resources": checked_resources(resources),
            "cache": None if cache is None else cache_from_request(cache),
            "retries": None if retries is None else retries_from_request(retries),
            "env_vars": None if env_vars is None else variable_pairs(env_vars),
            "secrets": None if secrets is None else secrets_from_request(secrets),
            "max_inline_io_bytes": max_inline_io_bytes,
            "pod_template": checked_template(pod_template),
            "interruptible": interruptible,
            "reusable": None if reusable == "off" else reusable,
        }
        changes = {key: value for key, value in changes.items() if value is not None}
        if timeout is not None:
            changes["timeout"] = timeout_from_request(timeout)
        if reusable == "off":
            changes["reusable"] = None
        settings = replace(self.settings, **changes)
        if settings.reusable is not None:
            self._check_shared(changes)
        if cache is not None:
            check_ignored_inputs(self.func, settings.cache.get_ignored_inputs())
        return TaskTemplate(self.func, self.environment, settings, self._docs)

    def within(self, environment: TaskEnvironment) -> TaskTemplate[P, R]:
        """Return this task as one of another environment, with its own settings."""
        settings = replace(
            self.settings,
            resources=environment.resources,
            env_vars=variable_pairs(environment.env_vars),
            secrets=environment.secrets,
            reusable=environment.reusable,
            interruptible=environment.interruptible,
            pod_template=environment.pod_template,
        )
        return TaskTemplate(self.func, environment, settings, self._docs)

    def _called(
        self, state: Active, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Coroutine[Any, Any, Any]:
        inputs = self.interface.bind(args, kwargs)
        return state.caller.call(self, inputs, state)

    def _check(self) -> None:
        reusable = self.settings.reusable
        if reusable is not None and reusable.concurrency > 1 and not self.is_async:
            raise DefinitionError(
                f"task {self.name!r} is not async, and can't share a container with "
                f"a concurrency of {reusable.concurrency}",
                hint="make it 'async def', or write concurrency=1",
                origin=str(self.origin),
            )

    def _check_shared(self, changes: Mapping[str, object]) -> None:
        for setting in (*_SHARED, "pod_template"):
            if setting in changes:
                raise DefinitionError(
                    f"{setting} of task {self.name!r} can't be overridden: it shares "
                    "its containers with other tasks",
                    hint='write reusable="off" too',
                    origin=str(self.origin),
                )

    def __repr__(self) -> str:
        return f"TaskTemplate({self.name!r})"


#: Its name in the reference.
AsyncFunctionTaskTemplate: TypeAlias = TaskTemplate


def checked_task(value: object) -> TaskTemplate[..., Any]:
    """Return *value* if it is a task.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(value, TaskTemplate):
        return value
    raise TypeError(
        f"wanted a task, found {value!r}; hint: make one of a function with @env.task, "
        "and pass it without calling it"
    )


def variable_pairs(request: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return environment variables as settings hold them.

    Raises:
        DefinitionError: as for an environment's.
    """
    return tuple(variables_from_request(request).items())


def _refuse(settings: Mapping[str, object]) -> None:
    for name in settings:
        if name in _FIXED:
            raise DefinitionError(
                f"the {name} of a task can't be overridden",
                hint="clone the environment to change its image"
                if name == "image"
                else "define another task",
            )
        raise TypeError(f"override() takes no argument {name!r}")
