"""What the settings say of all pods of a deployment."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from imagekit.cluster.labelling import check_annotations, check_labels, is_domain
from imagekit.cluster.pod_options import PodOptions
from imagekit.errors import SettingsError
from imagekit.task_errors import DeploymentError

if TYPE_CHECKING:
    from imagekit.settings import Settings

_Pairs: TypeAlias = tuple[tuple[str, str], ...]


def pod_options(settings: Settings) -> PodOptions:
    """Return what all pods have in common.

    Raises:
        SettingsError: Kubernetes has nothing that is called what a setting says.
    """
    if settings.service_account is not None:
        _check_name(settings, "service_account", settings.service_account)
    for name in settings.pull_secrets:
        _check_name(settings, "pull_secrets", name)
    _check_name(settings, "secret_name", settings.secret_name)
    products: dict[str, tuple[str, ...]] = {}
    for kind, value in settings.gpu_products:
        products[kind] = (*products.get(kind, ()), value)
        _check(settings, "gpu_products", check_labels, (("product", value),))
    if settings.gpu_label:
        _check(settings, "gpu_label", check_labels, ((settings.gpu_label, ""),))
    _check(settings, "pod_labels", check_labels, settings.pod_labels)
    _check(settings, "pod_annotations", check_annotations, settings.pod_annotations)
    return PodOptions(
        service_account=settings.service_account or "",
        image_pull_secrets=settings.pull_secrets,
        labels=settings.pod_labels,
        annotations=settings.pod_annotations,
        secret_name=settings.secret_name,
        gpu_label=settings.gpu_label,
        gpu_products=tuple(sorted(products.items())),
        spot=_spot(settings),
    )


def _spot(settings: Settings) -> tuple[str, str] | None:
    if settings.spot is None:
        return None
    label, _, value = settings.spot.partition("=")
    _check(settings, "spot", check_labels, ((label, value),))
    return label, value


def _check(
    settings: Settings,
    field: str,
    check: Callable[[dict[str, str]], None],
    pairs: _Pairs,
) -> None:
    try:
        check(dict(pairs))
    except DeploymentError as error:
        raise SettingsError(
            f"{_source(settings, field)}: {error.message}", hint=error.hint
        ) from error


def _check_name(settings: Settings, field: str, name: str) -> None:
    if not is_domain(name):
        raise SettingsError(
            f"{_source(settings, field)}: nothing on Kubernetes can be called {name!r}",
            hint="lower-case letters, digits, '-' and '.', with a letter or digit at "
            "both ends",
        )


def _source(settings: Settings, field: str) -> str:
    key = field.replace("_", "-")
    return f"the setting {key!r} ({settings.sources.get(field, 'argument')})"
