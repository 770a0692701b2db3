"""What somebody meant who wrote a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable


def suggestion(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Return a hint: the known name that is nearest to *name*, else all of them.

    *prefix* is common to all names, and makes none of them nearer.
    """
    from difflib import get_close_matches  # noqa: PLC0415  (only for errors)

    bare = {item.removeprefix(prefix).casefold(): item for item in known}
    close = get_close_matches(name.removeprefix(prefix).casefold(), bare, n=1)
    if close:
        return f"did you mean {bare[close[0]]!r}?"
    return f"known: {', '.join(bare.values())}" if bare else "there are none"
