r"""One pattern of a ``.dockerignore``, with exactly the meaning it has in Docker.

Docker (moby/patternmatcher) checks a pattern with Go's ``filepath.Match``, rewrites it
character by character into a Go regular expression, and takes short cuts for patterns
with no wildcard but a leading or trailing ``**``. The rewriting does not look inside
brackets, and a backslash reaches the regular expression as it is, so that ``\d`` is a
digit. People's ignore files depend on the result, so the same is done here: the same
check, the same rewriting, and :func:`_translate` from Go's syntax to Python's. Two
escapes that nobody means are refused instead: ``\Q`` and ``\p``.
"""

from __future__ import annotations

import re
from enum import Enum, auto

_ESCAPED = frozenset(".+()|{}$")
_ANY = r"[\s\S]*"
_DIGIT = (("0", "9"),)
_SPACE = (("\t", "\n"), ("\f", "\r"), (" ", " "))
_WORD = (("0", "9"), ("A", "Z"), ("_", "_"), ("a", "z"))
_PERL = {"d": _DIGIT, "s": _SPACE, "w": _WORD}
#: https://pkg.go.dev/regexp/syntax, "ASCII character classes".
_POSIX = {
    "alnum": (("0", "9"), ("A", "Z"), ("a", "z")),
    "alpha": (("A", "Z"), ("a", "z")),
    "ascii": (("\x00", "\x7f"),),
    "blank": (("\t", "\t"), (" ", " ")),
    "cntrl": (("\x00", "\x1f"), ("\x7f", "\x7f")),
    "digit": _DIGIT,
    "graph": (("!", "~"),),
    "lower": (("a", "z"),),
    "print": ((" ", "~"),),
    "punct": (("!", "/"), (":", "@"), ("[", "`"), ("{", "~")),
    "space": (("\t", "\r"), (" ", " ")),
    "upper": (("A", "Z"),),
    "word": _WORD,
    "xdigit": (("0", "9"), ("A", "F"), ("a", "f")),
}
_CONTROL = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_WORD_BOUNDARY = (
    r"(?:(?<=[0-9A-Za-z_])(?![0-9A-Za-z_])|(?<![0-9A-Za-z_])(?=[0-9A-Za-z_]))"
)
_ZERO_WIDTH = {
    "A": r"\A",
    "z": r"\Z",
    "b": _WORD_BOUNDARY,
    "B": f"(?!{_WORD_BOUNDARY})",
}

Ranges = tuple[tuple[str, str], ...]


class BadPatternError(ValueError):
    """The pattern is malformed; the text says how."""


def pattern_expression(pattern: str) -> str:
    """Return a regular expression to be used with ``fullmatch`` on relative paths.

    *pattern* is clean (``filepath.Clean``) and has no leading ``!``.

    Raises:
        BadPatternError: Docker would refuse the pattern.
    """
    _check_syntax(pattern)
    shape, expression = _rewrite(pattern)
    match shape:
        case _Shape.EXACT:
            return re.escape(pattern)
        case _Shape.PREFIX:
            return re.escape(pattern[:-2]) + _ANY
        case _Shape.SUFFIX:
            return _suffix(pattern[2:])
        case _Shape.EXPRESSION:
            # One after the other takes nothing more, but exponential time.
            once = re.sub(r"(?:\(\.\*/\)\?){2,}", "(.*/)?", expression)
            return _translate(once)


def _suffix(suffix: str) -> str:
    """``**file`` also takes ``xfile``; ``**/file`` also takes ``file``."""
    anywhere = _ANY + re.escape(suffix)
    return f"{anywhere}|{re.escape(suffix[1:])}" if suffix[:1] == "/" else anywhere


# --- Go's filepath.Match, its syntax check only -----------------------------------


def _check_syntax(pattern: str) -> None:
    at = 0
    while at < len(pattern):
        if pattern[at] == "[":
            at = _check_class(pattern, at + 1)
        elif pattern[at] == "\\":
            if at + 1 == len(pattern):
                raise BadPatternError("a backslash at the end escapes nothing")
            at += 2
        else:
            at += 1


def _check_class(pattern: str, at: int) -> int:
    """Return where the class that opened before *at* ends."""
    if pattern[at : at + 1] == "^":
        at += 1
    first = True
    while first or pattern[at] != "]":
        at = _check_bound(pattern, at)
        if pattern[at] == "-":
            at = _check_bound(pattern, at + 1)
        first = False
    return at + 1


def _check_bound(pattern: str, at: int) -> int:
    if pattern[at : at + 1] in {"-", "]"}:
        raise BadPatternError(
            f"{pattern[at]!r} in brackets needs a backslash before it"
        )
    if pattern[at : at + 1] == "\\":
        at += 1
    if at + 1 >= len(pattern):
        raise BadPatternError("'[' is never closed")
    return at + 1


# --- moby/patternmatcher, Pattern.compile -----------------------------------------


class _Shape(Enum):
    EXACT = auto()
    PREFIX = auto()
    SUFFIX = auto()
    EXPRESSION = auto()


def _rewrite(pattern: str) -> tuple[_Shape, str]:
    """Return how the pattern is matched, and its Go regular expression."""
    shape = _Shape.EXACT
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        start, char = at, pattern[at]
        at += 1
        if pattern.startswith("**", start):
            at = start + (3 if pattern.startswith("**/", start) else 2)
            if at < len(pattern):
                parts.append("(.*/)?")
                shape = _Shape.EXPRESSION
            elif shape is _Shape.EXACT:
                shape = _Shape.PREFIX
            else:
                parts.append(".*")
                shape = _Shape.EXPRESSION
            if start == 0:
                shape = _Shape.SUFFIX
        elif char in "*?":
            parts.append("[^/]*" if char == "*" else "[^/]")
            shape = _Shape.EXPRESSION
        elif char == "\\":
            parts.append(pattern[start : start + 2])
            at = start + 2
            shape = _Shape.EXPRESSION
        elif char in "[]":
            parts.append(char)
            shape = _Shape.EXPRESSION
        else:
            parts.append("\\" + char if char in _ESCAPED else char)
    return shape, "".join(parts)


# --- Go's regexp/syntax to Python's re --------------------------------------------


def _translate(expression: str) -> str:
    parts: list[str] = []
    at = 0
    while at < len(expression):
        char = expression[at]
        if char == "[":
            part, at = _bracket(expression, at + 1)
        elif char == "\\":
            part, at = _escape(expression, at + 1)
        else:
            # The rewriting escapes all special characters but "^", which means the
            # same in both languages, and those that it writes itself.
            part = char if char in ".()*?^" else re.escape(char)
            at += 1
        parts.append(part)
    return "".join(parts)


def _escape(expression: str, at: int) -> tuple[str, int]:
    """Translate the escape whose backslash is before *at*."""
    char = expression[at]
    if char in _ZERO_WIDTH:
        return _ZERO_WIDTH[char], at + 1
    if char.lower() in _PERL:
        return _set(_perl(char), negated=False), at + 1
    literal, at = _escaped_character(expression, at)
    return re.escape(literal), at


def _escaped_character(expression: str, at: int) -> tuple[str, int]:
    char = expression[at]
    if char.isascii() and not char.isalnum():
        return char, at + 1
    if char in _CONTROL:
        return _CONTROL[char], at + 1
    octal = re.compile(r"0[0-7]{0,2}|[1-7][0-7]{1,2}").match(expression, at)
    if octal:
        return chr(int(octal[0], 8)), octal.end()
    hexadecimal = re.compile(r"x([0-9A-Fa-f]{2})").match(expression, at)
    if hexadecimal:
        return chr(int(hexadecimal[1], 16)), hexadecimal.end()
    raise BadPatternError(f"'\\{char}' is no escape (folders are separated by '/')")


def _bracket(expression: str, at: int) -> tuple[str, int]:
    """Translate the class that opened before *at*."""
    negated = expression[at : at + 1] == "^"
    at += negated
    ranges: list[tuple[str, str]] = []
    first = True
    while first or expression[at : at + 1] != "]":
        first = False
        named = re.compile(r"\[:(\^?)(.*?):\]", re.DOTALL).match(expression, at)
        if named:
            ranges += _named(named[2], negated=bool(named[1]))
            at = named.end()
        elif expression[at : at + 1] == "\\" and expression[at + 1].lower() in _PERL:
            ranges += _perl(expression[at + 1])
            at += 2
        else:
            low, at = _bound(expression, at)
            high = low
            if expression[at : at + 1] == "-" and expression[at + 1 : at + 2] != "]":
                high, at = _bound(expression, at + 1)
            if high < low:
                raise BadPatternError(f"{low}-{high} is an empty range")
            ranges.append((low, high))
    return _set(tuple(ranges), negated=negated), at + 1


def _bound(expression: str, at: int) -> tuple[str, int]:
    if at >= len(expression):
        raise BadPatternError("'[' is never closed")
    if expression[at] == "\\":
        return _escaped_character(expression, at + 1)
    return expression[at], at + 1


def _named(name: str, *, negated: bool) -> Ranges:
    if name not in _POSIX:
        raise BadPatternError(f"[:{name}:] is no class of characters")
    return _complement(_POSIX[name]) if negated else _POSIX[name]


def _perl(letter: str) -> Ranges:
    ranges = _PERL[letter.lower()]
    return _complement(ranges) if letter.isupper() else ranges


def _complement(ranges: Ranges) -> Ranges:
    gaps: list[tuple[str, str]] = []
    start = 0
    for low, high in ranges:
        if start < ord(low):
            gaps.append((chr(start), chr(ord(low) - 1)))
        start = ord(high) + 1
    return (*gaps, (chr(start), "\U0010ffff"))


def _set(ranges: Ranges, *, negated: bool) -> str:
    body = "".join(f"\\U{ord(low):08x}-\\U{ord(high):08x}" for low, high in ranges)
    return f"[{'^' if negated else ''}{body}]"
