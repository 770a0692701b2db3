"""``TaskEnvironment``: where tasks are defined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from imagekit.environment import (
    Environment,
    checked_template,
    defined_at,
    environments,
)
from imagekit.errors import DefinitionError
from imagekit.origin import caller
from imagekit.pod_template import PodTemplate
from imagekit.resources import Resources
from imagekit.retry_strategy import RetryStrategy, retries_from_request
from imagekit.reuse_policy import ReusePolicy
from imagekit.secret import SecretRequest
from imagekit.task import (
    Documentation,
    TaskTemplate,
    variable_pairs,
)
from imagekit.task_cache import CacheRequest, cache_from_request
from imagekit.task_function import check_ignored_inputs
from imagekit.task_settings import MAX_INLINE_IO_BYTES, TaskSettings
from imagekit.timeout import TimeoutType, timeout_from_request

if TYPE_CHECKING:
    from imagekit.image import Image

P = ParamSpec("P")
R = TypeVar("R")


class TaskEnvironment(Environment):
    """An environment, and the tasks that run in it.

    >>> env = TaskEnvironment("arithmetic")
    >>> @env.task
    ... def double(x: int) -> int:
    ...     return 2 * x
    >>> double.name, double(4)
    ('arithmetic.double', 8)

    Attributes:
        cache: when earlier results of its tasks are used again.
        reusable: the pool of containers that its tasks share, if they do.
        plugin_config: what a plugin wants to know; any object, kept as it is.

    Raises:
        DefinitionError: an argument can't mean anything.
    """

    def __init__(
        self,
        name: str,
        depends_on: Sequence[Environment] | None = None,
        pod_template: str | PodTemplate | None = None,
        description: str | None = None,
        secrets: SecretRequest | None = None,
        env_vars: Mapping[str, str] | None = None,
        resources: Resources | None = None,
        interruptible: bool = False,
        image: str | Image = "auto",
        cache: CacheRequest = "disable",
        reusable: ReusePolicy | None = None,
        plugin_config: Any = None,
    ) -> None:
        super().__init__(
            name=name,
            depends_on=depends_on,
            pod_template=pod_template,
            description=description,
            secrets=secrets,
            env_vars=env_vars,
            resources=resources,
            interruptible=interruptible,
            image=image,
        )
        with defined_at(self.origin):
            self.cache = cache_from_request(cache)
            self.reusable = _checked_policy(reusable)
        self.plugin_config = plugin_config
        if reusable is not None and plugin_config is not None:
            raise DefinitionError(
                f"environment {name!r} can't have both reusable and plugin_config",
                hint="a plugin runs tasks in containers of its own",
                origin=str(self.origin),
            )
        self._tasks: dict[str, TaskTemplate[..., Any]] = {}

    @property
    def tasks(self) -> dict[str, TaskTemplate[..., Any]]:
        """The tasks by their full names, in the order of their definitions; a copy."""
        return dict(self._tasks)

    def add_task(self, task: TaskTemplate[P, R]) -> TaskTemplate[P, R]:
        """Add a task that is not defined with the decorator.

        A task of another environment stays in that one; what is added is a task of the
        same function in this environment.

        Returns:
            The task that was added. One of the same name is replaced.

        Raises:
            TypeError: it is no task.
        """
        if not isinstance(task, TaskTemplate):
            raise TypeError(
                f"environment {self.name!r} takes tasks, found {task!r}; "
                "hint: make one of a function with @env.task"
            )
        added = task if task.environment is self else task.within(self)
        self._tasks.pop(added.name, None)
        self._tasks[added.name] = added
        return added

    @overload
    def task(self, _func: Callable[P, R]) -> TaskTemplate[P, R]: ...

    @overload
    def task(
        self,
        _func: None = None,
        *,
        name: str | None = None,
        short_name: str | None = None,
        cache: CacheRequest | None = None,
        retries: int | RetryStrategy = 0,
        timeout: TimeoutType = 0,
        docs: str | Documentation | None = None,
        pod_template: str | PodTemplate | None = None,
        report: bool = False,
        max_inline_io_bytes: int = MAX_INLINE_IO_BYTES,
        interruptible: bool | None = None,
    ) -> Callable[[Callable[P, R]], TaskTemplate[P, R]]: ...

    def task(
        self,
        _func: Callable[..., Any] | None = None,
        *,
        name: str | None = None,
        short_name: str | None = None,
        cache: CacheRequest | None = None,
        retries: int | RetryStrategy = 0,
        timeout: TimeoutType = 0,
        docs: str | Documentation | None = None,
        pod_template: str | PodTemplate | None = None,
        report: bool = False,
        max_inline_io_bytes: int = MAX_INLINE_IO_BYTES,
        interruptible: bool | None = None,
    ) -> Any:
        """Make a task of a function; with or without parentheses.

        Args:
            name: what it is called where people read it. Its full name is always that
                of the environment, a dot, and that of the function.
            short_name: the same as *name*.
            cache: when earlier results are used again; by default as the environment
                has it.
            retries: how often it is tried again when it fails.
            timeout: how long it may run; 0 for no bound, numbers are seconds.
            docs: what it is for; by default the function's docstring.
            pod_template: by default as the environment has it.
            report: whether it makes an HTML page.
            max_inline_io_bytes: how large its encoded inputs, or outputs, may be.
            interruptible: by default as the environment has it.

        Raises:
            TypeError: it is no function.
            DefinitionError: an argument can't mean anything, or the environment's
                tasks share containers and an argument is against that.
        """
        if self.reusable is not None and pod_template is not None:
            raise DefinitionError(
                f"a task of environment {self.name!r} can't have a pod_template: its "
                "tasks share their containers",
                hint="give the environment the pod_template",
                origin=str(self.origin),
            )
        inherited = self.interruptible if interruptible is None else interruptible
        with defined_at(caller()):
            settings = TaskSettings(
                retries=retries_from_request(retries),
                timeout=timeout_from_request(timeout),
                cache=self.cache if cache is None else cache_from_request(cache),
                resources=self.resources,
                env_vars=variable_pairs(self.env_vars),
                secrets=self.secrets,
                report=bool(report),
                reusable=self.reusable,
                interruptible=bool(inherited),
                max_inline_io_bytes=max_inline_io_bytes,
                pod_template=checked_template(pod_template) or self.pod_template,
                short_name=short_name or name or "",
            )

        def decorate(func: Callable[..., Any]) -> TaskTemplate[..., Any]:
            task = TaskTemplate(func, self, settings, docs)
            if cache is not None:
                check_ignored_inputs(func, settings.cache.get_ignored_inputs())
            return self.add_task(task)

        return decorate if _func is None else decorate(_func)

    def _arguments(self) -> dict[str, Any]:
        return super()._arguments() | {
            "cache": self.cache,
            "reusable": self.reusable,
            "plugin_config": self.plugin_config,
        }


def find_task(full_name: str) -> TaskTemplate[..., Any] | None:
    """Return the task of a full name, ``environment.function``; None if there is none.

    Where several environments have one name, the last definition counts.
    """
    for environment in reversed(environments()):
        if isinstance(environment, TaskEnvironment):
            found = environment.tasks.get(full_name)
            if found is not None:
                return found
    return None


def _checked_policy(value: object) -> ReusePolicy | None:
    if value is None or isinstance(value, ReusePolicy):
        return value
    raise DefinitionError(
        f"wanted a ReusePolicy, found {value!r}",
        hint="write reusable=ReusePolicy(replicas=2, concurrency=1)",
    )
