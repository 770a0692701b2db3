"""Keeps the values of secrets out of what is shown and kept.

A command can print a secret. What is found here is the value as it is, each long line
of it, and the value in base64, URL-encoded, in hexadecimal and as JSON. A command that
prints it in another form, or a letter at a time, is beyond help.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

_MARK = "***"
#: Shorter pieces of encoded or many-lined values would match by chance.
_SHORTEST_PIECE = 6


class Redactor:
    """Replaces *values* and their usual encodings."""

    def __init__(self, values: Iterable[str]) -> None:
        forms = {form for value in values if value for form in _forms(value)}
        # The longest first: a shorter one may be a part of it.
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = (
            re.compile("|".join(map(re.escape, ordered))) if ordered else None
        )

    def __call__(self, text: str) -> str:
        """Return *text* without the values."""
        return self._pattern.sub(_MARK, text) if self._pattern else text


def _forms(value: str) -> Iterator[str]:
    stripped = value.strip()
    yield from (item for item in (value, stripped) if item)
    for line in value.splitlines():
        if len(line.strip()) >= _SHORTEST_PIECE:
            yield line.strip()
    data = stripped.encode("utf-8", "surrogateescape")
    encoded = [
        quote(data, safe=""),
        quote(data),
        quote_plus(data),
        data.hex(),
        data.hex().upper(),
        json.dumps(stripped)[1:-1],
        *_base64_forms(data),
    ]
    yield from (item for item in encoded if len(item) >= _SHORTEST_PIECE)


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
