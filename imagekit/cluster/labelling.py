"""Labels and annotations that users give pods."""

from __future__ import annotations

import re
from collections.abc import Mapping

from imagekit.cluster.names import MANAGED_BY
from imagekit.task_errors import DeploymentError

_OWN = "imagekit/"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_PART = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_DOMAIN = re.compile(rf"{_PART}(?:\.{_PART})*")
_DOMAIN_LENGTH = 253
#: The most bytes that all annotations of an object may have.
_ANNOTATIONS = 256 * 2**10


def is_own(key: str) -> bool:
    """Return whether imagekit itself gives objects the label or annotation *key*.

    Of these, users may only give the one that every tool sets to its own name: it is
    replaced.
    """
    return key == MANAGED_BY or key.startswith(_OWN)


def is_domain(text: str) -> bool:
    """Return whether *text* may name a Secret, a pod template and the like."""
    return len(text) <= _DOMAIN_LENGTH and _DOMAIN.fullmatch(text) is not None


def is_label(text: str) -> bool:
    """Return whether *text* may name a container, a claim and the like."""
    return "." not in text and is_domain(text) and _NAME.fullmatch(text) is not None


def check_labels(labels: Mapping[str, str], origin: str | None = None) -> None:
    """Raise if a pod can't have *labels*.

    Raises:
        DeploymentError: Kubernetes refuses one, or it is one of imagekit's.
    """
    for key, value in labels.items():
        _check_key("label", key, origin)
        if value and not _NAME.fullmatch(value):
            raise DeploymentError(
                f"wanted the label {key!r} with a value that Kubernetes takes, found "
                f"{value!r}",
                hint="at most 63 letters, digits, '-', '_' and '.', with letters or "
                "digits at both ends; longer texts can be annotations",
                origin=origin,
            )


def check_annotations(
    annotations: Mapping[str, str], origin: str | None = None
) -> None:
    """Raise if a pod can't have *annotations*.

    Raises:
        DeploymentError: Kubernetes refuses one, or all of them, or imagekit has one of
            that name.
    """
    for key in annotations:
        _check_key("annotation", key, origin)
    size = sum(len(text.encode()) for pair in annotations.items() for text in pair)
    if size > _ANNOTATIONS:
        raise DeploymentError(
            f"wanted annotations of at most {_ANNOTATIONS} bytes, found {size}",
            hint="keep large texts in a ConfigMap",
            origin=origin,
        )


def _check_key(what: str, key: str, origin: str | None) -> None:
    if key.startswith(_OWN):
        raise DeploymentError(
            f"the {what} {key!r} is imagekit's",
            hint=f"give the {what} another name",
            origin=origin,
        )
    domain, slash, name = key.rpartition("/")
    if not _NAME.fullmatch(name) or (slash and not is_domain(domain)):
        raise DeploymentError(
            f"wanted the name of a {what} that Kubernetes takes, found {key!r}",
            hint="at most 63 letters, digits, '-', '_' and '.', and before a '/' a "
            "domain in lower case",
            origin=origin,
        )
