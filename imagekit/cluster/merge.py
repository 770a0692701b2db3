"""Two pods made one: nothing of either is lost, and nothing is there twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagekit.cluster.documents import Json
from imagekit.cluster.node_terms import FIELD, both
from imagekit.cluster.pod_lists import DEEP, by_key

#: Lists in which what comes first is seen by what follows, or taken for the main one.
_FIRST = frozenset({"env", "containers"})


def merged(theirs: Json, ours: Json) -> Json:
    """Return *theirs* with *ours* in it, which wins where both say something.

    Items of lists are told apart as Kubernetes does. Nodes have to satisfy what both
    require.
    """
    return _merged(theirs, ours, "")


def _merged(theirs: Json, ours: Json, field: str) -> Json:
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        found = {
            key: _merged(value, ours[key], key) if key in ours else value
            for key, value in theirs.items()
        }
        return found | {key: ours[key] for key in ours if key not in found}
    if isinstance(theirs, list) and isinstance(ours, list):
        return _lists(theirs, ours, field)
    return ours


def _lists(theirs: list[Any], ours: list[Any], field: str) -> list[Any]:
    if field == FIELD:
        return both(theirs, ours)
    known, new = by_key(field, theirs), by_key(field, ours)
    if known is None or new is None:
        return ours
    found = {
        key: _item(item, new[key], field) if key in new else item
        for key, item in known.items()
    }
    added = {key: item for key, item in new.items() if key not in known}
    if field == "env":
        # Kubernetes lets a variable refer to those before it.
        return [*ours, *(item for key, item in known.items() if key not in new)]
    pairs = added | found if field in _FIRST else found | added
    return list(pairs.values())


def _item(theirs: Any, ours: Any, field: str) -> Any:
    return _merged(theirs, ours, "") if field in DEEP else ours
