"""Parts of what happened in a run, seen in any order, become events in order."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from imagekit.remote.following import EventOrder, Part
from imagekit.run_events import (
    AttemptEnded,
    AttemptStarted,
    Ended,
    Event,
    Reported,
    Started,
)
from imagekit.run_tree import tree_of
from imagekit.runtime.messages import event_json


def started(action: str) -> Started:
    parent = action.rpartition(".")[0] or None
    return Started(id=action, parent=parent, kind="task", name=action, time=1.0)


def own_events(action: str, children: list[str]) -> list[Event]:
    """Return what the driver of a call says: of its own action, and what it calls."""
    events: list[Event] = [Reported(id=action, html=action)]
    events += [started(child) for child in children]
    for child in children:
        events.append(AttemptStarted(id=child, number=1, time=2.0, place=child))
        events.append(AttemptEnded(id=child, number=1, time=3.0, status="succeeded"))
        events.append(Ended(id=child, time=4.0, status="succeeded", outputs=child))
    return events


@st.composite
def calls(draw: st.DrawFn) -> dict[str, list[list[Event]]]:
    """Return calls and the parts of their events, the last of which is the result's."""
    children: dict[str, list[str]] = {"a0": []}
    for _ in range(draw(st.integers(0, 6))):
        parent = draw(st.sampled_from(sorted(children)))
        child = f"{parent}.{len(children[parent]) + 1}"
        children[parent].append(child)
        children[child] = []
    found = {}
    for action, below in children.items():
        events = own_events(action, below)
        if action == "a0":
            end = Ended(id="a0", time=9.0, status="succeeded")
            events = [started("a0"), *events, end]
        cuts = draw(st.lists(st.integers(0, len(events)), max_size=3).map(sorted))
        edges = [0, *cuts, len(events)]
        found[action] = [events[start:end] for start, end in pairwise(edges)]
    return found


def parts_of(calls: dict[str, list[list[Event]]]) -> list[Part]:
    return [
        Part(
            call=call,
            number=number,
            events=tuple(events),
            is_last=number == len(parts) - 1,
        )
        for call, parts in calls.items()
        for number, events in enumerate(parts)
    ]


def tree(events: list[Event]) -> object:
    found = tree_of([event_json(event) for event in events], "running")
    return found and found.as_json()


@given(st.data(), calls())
def test_events_come_out_once_and_in_order_however_parts_are_seen(
    data: st.DataObject, calls: dict[str, list[list[Event]]]
) -> None:
    parts = parts_of(calls)
    again = data.draw(st.lists(st.sampled_from(parts)))
    seen = data.draw(st.permutations([*parts, *again]))
    order = EventOrder()

    events = [event for part in seen for event in order.take(part)]

    assert list(order.rest()) == []
    every = [event for part in parts for event in part.events]
    assert Counter(map(shown, events)) == Counter(map(shown, every))
    begun = set()
    for event in events:
        assert isinstance(event, Started) or event.id in begun
        if isinstance(event, Started):
            assert event.parent is None or event.parent in begun
            begun.add(event.id)
    for call, own in calls.items():
        said = [event for part in own for event in part]
        for action in {event.id for event in said}:
            wanted = [event for event in said if event.id == action]
            assert [event for event in events if event in wanted] == wanted, call
    assert tree(events) == tree(every)


@given(st.data(), calls())
def test_what_can_be_told_is_told_though_parts_are_missing(
    data: st.DataObject, calls: dict[str, list[list[Event]]]
) -> None:
    parts = parts_of(calls)
    seen = data.draw(st.lists(st.sampled_from(parts), unique_by=id))
    order = EventOrder()

    events = [event for part in seen for event in order.take(part)]
    events += order.rest()

    every = [event for part in seen for event in part.events]
    assert Counter(map(shown, events)) == Counter(map(shown, every))


def shown(event: Event) -> str:
    return json.dumps(event_json(event))


def test_a_pod_that_takes_over_begins_no_action_again() -> None:
    order = EventOrder()
    first = Part(call="c", number=0, events=(started("a0"),))
    second = Part(call="c", number=1, events=(started("a0"), started("a0.1")))

    events = [*order.take(first), *order.take(second)]

    assert events == [started("a0"), started("a0.1")]


def test_nothing_follows_a_result() -> None:
    order = EventOrder()
    result = Part(call="c", number=0, events=(started("a0"),), is_last=True)
    late = Part(call="c", number=0, events=(started("a0.1"),))

    assert [*order.take(result), *order.take(late)] == [started("a0")]
    assert list(order.rest()) == []
