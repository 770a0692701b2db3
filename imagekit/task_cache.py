"""``Cache``: when a task's earlier result is used again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, TypeAlias, get_args, runtime_checkable

from imagekit.errors import DefinitionError
from imagekit.records import dataclass

CacheBehavior: TypeAlias = Literal["auto", "override", "disable"]


@dataclass(frozen=True, slots=True)
class VersionParameters:
    """What the version of a cached result may depend on.

    Attributes:
        func: the task's function.
        image: the environment's image.
        code_bundle: the code that is sent with the task.
    """

    func: Callable[..., Any] | None
    image: Any = None
    code_bundle: Any = None


@runtime_checkable
class CachePolicy(Protocol):
    """Gives a version to cached results: another version is another result."""

    def get_version(self, salt: str, params: VersionParameters) -> str:
        """Return the version of what *params* describe."""


@dataclass(frozen=True, slots=True)
class FunctionBodyPolicy:
    """The default policy: a hash of the source of the task's function.

    Functions that it calls take no part; neither do comments and formatting.
    """

    def get_version(self, salt: str, params: VersionParameters) -> str:
        """Return a hash of the function's source and the salt.

        Raises:
            DefinitionError: there is no source.
        """
        from imagekit.function_body import body_hash  # noqa: PLC0415  (reads source)

        if params.func is None:
            raise DefinitionError("a version from a function's source needs a function")
        return body_hash(params.func, salt)


@dataclass(frozen=True, slots=True)
class Cache:
    """How results of a task are kept and used again.

    Attributes:
        behavior: ``auto`` gives results a version with *policies*; ``override`` with
            *version_override*, or like ``auto`` without one; ``disable`` keeps none.
        version_override: the version of results.
        serialize: whether calls with the same inputs wait for the first to finish,
            and use its result.
        ignored_inputs: names of inputs that make no difference to the result. Kept as
            a tuple.
        salt: makes other results of the same task; given to the policies.
        policies: what versions are made with; by default a hash of the source of the
            function. Kept as a tuple.
    """

    behavior: CacheBehavior
    version_override: str | None = None
    serialize: bool = False
    ignored_inputs: tuple[str, ...] | str = ()
    salt: str = ""
    policies: Sequence[CachePolicy] | CachePolicy | None = None

    def __post_init__(self) -> None:
        if self.behavior not in get_args(CacheBehavior):
            raise DefinitionError(
                f"wanted a cache behavior, found {self.behavior!r}",
                hint="there are " + ", ".join(get_args(CacheBehavior)),
            )
        _check_text("version_override", self.version_override, optional=True)
        _check_text("salt", self.salt)
        object.__setattr__(self, "ignored_inputs", _names(self.ignored_inputs))
        if self.policies is not None:
            object.__setattr__(self, "policies", _policies(self.policies))

    def is_enabled(self) -> bool:
        """Return whether results are kept."""
        return self.behavior != "disable"

    def get_ignored_inputs(self) -> tuple[str, ...]:
        """Return the names of inputs that make no difference; none if disabled."""
        return _names(self.ignored_inputs) if self.is_enabled() else ()

    def get_version(self, params: VersionParameters | None = None) -> str:
        """Return the version of results; an empty text if none are kept.

        Raises:
            DefinitionError: a policy fails, or there is nothing to make one with.
        """
        if not self.is_enabled():
            return ""
        if self.version_override is not None:
            return self.version_override
        if params is None:
            raise DefinitionError(
                "a cache without a version_override needs parameters for its policies"
            )
        if getattr(params.code_bundle, "pkl", None):
            # All of the code is in the bundle, and nothing else.
            return str(params.code_bundle.computed_version)
        if self.policies is None:
            policies: tuple[CachePolicy, ...] = (FunctionBodyPolicy(),)
        else:
            policies = _policies(self.policies)
        if not policies:
            raise DefinitionError(
                "a cache needs a version_override or a policy, found neither"
            )
        from imagekit.canonical import fingerprint  # noqa: PLC0415  (only to run)

        versions = tuple(_version(policy, self.salt, params) for policy in policies)
        return fingerprint("cache-version", versions)


#: What tasks and environments take as a cache.
CacheRequest: TypeAlias = CacheBehavior | Cache


def cache_from_request(request: CacheRequest) -> Cache:
    """Return the cache that *request* means; a text is a behavior.

    Raises:
        DefinitionError: it is neither.
    """
    return request if isinstance(request, Cache) else Cache(request)


def _version(policy: CachePolicy, salt: str, params: VersionParameters) -> str:
    try:
        version: object = policy.get_version(salt, params)
    except Exception as error:
        raise DefinitionError(
            f"cache policy {policy!r} gave no version: {error}",
            hint=getattr(error, "hint", None),
        ) from error
    if not isinstance(version, str):
        raise DefinitionError(
            f"wanted a text as version from cache policy {policy!r}, found {version!r}"
        )
    return version


def _check_text(name: str, value: object, *, optional: bool = False) -> None:
    if not isinstance(value, str) and not (optional and value is None):
        raise DefinitionError(f"wanted {name} of a cache as a text, found {value!r}")


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, tuple | list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise DefinitionError(
        f"wanted ignored_inputs of a cache as names of inputs, found {value!r}"
    )


def _policies(value: Any) -> tuple[CachePolicy, ...]:
    found = tuple(value) if isinstance(value, list | tuple) else (value,)
    for policy in found:
        if not isinstance(policy, CachePolicy):
            raise DefinitionError(
                f"wanted a cache policy, found {policy!r}",
                hint="a policy has a method get_version(salt, params)",
            )
    return found
