"""Tells whose output it is, where several tasks print into one stream.

What tasks print goes to the container's standard error, also what their subprocesses
print, and what is printed last before a crash. Between their outputs stand marks: from
here on, it is the output of this action. The token in a mark is made for each
container, so that no output is taken for one.
"""

from __future__ import annotations

from collections.abc import Iterator

from imagekit.context import ActionID

_END = b"\0"
#: Longest name of an action, and more.
_LONGEST = 4096


def mark(token: str, action: str) -> bytes:
    """Return what begins the output of *action*."""
    return _start(token) + action.encode() + _END


def end_mark(token: str, action: str) -> bytes:
    """Return what ends the output of *action*; what follows is nobody's."""
    return mark(token, action) + mark(token, "")


def owner_of(action: ActionID) -> str:
    """Return what *action* is called in marks: ids are of one run only."""
    return f"{action.run_name}/{action.name}"


def own_part(token: str, text: str, owner: str) -> str:
    """Return what *owner* has printed, or nobody, of marked output.

    What stands before the first mark may be anybody's, and is left out.

    Args:
        token: that of the marks; empty if there are none.
        text: the end of the output, from anywhere on.
        owner: an action, as marks have it.
    """
    data = text.encode()
    marked = MarkedOutput(token, "")
    parts = [*marked.feed(data[max(0, data.find(_start(token))) :])]
    parts.append((marked.action, marked.close()))
    kept = b"".join(data or b"" for name, data in parts if name in ("", owner))
    return kept.decode(errors="replace")


def _start(token: str) -> bytes:
    return f"\0imagekit {token} ".encode()


class MarkedOutput:
    """Takes marked output apart.

    Args:
        token: that of the marks; empty if there are none.
        action: whose output comes before the first mark.

    Attributes:
        action: whose output comes now.
    """

    def __init__(self, token: str, action: str) -> None:
        self.action = action
        self._start = _start(token) if token else b""
        self._kept = b""

    def feed(self, data: bytes) -> Iterator[tuple[str, bytes | None]]:
        """Yield actions with what they have printed, as far as *data* tells.

        None for output means that there will be no more of it.
        """
        if not self._start:
            yield self.action, data
            return
        data = self._kept + data
        self._kept = b""
        while (at := data.find(self._start)) >= 0:
            if at:
                yield self.action, data[:at]
            name = at + len(self._start)
            end = data.find(_END, name, name + _LONGEST)
            if end < 0:
                self._kept = data[at:]
                return
            before, self.action = self.action, data[name:end].decode()
            if not self.action:
                yield before, None
            data = data[end + 1 :]
        cut = len(data) - self._undecided(data)
        if cut:
            yield self.action, data[:cut]
        self._kept = data[cut:]

    def close(self) -> bytes:
        """Return what is left at the end: output of the action that is on."""
        kept, self._kept = self._kept, b""
        return kept

    def _undecided(self, data: bytes) -> int:
        """Return how many bytes at the end of *data* may begin a mark."""
        for size in range(min(len(self._start) - 1, len(data)), 0, -1):
            if self._start.startswith(data[-size:]):
                return size
        return 0
