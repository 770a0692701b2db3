"""Taking a pod's log apart: times, and what the container printed.

With ``timestamps=true`` the API gives each line as its time, a space and the line. Long
lines are kept in parts, and some releases put a time before each part, amid the line::

    2024-05-01T10:00:00.123456789Z 16384 bytes2024-05-01T10:00:00.123459Z the rest
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache

from imagekit.records import dataclass

#: Lengths of the parts in which container runtimes keep long lines.
_PARTS = (8192, 16384)
#: What has no end for so long is given out before its end comes.
_LONGEST = 1 << 20
_TIME = re.compile(
    rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) "
)
#: Length of the longest time, with its space.
_TIME_LENGTH = 36


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a log: a line, or part of a long one.

    Attributes:
        time: nanoseconds since the epoch; 0 where the API gave no time.
        offset: where it begins, in what has this time.
        text: what was printed, with its newline if that was.
    """

    time: int
    offset: int
    text: bytes


class Pieces:
    """Takes one log apart, however it is cut into chunks.

    The pieces of a log are the same each time that it is read.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._within = False
        self._time = 0
        self._offset = 0

    def of(self, chunk: bytes) -> Iterator[Piece]:
        """Yield what is whole now that *chunk* has come."""
        self._held += chunk
        yield from self._whole(final=False)

    def rest(self) -> Iterator[Piece]:
        """Yield what is left at the end of the log: a line that was not ended."""
        yield from self._whole(final=True)

    def _whole(self, *, final: bool) -> Iterator[Piece]:
        held = self._held
        start = 0
        while start < len(held):
            if not self._within:
                found = _TIME.match(held, start)
                if found is None and not final and self._may_grow(start):
                    break
                self._time = _nanoseconds(found) if found else 0
                start = found.end() if found else start
                self._within = True
            end, ended = self._end(start, final=final)
            if end is None:
                break
            yield Piece(self._time, self._offset, bytes(held[start:end]))
            self._offset = 0 if ended else self._offset + end - start
            self._within = not ended
            start = end
        del held[:start]

    def _may_grow(self, start: int) -> bool:
        """Return whether what is held may be the beginning of a time."""
        held = self._held
        return len(held) - start < _TIME_LENGTH and held.find(b"\n", start) < 0

    def _end(self, start: int, *, final: bool) -> tuple[int | None, bool]:
        """Return where the piece from *start* ends, and whether its line or part does.

        The place is None if that is not known yet.
        """
        held = self._held
        newline = held.find(b"\n", start)
        end = newline + 1 if newline >= 0 else len(held)
        if self._offset == 0:
            for cut in (start + part for part in _PARTS):
                if cut < end and self._is_time(cut):
                    return cut, True
        if end - start > _LONGEST:
            return start + _LONGEST, False
        return (end, True) if newline >= 0 or final else (None, False)

    def _is_time(self, place: int) -> bool:
        """Return whether a part begins at *place*, and not what looks like a time."""
        found = _TIME.match(self._held, place)
        return found is not None and _nanoseconds(found) >= self._time


def _nanoseconds(found: re.Match[bytes]) -> int:
    second, fraction, zone = found.groups()
    whole = _seconds(second, zone)
    return whole * 1_000_000_000 + int((fraction or b"").ljust(9, b"0"))


@lru_cache(maxsize=64)
def _seconds(second: bytes, zone: bytes) -> int:
    try:
        moment = datetime.fromisoformat((second + zone).decode())
    except ValueError:  # such as a 31st of June
        return 0
    return int(moment.timestamp())
