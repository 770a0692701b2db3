"""What the layers of an image hold, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def layer_titles(
    history: Sequence[dict[str, Any]],
    layers: int,
    instructions: Sequence[tuple[str, str]],
) -> tuple[str, ...]:
    """Return a title for each of the last *layers* layers.

    BuildKit's history has an entry for each instruction. It tells which of them made
    no layer after all, such as a ``WORKDIR`` that was there.

    Args:
        history: the history in BuildKit's config.
        layers: how many layers are above the base.
        instructions: keyword and title of those that can make layers, bottom first.
    """
    entries = [entry for entry in history if _keyword(entry) != ""]
    own = entries[-len(instructions) :] if instructions else []
    matched = len(own) == len(instructions) and all(
        _keyword(entry) == keyword
        for entry, (keyword, _) in zip(own, instructions, strict=True)
    )
    if matched:
        titled = [
            title
            for entry, (_, title) in zip(own, instructions, strict=True)
            if not entry.get("empty_layer")
        ]
    else:
        titled = []
    filled = [
        str(entry.get("created_by") or "layer")
        for entry in history
        if not entry.get("empty_layer")
    ]
    found = [*filled[: len(filled) - len(titled)], *titled]
    missing = max(0, layers - len(found))
    return tuple(["layer"] * missing + found[len(found) + missing - layers :])


def _keyword(entry: dict[str, Any]) -> str:
    """Return the instruction of an entry, if it is one that can make a layer."""
    word = str(entry.get("created_by") or "").split(" ", 1)[0]
    return word if word in ("RUN", "COPY", "ADD", "WORKDIR") else ""
