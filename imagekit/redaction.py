"""Keeps the values of secrets out of what is shown and kept.

A command or a task can print a secret. What is found here is the value as it is, each
long line of it, and the value in base64, URL-encoded, in hexadecimal, and as JSON,
Python and HTML write it. A program that prints it in another form, or a letter at a
time, is beyond help.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

_MARK = "***"
#: Shorter pieces of encoded or many-lined values would match by chance.
_SHORTEST_PIECE = 6


class Redactor:
    """Replaces *values* and their usual encodings."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self.values = frozenset(value for value in values if value)
        forms = {form for value in self.values for form in _forms(value)}
        # The longest first: a shorter one may be a part of it.
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = (
            re.compile("|".join(map(re.escape, ordered))) if ordered else None
        )
        self._forms = tuple(_bytes(form) for form in ordered)
        self._found = re.compile(b"|".join(map(re.escape, self._forms)))
        first = {form[:1] for form in self._forms}
        self._first = re.compile(b"|".join(map(re.escape, sorted(first))))
        self._longest = max(map(len, self._forms), default=0)

    def __call__(self, text: str) -> str:
        """Return *text* without the values."""
        return self._pattern.sub(_MARK, text) if self._pattern else text

    def document(self, value: Any) -> Any:
        """Return a JSON document without the values, in its keys and numbers too."""
        if self._pattern is None or value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self(value)
        if isinstance(value, dict):
            return {self(str(k)): self.document(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self.document(item) for item in value]
        text = json.dumps(value)
        return value if self(text) == text else _MARK

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the beginning of *data* without the values, and the rest as it is.

        The rest may be the beginning of a value: more has to come to tell.
        """
        if not self._forms:
            return data, b""
        if not any(form in data for form in self._forms):
            at = self._undecided(data, 0)
            return data[:at], data[at:]
        parts, at, undecided = [], 0, 0
        while True:
            # A value that begins where a longer one may begin is not decided yet. One
            # that begins before that is, even if it ends behind it.
            if at >= undecided:
                undecided = self._undecided(data, at)
            match = self._found.search(data, at)
            if match is None or match.start() >= undecided:
                parts.append(data[at:undecided])
                return b"".join(parts), data[undecided:]
            parts += [data[at : match.start()], _MARK.encode()]
            at = match.end()

    def whole(self, data: bytes) -> bytes:
        """Return *data*, to which nothing will be added, without the values."""
        return self._found.sub(_MARK.encode(), data) if self._forms else data

    def _undecided(self, data: bytes, start: int) -> int:
        """Return where the first thing begins that more data may make a value."""
        begin = max(start, len(data) - self._longest + 1)
        for match in self._first.finditer(data, begin):
            tail = data[match.start() :]
            if any(form.startswith(tail) and form != tail for form in self._forms):
                return match.start()
        return len(data)


class RedactedStream:
    """Replaces values in a stream of bytes, also where they are split over chunks.

    Attributes:
        redactor: what it replaces; another one holds from the next chunk on.
    """

    def __init__(self, redactor: Redactor) -> None:
        self.redactor = redactor
        self._kept = b""

    def feed(self, data: bytes) -> bytes:
        """Return what can be shown now that *data* has come."""
        shown, self._kept = self.redactor.split(self._kept + data)
        return shown

    def close(self) -> bytes:
        """Return what is left."""
        kept, self._kept = self._kept, b""
        return self.redactor.whole(kept)


def _forms(value: str) -> Iterator[str]:
    stripped = value.strip()
    yield from (item for item in (value, stripped) if item)
    for line in value.splitlines():
        if len(line.strip()) >= _SHORTEST_PIECE:
            yield line.strip()
    data = _bytes(stripped)
    encoded = [
        quote(data, safe=""),
        quote(data),
        quote_plus(data),
        data.hex(),
        data.hex().upper(),
        json.dumps(stripped)[1:-1],
        json.dumps(stripped, ensure_ascii=False)[1:-1],
        repr(stripped)[1:-1],
        *_html_forms(stripped),
        *_base64_forms(data),
    ]
    yield from (item for item in encoded if len(item) >= _SHORTEST_PIECE)


def _html_forms(value: str) -> Iterator[str]:
    text = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    yield text
    double = text.replace('"', "&quot;")
    yield double
    for apostrophe in ("&#x27;", "&#39;"):
        yield double.replace("'", apostrophe)


def _base64_forms(data: bytes) -> Iterator[str]:
    """Yield what base64 makes of *data*, whatever stands before and behind it.

    Three bytes become four letters, so there are three ways to cut; letters in which
    other bytes have a share are left out.
    """
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(data).decode()
        yield encode(data).decode().rstrip("=")
        for shift in range(3):
            text = encode(bytes(shift) + data).decode()
            first = (0, 2, 3)[shift]
            whole = (shift + len(data)) // 3 * 4
            yield text[first:whole]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
