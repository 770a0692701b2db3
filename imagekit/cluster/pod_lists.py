"""Lists of pods whose items can be told apart, as Kubernetes does when it merges."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

_KEYS = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "env": ("name",),
    "hostAliases": ("ip",),
    "imagePullSecrets": ("name",),
    "ports": ("containerPort", "protocol"),
    "resourceClaims": ("name",),
    "claims": ("name", "request"),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "volumeDevices": ("devicePath",),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}
#: What is left out is this.
_DEFAULTS = {"protocol": "TCP"}
#: Lists of items that are equal, or have nothing to do with each other.
_SETS = frozenset(
    {
        "envFrom",
        "matchExpressions",
        "preferredDuringSchedulingIgnoredDuringExecution",
        "tolerations",
    }
)
#: Lists whose items are merged themselves; those of others are replaced: the fields of
#: a volume or a variable exclude each other.
DEEP = frozenset({"containers", "initContainers", "ephemeralContainers"})


def by_key(field: str, items: Sequence[Any]) -> dict[Any, Any] | None:
    """Return the items of the list *field* by what tells them apart.

    None if nothing does: the list is one value.
    """
    found: dict[Any, Any] = {}
    for item in items:
        key = _key(field, item)
        if key is None or (key in found and field not in _SETS):
            return None
        found[key] = item
    return found if is_keyed(field) else None


def is_keyed(field: str) -> bool:
    """Return whether items of the list *field* can be told apart."""
    return field in _KEYS or field in _SETS


def _key(field: str, item: Any) -> Any:
    if field in _SETS:
        return json.dumps(item, sort_keys=True, default=repr)
    names = _KEYS.get(field)
    if names is None or not isinstance(item, Mapping) or names[0] not in item:
        return None
    return tuple(item.get(name, _DEFAULTS.get(name)) for name in names)
