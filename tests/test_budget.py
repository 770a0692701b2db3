"""Groups of distributions: within the budget, whole, and stable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagekit.errors import BuildFailedError
from imagekit.plan import Distribution
from imagekit_oci.budget import SMALL, group


def item(name: str, size: int | None) -> Distribution:
    return Distribution(
        name=name, version="1", filename=f"{name}-1.whl", sha256="0", size=size
    )


NAMES = st.text("abcdefghijklmnop", min_size=1, max_size=6)
SIZES = st.none() | st.integers(0, 4 * SMALL)
SETS = st.dictionaries(NAMES, SIZES, max_size=150).map(
    lambda found: [item(name, size) for name, size in found.items()]
)


@given(SETS, st.integers(1, 120))
def test_every_distribution_is_in_one_group_and_the_budget_holds(
    items: list[Distribution], budget: int
) -> None:
    groups = group(items, budget=budget)

    assert len(groups) <= budget
    assert all(groups)
    assert sorted(x.name for g in groups for x in g) == sorted(x.name for x in items)
    assert all(list(g) == sorted(g, key=lambda x: x.name) for g in groups)


@given(SETS, st.randoms())
def test_the_order_of_the_argument_plays_no_part(
    items: list[Distribution], random: st.DataObject
) -> None:
    shuffled = list(items)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert group(shuffled, budget=60) == group(items, budget=60)


@given(SETS.filter(lambda items: all(x.size is not None for x in items)), NAMES)
def test_one_more_small_one_changes_one_group_or_splits_it(
    items: list[Distribution], name: str
) -> None:
    before = [x for x in items if x.name != name]
    after = [*before, item(name, 1000)]
    # no limit: near it, groups have to be drawn anew
    kept = set(group(before, budget=1000))
    made = set(group(after, budget=1000))

    assert len(kept - made) <= 1
    # a split that leaves all on one side is made again, so there is no empty group
    changed = [x for g in made - kept for x in g]
    assert {x.name for x in changed} >= {name}
    assert {x for g in kept - made for x in g} == {x for x in changed if x.name != name}


def test_big_ones_have_layers_of_their_own_and_come_first() -> None:
    items = [item("small", 10), item("big", SMALL), item("bigger", 9 * SMALL)]

    groups = group(items, budget=10)

    assert [[x.name for x in g] for g in groups] == [["bigger"], ["big"], ["small"]]


def test_unknown_sizes_share_layers_only_where_they_must() -> None:
    items = [item(f"p{number}", None) for number in range(130)]

    assert len(group(items, budget=200)) == 130
    assert 10 < len(group(items, budget=100)) <= 100


def test_a_usual_set_gives_few_layers() -> None:
    small = [item(f"small-{number}", 50_000) for number in range(24)]
    big = [item(f"big-{number}", 10 * SMALL) for number in range(12)]

    assert 12 + 3 <= len(group(small + big, budget=120)) <= 12 + 8


def test_nothing_needs_no_budget() -> None:
    assert group([], budget=0) == ()


def test_no_room_is_an_error() -> None:
    with pytest.raises(BuildFailedError, match="no room for a layer of Python"):
        group([item("a", 1)], budget=0)
