"""Whether an object in the cluster is what a request made of it, or would."""

from __future__ import annotations

from imagekit.cluster.access import Json


def is_made_from(sent: Json, there: Json) -> bool:
    """Return whether *there* is what was made of *sent*, as far as imagekit tells."""
    if "deletionTimestamp" in there["metadata"]:
        return False
    labels = {"metadata": {"labels": sent["metadata"].get("labels") or {}}}
    data = {key: sent[key] for key in ("data", "binaryData") if sent.get(key)}
    same = all(there.get(key) == value for key, value in data.items())
    return same and holds(there, labels)


def holds(there: Json, merged: Json) -> bool:
    """Return whether merging *merged* into *there* would change nothing."""
    if not isinstance(merged, dict):
        return bool(there == merged)
    if not isinstance(there, dict):
        return False
    return all(
        key not in there if value is None else holds(there.get(key), value)
        for key, value in merged.items()
    )
