"""``PodOptions``: what the pods of all tasks of a deployment have in common."""

from __future__ import annotations

from typing import Any

from imagekit.records import compared, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PodOptions:
    """What pods have beside what their tasks ask for.

    Attributes:
        service_account: account of pods whose template names none; empty for the
            namespace's default.
        image_pull_secrets: names of Kubernetes Secrets with logins of registries.
        labels: of pods, unless their templates have others.
        annotations: likewise.
        secret_name: the Kubernetes Secret of secrets that name no group.
        gpu_label: the label of nodes that tells the kind of their GPUs; empty leaves
            the choice of nodes to the resource alone.
        gpu_products: kinds of GPUs, and values of that label that stand for them, where
            these are not those of NVIDIA's GPU feature discovery.
        spot: label and value of nodes that may go away, and of their taint.
            Interruptible tasks tolerate it, and prefer these nodes.
    """

    service_account: str = ""
    image_pull_secrets: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    secret_name: str = "imagekit"  # noqa: S105  (the name of a Secret, not its value)
    gpu_label: str = "nvidia.com/gpu.product"
    gpu_products: tuple[tuple[str, tuple[str, ...]], ...] = ()
    spot: tuple[str, str] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads: all that is not the default."""
        default = PodOptions()
        found = {name: getattr(self, name) for name in compared(self)}
        return {
            name: _lists(value)
            for name, value in found.items()
            if value != getattr(default, name)
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> PodOptions:
        """Return the options that :meth:`to_json` wrote; other fields are ignored."""
        known = compared(PodOptions())
        return cls(**{k: _tuples(v) for k, v in document.items() if k in known})


def _lists(value: Any) -> Any:
    return [_lists(item) for item in value] if isinstance(value, tuple) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
