"""``PodTemplate``: what a task's Kubernetes pod has beyond its container."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from imagekit.errors import DefinitionError
from imagekit.records import dataclass

#: Annotation that says which container of a pod runs the task.
CONTAINER = "imagekit/container"
#: What that is called if nobody says so.
PRIMARY = "primary"


class V1PodSpec(Protocol):
    """What imagekit uses of ``kubernetes.client.V1PodSpec``, as of all its models."""

    @property
    def attribute_map(self) -> Mapping[str, str]:
        """Attributes of the model, and their names in manifests."""


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """A pod that a task's container is put into, on a cluster.

    Attributes:
        pod_spec: a ``V1PodSpec`` of the kubernetes package, or a mapping as manifests
            have it.
        primary_container_name: the container of the pod that runs the task.
        labels: labels of the pod.
        annotations: annotations of the pod.
    """

    pod_spec: V1PodSpec | Mapping[str, Any] | None = None
    primary_container_name: str = PRIMARY
    labels: Mapping[str, str] | None = None
    annotations: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        spec: object = self.pod_spec  # users pass anything
        known = spec is None or isinstance(spec, Mapping) or _is_model(spec)
        if not known:
            raise DefinitionError(
                f"wanted pod_spec as a V1PodSpec or a mapping, found {_type_name(spec)}"
            )
        _check(spec, "pod_spec")
        name: object = self.primary_container_name
        if not isinstance(name, str) or not name:
            raise DefinitionError(
                f"wanted a primary_container_name, found {name!r}",
                hint='the default is "primary"',
            )
        for what in ("labels", "annotations"):
            given = getattr(self, what)
            if given is not None:
                object.__setattr__(self, what, _texts(what, given))

    def to_k8s_pod(self) -> dict[str, Any]:
        """Return the pod as manifests have it: ``metadata`` and ``spec``."""
        metadata = {
            what: dict(texts)
            for what, texts in (
                ("labels", self.labels),
                ("annotations", self.annotations),
            )
            if texts
        }
        return {"metadata": metadata, "spec": _manifest(self.pod_spec or {})}


def template_of_model(value: object) -> PodTemplate | None:
    """Return a ``V1PodTemplate``, ``V1PodTemplateSpec`` or ``V1PodSpec`` as a template.

    The task's container is the one that the annotation ``imagekit/container`` of a
    ``V1PodTemplate`` names, as with such an object on the cluster. None is for all that
    is no such model of the kubernetes package.

    Raises:
        DefinitionError: no pod can be what it says.
    """
    if _is_pod_spec(value):
        return PodTemplate(value)  # type: ignore[arg-type]  # as was just asked
    template = value if hasattr(value, "spec") else getattr(value, "template", None)
    spec = getattr(template, "spec", None)
    if not _is_pod_spec(spec):
        return None
    outer = _texts_of(value, "annotations") if template is not value else {}
    return PodTemplate(
        spec,
        primary_container_name=outer.get(CONTAINER, PRIMARY),
        labels=_texts_of(template, "labels"),
        annotations=_texts_of(template, "annotations"),
    )


def _texts_of(model: object, what: str) -> Any:
    return getattr(getattr(model, "metadata", None), what, None) or {}


def _is_pod_spec(value: object) -> bool:
    return _is_model(value) and hasattr(value, "containers")


def _is_model(value: object) -> bool:
    return hasattr(value, "attribute_map")


def _check(value: object, where: str) -> None:
    """Check that *value* can be a part of a manifest.

    Raises:
        DefinitionError: JSON has nothing like it.
    """
    if _is_model(value):
        for attribute in value.attribute_map:  # type: ignore[attr-defined]  # it has
            _check(getattr(value, attribute), f"{where}.{attribute}")
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise DefinitionError(
                    f"wanted names of fields as texts in {where}, found {key!r}"
                )
            _check(item, f"{where}.{key}")
        return
    if isinstance(value, list | tuple):
        for number, item in enumerate(value):
            _check(item, f"{where}[{number}]")
        return
    is_finite = not isinstance(value, float) or value - value == 0
    known = value is None or isinstance(value, str | int | float)
    if not is_finite or not (known or hasattr(value, "isoformat")):
        found = _type_name(value) if is_finite else repr(value)
        raise DefinitionError(
            f"wanted what a manifest can hold as {where}, found {found}",
            hint="texts, numbers, true and false, lists and mappings",
        )


def _type_name(value: object) -> str:
    return f"an object of the type {type(value).__qualname__!r}"


def _manifest(value: Any) -> Any:
    """Return a model of the kubernetes package, and all in it, as manifests have it."""
    if _is_model(value):
        found = {
            name: getattr(value, attribute)
            for attribute, name in value.attribute_map.items()
        }
        return {k: _manifest(v) for k, v in found.items() if v is not None}
    if isinstance(value, Mapping):
        return {str(k): _manifest(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_manifest(item) for item in value]
    return value.isoformat() if hasattr(value, "isoformat") else value


def _texts(what: str, given: object) -> dict[str, str]:
    if isinstance(given, Mapping):
        found = dict(given)
        if all(isinstance(item, str) for pair in found.items() for item in pair):
            return found
    raise DefinitionError(f"wanted {what} as a mapping of texts, found {given!r}")
