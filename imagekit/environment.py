"""``Environment``: an image, and what runs in it gets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self
from weakref import ref

from imagekit.errors import DefinitionError
from imagekit.origin import Origin, caller
from imagekit.pod_template import PodTemplate, template_of_model
from imagekit.resources import Resources
from imagekit.secret import Secret, SecretRequest, secrets_from_request

if TYPE_CHECKING:
    from imagekit.image import Image

_NAME = re.compile(r"[a-z0-9]+(?:[_-][a-z0-9]+)*")

#: All that were defined and are still in use, in order.
_DEFINED: list[ref[Environment]] = []


def environments() -> tuple[Environment, ...]:
    """Return the environments that are in use, in the order of their definitions.

    Several may have one name: a module that was loaded again has defined its
    environments again.
    """
    return tuple(found for item in tuple(_DEFINED) if (found := item()) is not None)


class Environment:
    """An image, and the resources, variables and secrets of what runs in it.

    Attributes:
        name: letters, digits and single ``-`` or ``_`` between them, lower case.
        image: an image, the name of one, or ``"auto"`` for the default image.
        resources: what a task of it gets of a machine.
        env_vars: environment variables.
        secrets: secrets, as values.
        depends_on: environments that are deployed with it.
        pod_template: a template, or the name of one on the cluster.
        interruptible: whether its tasks may be killed, and are tried again.
        origin: where it is defined.

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
    ) -> None:
        self.origin: Origin = caller()
        self.description = description
        self.interruptible = bool(interruptible)
        with defined_at(self.origin):
            self.name = _checked_name(name)
            self.pod_template = checked_template(pod_template)
            self.secrets: tuple[Secret, ...] = secrets_from_request(secrets)
            self.env_vars = variables_from_request(env_vars)
            self.resources = checked_resources(resources)
            self.image = _checked_image(image)
        self.depends_on: list[Environment] = []
        self.add_dependency(*(depends_on or ()))
        _register(self)

    def add_dependency(self, *env: Environment) -> None:
        """Have environments deployed with this one. One that is there is left alone.

        Raises:
            TypeError: an argument is no environment.
            DefinitionError: it is this environment, or has its name.
        """
        for item in env:
            if not isinstance(item, Environment):
                raise TypeError(
                    f"environment {self.name!r} can only depend on environments, "
                    f"found {item!r}"
                )
            if item.name == self.name:
                raise DefinitionError(
                    f"environment {self.name!r} can't depend on itself",
                    origin=str(self.origin),
                )
            if not any(item is known for known in self.depends_on):
                self.depends_on.append(item)

    def clone_with(
        self,
        name: str,
        image: str | Image | None = None,
        resources: Resources | None = None,
        env_vars: Mapping[str, str] | None = None,
        secrets: SecretRequest | None = None,
        depends_on: Sequence[Environment] | None = None,
        description: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Return an environment of another name, and with other values.

        What is None stays as it is. Tasks are not taken over.

        Args:
            name: name of the new environment.
            image: as for the class, as are the others.
            resources: replace those of this environment, all of them.
            env_vars: replace those of this environment, all of them.
            secrets: replace those of this environment, all of them.
            depends_on: replace those of this environment, all of them.
            description: what it is for.
            kwargs: any other argument of the class.

        Raises:
            TypeError: there is no such argument.
            DefinitionError: an argument can't mean anything.
        """
        values = self._arguments()
        unknown = sorted(kwargs.keys() - values.keys())
        if unknown:
            raise TypeError(
                f"{type(self).__name__}.clone_with() takes no argument {unknown[0]!r}; "
                f"hint: there are {', '.join(values)}"
            )
        changes = {
            "image": image,
            "resources": resources,
            "env_vars": env_vars,
            "secrets": secrets,
            "depends_on": depends_on,
            "description": description,
            **kwargs,
        }
        values |= {key: given for key, given in changes.items() if given is not None}
        return type(self)(**{**values, "name": name})

    def _arguments(self) -> dict[str, Any]:
        """Return the arguments that make an environment like this one."""
        return {
            "name": self.name,
            "depends_on": self.depends_on,
            "pod_template": self.pod_template,
            "description": self.description,
            "secrets": list(self.secrets),
            "env_vars": self.env_vars,
            "resources": self.resources,
            "interruptible": self.interruptible,
            "image": self.image,
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


@contextmanager
def defined_at(origin: Origin) -> Iterator[None]:
    """Have faults in a definition say where it is."""
    try:
        yield
    except DefinitionError as error:
        error.at(str(origin))
        raise


def variables_from_request(request: Mapping[str, str] | None) -> dict[str, str]:
    """Return environment variables, sorted by name.

    Raises:
        DefinitionError: they are no mapping of texts, or a name can't be one.
    """
    given: Any = {} if request is None else request  # users pass anything
    if not isinstance(given, Mapping):
        raise DefinitionError(f"wanted env_vars as a mapping, found {given!r}")
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise DefinitionError(
                f"an environment variable is a text, found {name!r}: {value!r}",
                hint="write the value as a text",
            )
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise DefinitionError(
                f"invalid environment variable {name!r}",
                hint="a name is not empty and has no '='; neither has a NUL",
            )
    return dict(sorted(given.items()))


def checked_resources(value: object) -> Resources | None:
    """Return *value* if it is resources.

    Raises:
        DefinitionError: it is something else.
    """
    if value is None or isinstance(value, Resources):
        return value
    raise DefinitionError(
        f"wanted resources, found {value!r}",
        hint='write resources=Resources(cpu=1, memory="512Mi")',
    )


def checked_template(value: object) -> str | PodTemplate | None:
    """Return *value* if it is a pod template, or the name of one.

    Templates of the kubernetes package are taken over as they are now.

    Raises:
        DefinitionError: it is something else.
    """
    if value is None or isinstance(value, PodTemplate):
        return value
    if isinstance(value, str) and value:
        return value
    found = template_of_model(value)
    if found is None:
        kind = repr(value) if isinstance(value, str) else type(value).__qualname__
        raise DefinitionError(
            f"wanted a pod template or the name of one, found {kind}",
            hint="write pod_template=PodTemplate(...), or give it a V1PodTemplate",
        )
    return found


def _checked_name(name: object) -> str:
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise DefinitionError(
        f"wanted a name for an environment, found {name!r}",
        hint="lower-case letters and digits, with single '-' or '_' between them",
    )


def _checked_image(image: Any) -> str | Image:
    if isinstance(image, str):
        if image.strip():
            return image
    else:
        from imagekit.image import Image  # noqa: PLC0415  (not for a named image)

        if isinstance(image, Image):
            return image
    raise DefinitionError(
        f"wanted an image, the name of one or 'auto', found {image!r}",
        hint='write image=Image.from_debian_base(...) or image="auto"',
    )


def _register(environment: Environment) -> None:
    _DEFINED[:] = [item for item in _DEFINED if item() is not None]
    _DEFINED.append(ref(environment))
