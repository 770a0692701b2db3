"""Terms of pods that nodes have to satisfy one of, and conditions that are in all.

A term is satisfied by nodes that satisfy all its conditions. Without terms all nodes
will do; a term without conditions is one that no node satisfies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from imagekit.cluster.documents import Json

#: The field of pods that has them.
FIELD = "nodeSelectorTerms"
_CONDITIONS = "matchExpressions"

Terms: TypeAlias = Sequence[Mapping[str, Any]]


def both(theirs: Terms, ours: Terms) -> list[Json]:
    """Return terms that nodes satisfy if they satisfy one of each."""
    if not theirs or not ours:
        return list(theirs or ours)
    return [
        _joined(one, other) if one and other else {} for one in theirs for other in ours
    ]


def rebased_terms(live: Terms, before: Terms, after: Terms) -> list[Json]:
    """Return *live* with what is different in *after* than it is in *before*.

    Conditions in all terms are conditions of the pod, which the terms are divided by
    otherwise. Where *after* divides nodes in another way, just the pod's conditions of
    *live* are kept.
    """
    was, wanted = _common(before), _common(after)
    if _divided(before, was) == _divided(after, wanted):
        gone = [item for item in was if item not in wanted]
        kept = [_without(term, gone) if term else term for term in live]
        if not all(term or not old for term, old in zip(kept, live, strict=True)):
            kept = []  # one of them is satisfied by all nodes now
        return both(kept, _term([item for item in wanted if item not in was]))
    known = [item for term in before for item in _conditions(term)]
    return both(after, _term([item for item in _common(live) if item not in known]))


def _term(conditions: list[Json]) -> list[Json]:
    return [{_CONDITIONS: conditions}] if conditions else []


def _conditions(term: Mapping[str, Any]) -> list[Json]:
    return list(term.get(_CONDITIONS, ()))


def _common(terms: Terms) -> list[Json]:
    """Return the conditions that are in all terms that a node can satisfy."""
    first, *others = [_conditions(term) for term in terms if term] or [[]]
    return [item for item in first if all(item in other for other in others)]


def _divided(terms: Terms, common: list[Json]) -> list[Json]:
    """Return *terms* without what is in all of them; None is for no node at all."""
    return [_without(term, common) if term else None for term in terms] or [{}]


def _without(term: Mapping[str, Any], conditions: list[Json]) -> Json:
    found = dict(term)
    kept = [item for item in found.pop(_CONDITIONS, ()) if item not in conditions]
    return found | ({_CONDITIONS: kept} if kept else {})


def _joined(one: Mapping[str, Any], other: Mapping[str, Any]) -> Json:
    found = dict(one)
    for field, wanted in other.items():
        known = list(one.get(field, ()))
        found[field] = known + [item for item in wanted if item not in known]
    return found
