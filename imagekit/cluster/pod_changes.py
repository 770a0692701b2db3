"""What changed between two pods, done to a third, which somebody changed otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagekit.cluster.documents import Json
from imagekit.cluster.node_terms import FIELD, rebased_terms
from imagekit.cluster.pod_lists import DEEP, by_key

_ABSENT: Any = object()


def rebased(live: Json, before: Json, after: Json) -> Json:
    """Return *live* with what is different in *after* than it is in *before*.

    What is equal in these two stays as *live* has it; where they differ, *after* wins.
    """
    found = _rebased(live, before, after, "")
    return {} if found is _ABSENT else found


def _rebased(live: Any, before: Any, after: Any, field: str) -> Any:
    if before == after:
        return live
    if live == before:
        return after
    if field == FIELD:
        return _terms(live, before, after)
    if _are(Mapping, live, before, after):
        return _mappings(live, before, after)
    if _are(list, live, before, after):
        return _lists(live, before, after, field)
    return after


def _are(kind: type, *values: Any) -> bool:
    return all(value is _ABSENT or isinstance(value, kind) for value in values)


def _mappings(live: Any, before: Any, after: Any) -> Any:
    old, known, new = (
        {} if value is _ABSENT else value for value in (before, live, after)
    )
    found = {}
    for key in dict.fromkeys((*known, *new)):
        value = _rebased(
            known.get(key, _ABSENT), old.get(key, _ABSENT), new.get(key, _ABSENT), key
        )
        if value is not _ABSENT:
            found[key] = value
    if not found and (after is _ABSENT or (live is _ABSENT and new)):
        return _ABSENT
    return found


def _lists(live: Any, before: Any, after: Any, field: str) -> Any:
    old, known, new = (
        by_key(field, [] if value is _ABSENT else value)
        for value in (before, live, after)
    )
    if old is None or known is None or new is None:
        return after
    found = {}
    for key, item in new.items():
        value = _item(known.get(key, _ABSENT), old.get(key, _ABSENT), item, field)
        if value is not _ABSENT:
            found[key] = value
    items = _with_others(found, known, old.keys() | new.keys())
    return items if items or after is not _ABSENT else _ABSENT


def _item(live: Any, before: Any, after: Any, field: str) -> Any:
    if before == after:
        return live
    if live is _ABSENT or field not in DEEP:
        return after
    return _rebased(live, before, after, "")


def _with_others(found: Any, live: Any, ours: Any) -> list[Any]:
    """Return *found* with what only *live* has, each behind what it is behind there."""
    order = list(found)
    place = 0
    for key in live:
        if key not in ours:
            order.insert(place, key)
        elif key not in found:
            continue
        place = order.index(key) + 1
    return [found[key] if key in found else live[key] for key in order]


def _terms(live: Any, before: Any, after: Any) -> Any:
    found = rebased_terms(
        *([] if value is _ABSENT else value for value in (live, before, after))
    )
    return found or _ABSENT
