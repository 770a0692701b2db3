"""The tree of a run's actions, made from the events that were recorded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

from imagekit.records import dataclass
from imagekit.run_events import ROOT, Json, Kind, Status

#: What errors say of where something is defined.
_DEFINED = re.compile(r"\(defined at (?:[^()]*/)?([^()/]+:\d+)\)")

#: How a run or action is; ``lost``: who ran it died without saying how it ended.
State: TypeAlias = Status | Literal["running", "lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptNode:
    """One attempt at a task; times are seconds since the epoch.

    Attributes:
        ended: None as long as nobody said that it ended.
        image: the image that it ran in; None in the process of the run.
        place: the container; None in the process of the run.
    """

    number: int
    started: float
    ended: float | None
    status: State
    error: Json = None
    image: str | None = None
    place: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return everything as a JSON document."""
        return {
            "number": self.number,
            "status": self.status,
            "started": self.started,
            "ended": self.ended,
            "error": self.error,
            "image": self.image,
            "place": self.place,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionNode:
    """An action, with those that it called in the order of the calls.

    Attributes:
        name: full name of the task, name of the function or of the group.
        environment: name of the task's environment.
        ended: None as long as nobody said that it ended.
        report: whether it has a page.
    """

    id: str
    kind: Kind
    name: str
    environment: str | None
    status: State
    started: float
    ended: float | None
    attempts: tuple[AttemptNode, ...] = ()
    inputs: Json = None
    outputs: Json = None
    error: Json = None
    report: bool = False
    children: tuple[ActionNode, ...] = ()

    @property
    def image(self) -> str | None:
        """The image of its last attempt; None if that was in the run's process."""
        return self.attempts[-1].image if self.attempts else None

    @property
    def seconds(self) -> float | None:
        """How long it took; None if nobody knows."""
        return None if self.ended is None else self.ended - self.started

    def walk(self, depth: int = 0) -> Iterator[tuple[int, ActionNode]]:
        """Yield this action and all below it, with their depth, in order of calls."""
        yield depth, self
        for child in self.children:
            yield from child.walk(depth + 1)

    def as_json(self) -> dict[str, Any]:
        """Return everything as a JSON document."""
        return {
            **self._told(),
            "started": self.started,
            "ended": self.ended,
            "image": self.image,
            "error": self.error,
            "attempts": [attempt.as_json() for attempt in self.attempts],
            "children": [child.as_json() for child in self.children],
        }

    def comparable(self) -> dict[str, Any]:
        """Return what is the same wherever the run's tasks run."""
        return {
            **self._told(),
            "error": without_places(self.error),
            "attempts": [
                {
                    "number": attempt.number,
                    "status": attempt.status,
                    "error": without_places(attempt.error),
                }
                for attempt in self.attempts
            ],
            "children": [child.comparable() for child in self.children],
        }

    def _told(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "kind": self.kind,
            "name": self.name,
            "environment": self.environment,
            "status": self.status,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "report": self.report,
        }


def tree_of(
    events: list[dict[str, Any]], unfinished: Literal["running", "lost"]
) -> ActionNode | None:
    """Return the run's own task with all below it, or None if it never began.

    Args:
        events: documents as :mod:`imagekit.run_record` writes them.
        unfinished: the state of what has no end.
    """
    actions: dict[str, _Action] = {}
    for event in events:
        if event["event"] == "started":
            actions.setdefault(event["id"], _Action(event))
        elif event.get("id") in actions:
            actions[event["id"]].take(event)
    children: dict[str, list[str]] = {}
    for action in actions.values():
        children.setdefault(action.started["parent"] or "", []).append(
            action.started["id"]
        )

    def made(name: str) -> ActionNode:
        below = sorted(children.get(name, ()), key=call_order)
        return actions[name].node(unfinished, tuple(map(made, below)))

    return made(ROOT) if ROOT in actions else None


class _Action:
    """What the events say about one action."""

    def __init__(self, started: dict[str, Any]) -> None:
        self.started = started
        self._ended: dict[str, Any] = {}
        self._report = False
        self._attempts: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}

    def take(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "attempt-started":
                self._attempts[event["number"]] = (event, {})
            case "attempt-ended" if event["number"] in self._attempts:
                started, _ = self._attempts[event["number"]]
                self._attempts[event["number"]] = (started, event)
            case "attempt-ended":  # it failed before it could start
                self._attempts[event["number"]] = ({"time": event["time"]}, event)
            case "ended":
                self._ended = event
            case "reported":
                self._report = True
            case _:
                pass  # of a later version

    def node(
        self, unfinished: Literal["running", "lost"], children: tuple[ActionNode, ...]
    ) -> ActionNode:
        started, ended = self.started, self._ended
        return ActionNode(
            id=started["id"],
            kind=started["kind"],
            name=started["name"],
            environment=started["environment"],
            status=ended.get("status", unfinished),
            started=started["time"],
            ended=ended.get("time"),
            attempts=tuple(
                AttemptNode(
                    number=number,
                    started=begin["time"],
                    ended=end.get("time"),
                    status=end.get("status", unfinished),
                    error=end.get("error"),
                    image=begin.get("image"),
                    place=begin.get("place"),
                )
                for number, (begin, end) in sorted(self._attempts.items())
            ),
            inputs=started["inputs"],
            outputs=ended.get("outputs"),
            error=ended.get("error"),
            report=self._report,
            children=children,
        )


def call_order(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key by which ids of actions are in the order of their calls.

    Calls of a second attempt (``a0.r2.1``) come after all of the first.
    """
    parts = []
    for part in name.split("."):
        digits = part.lstrip("ar")
        number = int(digits) if digits.isdecimal() else 0
        parts.append((1 if part.startswith("r") else 0, number, part))
    return tuple(parts)


def without_places(error: Json) -> Json:
    """Return what an encoded failure says wherever it happened.

    That is classes and messages, of its causes and members too: tracebacks and
    attributes name files, which lie elsewhere in a container. Of the file where
    something is defined, the name counts.
    """
    if not isinstance(error, dict):
        return error
    kept = {key: error[key] for key in ("class", "message", "notes") if key in error}
    if isinstance(kept.get("message"), str):
        kept["message"] = _DEFINED.sub(r"(defined at \1)", kept["message"])
    if "cause" in error:
        kept["cause"] = without_places(error["cause"])
    if isinstance(error.get("members"), list):
        kept["members"] = [without_places(member) for member in error["members"]]
    return kept
