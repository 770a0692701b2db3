"""Which distributions share a layer: few layers, and few that change.

A big distribution has a layer of its own. Small ones share, and which ones depends on
a hash of their names: they are the leaves of a binary tree over its bits, and a leaf
that holds too many is split in two. So the groups depend on nothing but the set of
distributions, and one more small one changes one group, or splits it; all other layers
stay as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from imagekit.errors import BuildFailedError
from imagekit.plan import Distribution

#: Wheels of fewer bytes than this share layers.
SMALL = 512 * 1024
#: How many share one.
_CAPACITY = 8
#: Bits of a name's hash: more than any set of names can use up.
_BITS = 64


def group(
    distributions: Sequence[Distribution], *, budget: int
) -> tuple[tuple[Distribution, ...], ...]:
    """Return *distributions* in groups, one a layer, at most *budget* of them.

    Big ones come first, so that layers below are those which change least; each group
    is sorted by name. The order of the argument plays no part. Where the budget is too
    small, what counts as small grows until it is not. A distribution of unknown size
    has a layer of its own while that is possible.

    Raises:
        BuildFailedError: the budget has no room for any layer.
    """
    if not distributions:
        return ()
    if budget < 1:
        raise BuildFailedError(
            "the image has no room for a layer of Python distributions: container "
            "runtimes take no more than 127 layers",
            hint="use a base image with fewer layers",
        )
    groups = _groups(distributions, SMALL, _CAPACITY, unknown=SMALL)
    factor = 1
    while len(groups) > budget:
        groups = _groups(distributions, SMALL * factor, _CAPACITY * factor, unknown=0)
        factor *= 2
    return groups


def _groups(
    distributions: Sequence[Distribution], small: int, capacity: int, *, unknown: int
) -> tuple[tuple[Distribution, ...], ...]:
    by_name = sorted(distributions, key=lambda item: item.name)
    sizes = {item.name: unknown if item.size is None else item.size for item in by_name}
    big = [item for item in by_name if sizes[item.name] >= small]
    big.sort(key=lambda item: -sizes[item.name])
    shared = [item for item in by_name if sizes[item.name] < small]
    return (*((item,) for item in big), *_leaves(shared, capacity, 0))


def _leaves(
    distributions: Sequence[Distribution], capacity: int, depth: int
) -> Iterator[tuple[Distribution, ...]]:
    if len(distributions) > capacity and depth < _BITS:
        for bit in (0, 1):
            half = [item for item in distributions if _bit(item.name, depth) == bit]
            yield from _leaves(half, capacity, depth + 1)
    elif distributions:
        yield tuple(distributions)


def _bit(name: str, depth: int) -> int:
    digest = hashlib.sha256(name.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "big") >> (_BITS - 1 - depth) & 1
