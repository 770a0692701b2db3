"""The namespace on a cluster that deployments and runs are in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imagekit.errors import SettingsError

if TYPE_CHECKING:
    from imagekit.initialization import Configuration
    from imagekit.settings import Settings

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def namespace_of(settings: Settings, configuration: Configuration) -> str | None:
    """Return the namespace that was asked for; None leaves it to the kubeconfig.

    It is the setting, else ``PROJECT-DOMAIN`` or ``PROJECT`` of *configuration*.

    Raises:
        SettingsError: no namespace can be called that.
    """
    if settings.namespace is not None:
        source = settings.sources.get("namespace", "setting")
        return _checked(settings.namespace, f"'namespace' ({source})")
    if configuration.project is None:
        return None
    parts = [configuration.project, configuration.domain]
    name = "-".join(part for part in parts if part)
    given = "project and domain" if configuration.domain else "project"
    return _checked(name, f"the {given} of init()")


def _checked(name: str, what: str) -> str:
    if _LABEL.fullmatch(name):
        return name
    raise SettingsError(
        f"{what} gives the namespace {name!r}, which no namespace can be called",
        hint="use at most 63 lower-case letters, digits and '-', with a letter or "
        "digit at both ends; the setting 'namespace' goes before project and domain",
    )
