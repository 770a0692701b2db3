"""What tasks print in this process goes to their logs too."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from imagekit.context import active


class _Tee:
    """A text stream; what tasks write to it is also logged.

    All else is the stream's own.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        state = active()
        if state is not None:
            data = text.encode("utf-8", "replace")
            state.recorder.log(state.context.action.name, data)
        return self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


_lock = threading.Lock()
_users = 0
_tees: dict[str, _Tee] = {}
_streams: dict[str, TextIO] = {}


@contextmanager
def logged_prints() -> Iterator[None]:
    """Have ``sys.stdout`` and ``sys.stderr`` log what tasks write to them."""
    global _users  # noqa: PLW0603  (a process has one stdout, and may have many runs)
    with _lock:
        _users += 1
        if _users == 1:
            for name in ("stdout", "stderr"):
                _streams[name] = getattr(sys, name)
                _tees[name] = _Tee(_streams[name])
                setattr(sys, name, _tees[name])
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                for name, tee in _tees.items():
                    if getattr(sys, name) is tee:  # nobody has changed it since
                        setattr(sys, name, _streams[name])
                _tees.clear()
