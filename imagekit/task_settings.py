"""``TaskSettings``: all that an attempt at a task needs to know of its definition.

The environment's values and the task's own are merged in it. It can be sent to another
process as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from imagekit.errors import DefinitionError
from imagekit.pod_template import PodTemplate
from imagekit.records import dataclass, field, replace
from imagekit.resources import Device, Resources
from imagekit.retry_strategy import RetryStrategy
from imagekit.reuse_policy import ReusePolicy
from imagekit.secret import Secret
from imagekit.task_cache import Cache
from imagekit.timeout import Timeout

#: Bytes of inputs, or of outputs, that travel inline: 10 MiB.
MAX_INLINE_IO_BYTES = 10 * 2**20

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """How a task runs.

    Attributes:
        timeout: None for no bound.
        env_vars: names and values, sorted by name.
        report: whether it makes an HTML page.
        reusable: the pool of containers that it runs in, if it runs in one.
        interruptible: whether it may be killed, and is tried again if it was.
        max_inline_io_bytes: how large its encoded inputs, or outputs, may be.
        pod_template: a template, or the name of one on the cluster.
        short_name: what it is called where people read it.
    """

    retries: RetryStrategy = field(default=RetryStrategy(0))
    timeout: Timeout | None = None
    cache: Cache = field(default=Cache("disable"))
    resources: Resources | None = None
    env_vars: tuple[tuple[str, str], ...] = ()
    secrets: tuple[Secret, ...] = ()
    report: bool = False
    reusable: ReusePolicy | None = None
    interruptible: bool = False
    max_inline_io_bytes: int = MAX_INLINE_IO_BYTES
    pod_template: str | PodTemplate | None = None
    short_name: str = ""

    def __post_init__(self) -> None:
        most: object = self.max_inline_io_bytes
        if not isinstance(most, int) or isinstance(most, bool) or most < 1:
            raise DefinitionError(
                f"wanted max_inline_io_bytes as a number from 1 on, found {most!r}"
            )

    def with_cache_version(self, version: str) -> TaskSettings:
        """Return these with a cache of that version, which needs no policies."""
        if not self.cache.is_enabled():
            return self
        cache = replace(self.cache, version_override=version, policies=None)
        return replace(self, cache=cache)

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads.

        Raises:
            DefinitionError: the cache has policies of its own, which are code: give
                it its version first, with :meth:`with_cache_version`.
        """
        return {
            "retries": _values(self.retries),
            "timeout": None if self.timeout is None else _timeout(self.timeout),
            "cache": _cache(self.cache),
            "resources": None if self.resources is None else _resources(self.resources),
            "env_vars": [list(pair) for pair in self.env_vars],
            "secrets": [_values(secret) for secret in self.secrets],
            "report": self.report,
            "reusable": None if self.reusable is None else _reusable(self.reusable),
            "interruptible": self.interruptible,
            "max_inline_io_bytes": self.max_inline_io_bytes,
            "pod_template": _pod_template(self.pod_template),
            "short_name": self.short_name,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> TaskSettings:
        """Return the settings that :meth:`to_json` wrote.

        Models in a pod template come back as mappings.
        """
        values = dict(document)
        timeout, resources = values["timeout"], values["resources"]
        reusable, template = values["reusable"], values["pod_template"]
        values["retries"] = RetryStrategy(**values["retries"])
        values["timeout"] = timeout and Timeout(*map(_time, timeout))
        values["cache"] = Cache(**values["cache"])
        values["resources"] = resources and _resources_of(resources)
        values["env_vars"] = tuple((name, text) for name, text in values["env_vars"])
        values["secrets"] = tuple(Secret(**secret) for secret in values["secrets"])
        values["reusable"] = reusable and _reusable_of(reusable)
        if isinstance(template, dict):
            values["pod_template"] = PodTemplate(**template)
        return cls(**values)


def _values(record: Any) -> dict[str, Any]:
    """Return a record whose fields are JSON already."""
    return {name: getattr(record, name) for name in record.__slots__}


def _count(value: timedelta | int | None) -> int | None:
    """Return a length of time in whole microseconds, so that none is rounded."""
    if isinstance(value, timedelta):
        return value // _MICROSECOND
    return None if value is None else value * 10**6


def _time(microseconds: int | None) -> Any:
    return None if microseconds is None else microseconds * _MICROSECOND


def _timeout(timeout: Timeout) -> list[int | None]:
    return [_count(timeout.max_runtime), _count(timeout.max_queued_time)]


def _cache(cache: Cache) -> dict[str, Any]:
    if cache.policies is not None and cache.is_enabled():
        raise DefinitionError(
            f"cache policies can't be sent to another process: {cache.policies!r}",
            hint="give the cache a version_override",
        )
    found = _values(cache)
    return found | {"policies": None, "ignored_inputs": list(cache.ignored_inputs)}


def _resources(resources: Resources) -> dict[str, Any]:
    found = _values(resources)
    for name in ("cpu", "memory"):
        if isinstance(found[name], tuple):
            found[name] = list(found[name])
    if isinstance(found["gpu"], Device):
        found["gpu"] = _values(found["gpu"])
    return found


def _resources_of(document: Mapping[str, Any]) -> Resources:
    values = dict(document)
    for name in ("cpu", "memory"):
        if isinstance(values[name], list):
            values[name] = tuple(values[name])
    if isinstance(values["gpu"], dict):
        values["gpu"] = Device(**values["gpu"])
    return Resources(**values)


def _reusable(policy: ReusePolicy) -> dict[str, Any]:
    return {
        "replicas": [policy.min_replicas, policy.max_replicas],
        "idle_ttl": _count(policy.idle_ttl),
        "concurrency": policy.concurrency,
        "scaledown_ttl": _count(policy.scaledown_ttl),
    }


def _reusable_of(document: Mapping[str, Any]) -> ReusePolicy:
    import warnings  # noqa: PLC0415  (with its state, not before)

    with warnings.catch_warnings():
        # Whoever defined it was warned.
        warnings.simplefilter("ignore")
        return ReusePolicy(
            replicas=tuple(document["replicas"]),
            idle_ttl=_time(document["idle_ttl"]),
            concurrency=document["concurrency"],
            scaledown_ttl=_time(document["scaledown_ttl"]),
        )


def _pod_template(template: str | PodTemplate | None) -> Any:
    if not isinstance(template, PodTemplate):
        return template
    return _values(template) | {"pod_spec": template.to_k8s_pod()["spec"] or None}
