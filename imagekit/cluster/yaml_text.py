"""Manifests as YAML that people can read.

Written here rather than by a library, for what is read by several parsers: PyYAML
writes ``y`` and ``12e4567`` without quotes, which the parsers of Kubernetes take for a
truth value and a number, and a version may look like that. Only words that mean a text
to every parser go without quotes here. The text is also the same on every machine,
whichever library is installed there, or none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

Json: TypeAlias = Any

#: What begins with a letter or "/" and goes on without anything special.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9._/-]*")
#: What YAML 1.1 or 1.2 takes for something else than a text, in lower case.
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
#: What a block of lines can hold as it is: no controls, no other ends of lines, no
#: byte order mark, nothing outside of Unicode.
_BLOCK = re.compile(
    r"[\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]+"
)
_UNPRINTABLE = re.compile(
    r"[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_STEP = "  "


def yaml_text(document: Json) -> str:
    """Return a document; JSON's values are all that it may hold.

    Keys keep their order.
    """
    return "".join(f"{line}\n" for line in _lines(document, ""))


def yaml_stream(documents: Iterable[Json]) -> str:
    """Return several documents, ``---`` between them."""
    return "---\n".join(map(yaml_text, documents))


def _lines(value: Json, indent: str) -> Iterator[str]:
    """Yield the lines of a value that begins on a line of its own."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _entry(f"{indent}{_scalar(key)}:", item, indent)
    elif isinstance(value, list | tuple) and value:
        for item in value:
            yield from _item(item, indent)
    else:
        yield f"{indent}{_scalar(value)}"


def _entry(head: str, value: Json, indent: str) -> Iterator[str]:
    """Yield the lines of a key and its value."""
    if _is_block(value):
        yield from _block(head, value, indent)
    elif isinstance(value, Mapping) and value:
        yield head
        yield from _lines(value, indent + _STEP)
    elif isinstance(value, list | tuple) and value:
        # The dashes stand below the key, as kubectl has them.
        yield head
        yield from _lines(value, indent)
    else:
        yield f"{head} {_scalar(value)}"


def _item(value: Json, indent: str) -> Iterator[str]:
    """Yield the lines of an item of a list."""
    if _is_block(value):
        yield from _block(f"{indent}-", value, indent)
        return
    inner = indent + _STEP
    lines = _lines(value, inner)
    first = next(lines)
    yield f"{indent}- {first[len(inner) :]}"
    yield from lines


def _block(head: str, text: str, indent: str) -> Iterator[str]:
    """Yield a text of several lines as it is."""
    # What follows the last line break is kept; it is not part of the text otherwise.
    keep = "+" if text.endswith("\n") else "-"
    body = text.removesuffix("\n")
    yield f"{head} |{len(_STEP)}{keep}"
    for line in body.split("\n"):
        yield f"{indent}{_STEP}{line}" if line else ""


def _is_block(value: Json) -> bool:
    return (
        isinstance(value, str)
        and "\n" in value.strip("\n")
        and _BLOCK.fullmatch(value) is not None
    )


def _scalar(value: Json) -> str:
    match value:
        case str():
            if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
                return value
            return _quoted(value)
        case float():
            text = json.dumps(value, allow_nan=False)
            # Without a point, YAML 1.1 takes it for a text.
            return text if "." in text else text.replace("e", ".0e")
        case None | bool() | int():
            return json.dumps(value)
        case dict() | list() | tuple() if not value:
            return "{}" if isinstance(value, dict) else "[]"
        case _:
            raise TypeError(f"wanted what JSON can hold, found {type(value).__name__}")


def _quoted(text: str) -> str:
    """Return a text in double quotes, as JSON has it, but for what YAML has not."""
    escaped = json.dumps(text, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: _escape(found[0]), escaped)


def _escape(char: str) -> str:
    code = ord(char)
    # JSON writes pairs of surrogates, which YAML does not put together.
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004
