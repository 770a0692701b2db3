"""Which files are left out of a source folder: the rules of a ``.dockerignore``.

The rules are Docker's own (moby/patternmatcher with its ``ignorefile``, as BuildKit
walks a build context), so that an ignore file means the same to every builder:

- Lines that start with ``#`` are comments; blanks around a line are dropped.
- Patterns are relative to the folder, with or without ``/`` in front.
- ``*`` and ``?`` stop at ``/``, ``**`` does not, ``[a-z]`` and ``[^a-z]`` are classes,
  a backslash escapes (on every system: it never separates folders).
- What matches a folder holds for everything below it.
- ``!`` re-includes; the last pattern that matches decides. A folder's patterns are
  settled before those of its contents, which shows in one case: after ``a/b``, ``!a``
  does not re-include ``a/b``, since it says nothing new about the folder ``a``.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from functools import lru_cache

from imagekit.errors import DefinitionError
from imagekit.ignore_pattern import BadPatternError, pattern_expression
from imagekit.records import dataclass

#: Left out of every source folder, unless a ``!pattern`` of the user's ignore file
#: brings it back. A file is on the list if a machine made it and makes it again, or if
#: it usually holds secrets; a matter of taste is not.
DEFAULT_PATTERNS: tuple[str, ...] = (
    # Version control: large, and different in every checkout.
    "**/.git",
    "**/.hg",
    "**/.svn",
    # Environments and installed packages of the host; the image has its own.
    "**/.venv",
    "**/node_modules",
    "**/.tox",
    "**/.nox",
    # Written by Python and its tools.
    "**/__pycache__",
    "**/*.pyc",
    "**/*.pyo",
    "**/*.egg-info",
    "**/.eggs",
    "**/.mypy_cache",
    "**/.pytest_cache",
    "**/.ruff_cache",
    "**/.hypothesis",
    "**/.ipynb_checkpoints",
    # Written by desktops.
    "**/.DS_Store",
    # Credentials: an image is shared more widely than the folder it came from.
    "**/.env",
    "**/.env.local",
    "**/.env.*.local",
    "**/.netrc",
    "**/.pypirc",
    "**/.git-credentials",
    "**/.ssh",
    "**/.aws",
)

# unicode.IsSpace of Go; str.strip() would also take U+001C to U+001F.
_BLANKS = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008"
    "\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules say about a path.

    Attributes:
        ignored: whether it is left out.
        matched: for each pattern, whether it holds for the path, and so for all below.
    """

    ignored: bool
    matched: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class IgnoreRules:
    """Patterns in order, cleaned; those that re-include start with ``!``."""

    patterns: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, *, name: str, defaults: bool = True) -> IgnoreRules:
        """Return the rules that a ``.dockerignore`` holds.

        Args:
            text: contents of the file.
            name: how errors name the file.
            defaults: whether :data:`DEFAULT_PATTERNS` come first. (They don't for the
                context of a Dockerfile, which means what it means to Docker.)

        Raises:
            DefinitionError: a pattern is malformed.
        """
        patterns = list(DEFAULT_PATTERNS) if defaults else []
        lines = text.removeprefix("\ufeff").split("\n")
        for number, line in enumerate(lines, start=1):
            pattern = _clean_line(line)
            if pattern is None:
                continue
            try:
                _compile(pattern)
            except BadPatternError as error:
                raise DefinitionError(
                    f"bad pattern {line.strip(_BLANKS)!r} in line {number} of {name!r}:"
                    f" {error}",
                    hint="put a backslash before '[', ']', '*', '?', '-', '!' or a "
                    "backslash that stands for itself",
                ) from error
            patterns.append(pattern)
        return cls(tuple(patterns))

    def ignores(self, path: str) -> bool:
        """Return whether the file or folder at *path* (relative, ``/``) is left out."""
        if path == ".":
            return False
        judge = self.judge()
        verdict = self.start()
        for at, char in enumerate(path):
            if char == "/":
                verdict = judge(verdict, path[:at])
        return judge(verdict, path).ignored

    def start(self) -> Verdict:
        """Return the verdict on the folder itself: nothing matches it."""
        return Verdict(False, (False,) * len(self.patterns))

    def judge(self) -> Callable[[Verdict, str], Verdict]:
        """Return a function that takes a folder's verdict and a path in that folder.

        It gives the path's verdict, and is for walks: :meth:`ignores` starts anew for
        every path.
        """
        return _matcher(self.patterns).judge

    def may_contain(self, folder: str) -> bool:
        """Return whether something below the ignored *folder* can be re-included.

        False is certain: the folder need not be read.
        """
        parts = folder.split("/")
        return any(_reaches(rule, parts) for rule in _matcher(self.patterns).inclusions)


@dataclass(frozen=True, slots=True)
class _Rule:
    """One pattern. *includes*: it starts with ``!``."""

    text: str
    includes: bool
    expression: str

    @property
    def regex(self) -> re.Pattern[str]:
        """The compiled expression; most paths never get as far as this."""
        return _regex(self.expression)


@dataclass(frozen=True, slots=True)
class _Matcher:
    """Compiled patterns, and a quick test that spares most paths a look at each.

    The test errs on one side only: it may let a path through that no pattern matches.
    """

    rules: tuple[_Rule, ...]
    inclusions: tuple[_Rule, ...]
    names: frozenset[str]
    endings: tuple[str, ...]
    name_regex: re.Pattern[str] | None
    path_regex: re.Pattern[str] | None

    def concerns(self, path: str) -> bool:
        """Return False if no pattern matches *path* itself."""
        name = path[path.rfind("/") + 1 :]
        return (
            name in self.names
            or name.endswith(self.endings)
            or (self.name_regex is not None and bool(self.name_regex.fullmatch(name)))
            or (self.path_regex is not None and bool(self.path_regex.fullmatch(path)))
        )

    def judge(self, parent: Verdict, path: str) -> Verdict:
        """Return the verdict on *path*, whose folder has the verdict *parent*.

        This is ``MatchesUsingParentResults`` of moby/patternmatcher, by which BuildKit
        walks: a pattern that could not change the outcome is not tried, and so not
        noted for what is below.
        """
        if not self.concerns(path):
            return parent
        ignored = False
        matched = []
        for rule, inherited in zip(self.rules, parent.matched, strict=True):
            match = inherited or (
                rule.includes is ignored and rule.regex.fullmatch(path) is not None
            )
            matched.append(match)
            if match:
                ignored = not rule.includes
        return Verdict(ignored, tuple(matched))


@lru_cache(maxsize=64)
def _matcher(patterns: tuple[str, ...]) -> _Matcher:
    rules = tuple(_compile(pattern) for pattern in patterns)
    names, endings, name_regexes, path_regexes = set(), [], [], []
    for rule in rules:
        tail = rule.text.removeprefix("**/")
        if tail == rule.text or re.search(r"[/\\\[\]^]|\*\*", tail):
            path_regexes.append(rule.expression)
        elif not re.search(r"[*?]", tail):
            names.add(tail)
        elif tail[0] == "*" and not re.search(r"[*?]", tail[1:]):
            endings.append(tail[1:])
        else:
            name_regexes.append(pattern_expression(tail))
    return _Matcher(
        rules=rules,
        inclusions=tuple(rule for rule in rules if rule.includes),
        names=frozenset(names),
        endings=tuple(endings),
        name_regex=_any_of(name_regexes),
        path_regex=_any_of(path_regexes),
    )


@lru_cache(maxsize=4096)
def _regex(expression: str) -> re.Pattern[str]:
    return re.compile(expression)


def _any_of(expressions: list[str]) -> re.Pattern[str] | None:
    """Return one expression for all, or None for none."""
    joined = "|".join(f"(?:{expression})" for expression in expressions)
    return re.compile(joined) if joined else None


@lru_cache(maxsize=1024)
def _compile(pattern: str) -> _Rule:
    text = pattern.removeprefix("!")
    if not text:
        raise BadPatternError("'!' re-includes nothing")
    return _Rule(text, text != pattern, pattern_expression(text))


def _clean_line(line: str) -> str | None:
    """Return the pattern in *line*, or None if it has none.

    This is ``ignorefile.ReadAll`` and then ``patternmatcher.New``, which clean twice.
    """
    if line.startswith("#"):
        return None
    pattern = line.strip(_BLANKS)
    if not pattern:
        return None
    mark = "!" if pattern.startswith("!") else ""
    pattern = pattern[len(mark) :].strip(_BLANKS)
    if pattern:
        pattern = _clean_path(pattern)
        if len(pattern) > 1:
            pattern = pattern.removeprefix("/")
    pattern = (mark + pattern).strip(_BLANKS)
    return _clean_path(pattern) if pattern else None


def _clean_path(path: str) -> str:
    """Return what Go's ``path.Clean`` returns, which knows no leading ``//``."""
    clean = posixpath.normpath(path)
    return clean[1:] if clean.startswith("//") else clean


def _reaches(rule: _Rule, folder: list[str]) -> bool:
    """Return whether the pattern may match something below *folder*.

    Parts are compared as long as they are plain text. A class, an escape or ``**`` can
    stand for several parts, so it ends the comparison.
    """
    parts = rule.text.split("/")
    for part, name in zip(parts, folder, strict=False):
        if re.search(r"[\\\[\]^]|\*\*", part):
            return True
        if not re.search(r"[*?]", part) and part != name:
            return False
    return len(parts) > len(folder)


#: The rules where the user has no ignore file.
DEFAULT = IgnoreRules(DEFAULT_PATTERNS)
#: Rules that leave nothing out.
NOTHING = IgnoreRules(())
