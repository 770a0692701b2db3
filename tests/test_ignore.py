from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imagekit import ignore_pattern
from imagekit.errors import DefinitionError
from imagekit.ignore import DEFAULT, DEFAULT_PATTERNS, NOTHING, IgnoreRules

TABLES = Path(__file__).parent.parent / "fixtures" / "ignore"


def rows(name: str) -> Any:
    return json.loads((TABLES / f"{name}.json").read_text(encoding="utf-8"))


def rules(*lines: str) -> IgnoreRules:
    return IgnoreRules.parse("\n".join(lines), name=".dockerignore", defaults=False)


@pytest.mark.parametrize(("pattern", "path", "outcome"), rows("single_patterns"))
def test_single_pattern(pattern: str, path: str, outcome: str) -> None:
    found = rules(pattern)
    assert found.ignores(path) is (outcome != "fail")
    (cleaned,) = found.patterns
    exact = re.fullmatch(ignore_pattern.pattern_expression(cleaned), path) is not None
    assert exact is (outcome == "exact")


@pytest.mark.parametrize(("patterns", "path", "ignored"), rows("several_patterns"))
def test_several_patterns(patterns: list[str], path: str, ignored: bool) -> None:
    assert rules(*patterns).ignores(path) is ignored


@pytest.mark.parametrize(("pattern", "path", "outcome"), rows("go_match"))
def test_go_match(pattern: str, path: str, outcome: bool | str) -> None:
    if outcome == "error":
        with pytest.raises(DefinitionError):
            rules(pattern)
    else:
        assert rules(pattern).ignores(path) is outcome


@pytest.mark.parametrize(("pattern", "kind", "expression"), rows("expressions"))
def test_expression(pattern: str, kind: str, expression: str) -> None:
    names = {"regexp": "EXPRESSION"}
    shape, text = ignore_pattern._rewrite(pattern)
    assert shape.name == names.get(kind, kind.upper())
    if kind == "regexp":
        assert f"^{text}$" == expression


@pytest.mark.parametrize("row", rows("ignore_files"))
def test_ignore_file(row: Any) -> None:
    assert list(rules(*row["text"].split("\n")).patterns) == row["patterns"]


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("\ufeffa\n\ufeffb", ("a", "\ufeffb")),  # a byte order mark, once
        ("\ufeff# comment\na", ("a",)),
        (" # not a comment", ("# not a comment",)),
        ("a # b", ("a # b",)),
        ("\\#a", ("\\#a",)),
        ("a\r\nb\r\n", ("a", "b")),
        ("\t a \x0b\u00a0\u2003", ("a",)),
        ("a\x1c", ("a\x1c",)),  # a blank to str.strip, not to Go
        ("a//b/./c/../d/", ("a/b/d",)),
        ("/a", ("a",)),
        ("//a", ("a",)),
        ("./a", ("a",)),
        ("../a", ("../a",)),
        ("!  /a/", ("!a",)),
        ("!!a", ("!!a",)),
        ("/ a", ("a",)),
        ("/", ("/",)),
        (".", (".",)),
        ("\n\n  \n", ()),
    ],
)
def test_lines(text: str, patterns: tuple[str, ...]) -> None:
    found = IgnoreRules.parse(text, name="x", defaults=False)
    assert found.patterns == patterns


# Each of these was tried with buildx: it fails the build.
@pytest.mark.parametrize(
    "line",
    ["[", "!", "!/", "! ", "[-]", "a\\", "docs\\main", "[b-a]", "\\é", "[[:foo:]]"],
)
def test_malformed(line: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        IgnoreRules.parse(f"ok\n{line}\n", name="app/.dockerignore")
    assert repr(line.strip()) in caught.value.message
    assert "line 2 of 'app/.dockerignore'" in caught.value.message
    assert caught.value.hint


# What looks odd here is what buildx does.
@pytest.mark.parametrize(
    ("lines", "ignored", "kept"),
    [
        (["**file"], ["xfile", "a/xfile"], ["file1"]),
        (["**file*"], ["file1", "a/file1"], ["xfile", "xfile1"]),
        (["f\\d"], ["f1"], ["fd"]),
        (["docs\\build"], [], ["docs/build", "docs\\build"]),
        (["a\\b"], ["a", "a/b"], ["a\\b", "ab"]),
        (["[[:alpha:]]1", "[^[:^digit:]]x"], ["a1", "0x"], ["11", "ax"]),
        (["[\\d_]y", "[\\D]z"], ["1y", "_y", "az"], ["ay", "1z"]),
        (["\\x41", "\\101b", "\\060"], ["A", "Ab", "0"], ["x41", "1"]),
        (["[a*b]c"], ["[b]c", "^^b]c"], ["ac", "bc", "*c"]),
        (["[**]x"], ["(x", "*x", "?x"], ["ax"]),
        (["^a*"], ["ab"], ["^ab"]),
        (["a^b"], ["a^b"], ["ab"]),
        (["a?"], ["a\n", "a☺", "a\udcff"], ["a"]),
        (["**/a*"], ["b/a", "a\nb"], ["b\n/a"]),
        (["**/a"], ["b\n/a"], []),
        (["A"], ["A"], ["a"]),
        (["a/b", "!a"], ["a/b", "a/b/c"], ["a", "a/c"]),
        (["a", "!a/b", "a*"], ["a", "a/c"], ["a/b"]),
        (["*", "!a/b"], ["a", "a/c", "c"], ["a/b", "a/b/c"]),
        (["!a", "*"], ["a", "b/c"], []),
        (["a/*/c"], ["a/b/c", "a/b/c/d"], ["a/c", "a/b/b/c"]),
        (["a b", "'c'", 'd"'], ["a b", "'c'", 'd"'], ["a", "b", "c"]),
    ],
)
def test_semantics(lines: list[str], ignored: list[str], kept: list[str]) -> None:
    found = rules(*lines)
    assert [path for path in ignored if not found.ignores(path)] == []
    assert [path for path in kept if found.ignores(path)] == []


def test_defaults() -> None:
    for path in (
        ".git",
        "a/.git/config",
        "a/__pycache__/b.pyc",
        "b.pyc",
        "x.egg-info/PKG-INFO",
        "a/.env",
        ".env.local",
        ".env.test.local",
        ".venv/bin/python",
        "node_modules/a/b.js",
        ".netrc",
    ):
        assert DEFAULT.ignores(path), path
        assert not NOTHING.ignores(path), path
    for path in (
        "a.py",
        "env",
        ".envrc",
        ".env.example",
        ".gitignore",
        "venv",
        "a/git",
    ):
        assert not DEFAULT.ignores(path), path


def test_defaults_can_be_brought_back() -> None:
    found = IgnoreRules.parse("!.env\n!**/node_modules\n", name="x")
    assert found.patterns == (*DEFAULT_PATTERNS, "!.env", "!**/node_modules")
    assert not found.ignores(".env")
    assert found.ignores("a/.env")
    assert not found.ignores("a/node_modules/b.js")
    # The last match wins: who brings a folder back gets all of it.
    assert not found.ignores("a/node_modules/.env")
    assert IgnoreRules.parse("!.env", name="x", defaults=False).patterns == ("!.env",)


def test_rules_are_values() -> None:
    one, other = IgnoreRules.parse("a", name="x"), IgnoreRules.parse("a\n", name="y")
    assert one == other
    assert hash(one) == hash(other)
    assert pickle.loads(pickle.dumps(one)).ignores("a/b")
    assert IgnoreRules.parse("", name="x") == DEFAULT
    assert IgnoreRules.parse("", name="x", defaults=False) == NOTHING


def test_many_double_stars_take_no_time() -> None:
    found = rules("**/" * 30 + "x*y", "a" + "**/" * 3 + "*z")
    assert not found.ignores("/".join("a" * 60))


def reference(patterns: tuple[str, ...], path: str) -> bool:
    """The rules once more, with no short cuts: MatchesUsingParentResults."""
    parts = path.split("/")
    inherited = [False] * len(patterns)
    ignored = False
    for depth in range(1, len(parts) + 1):
        at = "/".join(parts[:depth])
        ignored, flags = False, []
        for pattern, match in zip(patterns, inherited, strict=True):
            includes = pattern.startswith("!")
            if not match and includes is ignored:
                regex = re.compile(
                    ignore_pattern.pattern_expression(pattern.removeprefix("!"))
                )
                match = regex.fullmatch(at) is not None  # noqa: PLW2901
            flags.append(match)
            if match:
                ignored = not includes
        inherited = flags
    return ignored


parts = st.sampled_from(
    [
        "a",
        "b",
        "ab",
        ".a",
        "*",
        "**",
        "a*",
        "*b",
        "?",
        "[ab]",
        "[^a]",
        "\\a",
        "^a",
        "**b",
    ]
)
patterns = st.builds(
    lambda mark, names: mark + "/".join(names),
    st.sampled_from(["", "", "!"]),
    st.lists(parts, min_size=1, max_size=3),
)
paths = st.lists(st.sampled_from(["a", "b", "ab", ".a"]), min_size=1, max_size=4)


@given(st.lists(patterns, max_size=5), paths)
@example(["a", "!a/b", "a*"], ["a", "b"])
@example(["a/b", "!a"], ["a", "b", "ab"])
def test_short_cuts_change_nothing(lines: list[str], names: list[str]) -> None:
    found, path = rules(*lines), "/".join(names)
    assert found.ignores(path) is reference(found.patterns, path)


@given(st.lists(patterns, max_size=5), paths)
def test_pruning_loses_nothing(lines: list[str], names: list[str]) -> None:
    found = rules(*lines)
    for depth in range(1, len(names)):
        folder = "/".join(names[:depth])
        if found.ignores(folder) and not found.may_contain(folder):
            assert found.ignores("/".join(names))


def test_pruning_spares_what_it_can() -> None:
    assert not DEFAULT.may_contain(".git")
    found = rules("*", "!src/*.py", "!docs/**/a", "!lib")
    assert found.may_contain("src")
    assert not found.may_contain("src/sub")
    assert found.may_contain("docs/a/b")
    assert not found.may_contain("lib")
    assert not found.may_contain(".venv")
    assert rules("*", "!**/a").may_contain("anything")


@given(
    st.text(alphabet="ab*?[]^-\\!/.(){}|$+#: \n", max_size=12),
    st.text("ab/-[", max_size=6),
)
def test_every_text_is_read_or_refused(text: str, path: str) -> None:
    try:
        found = IgnoreRules.parse(text, name="x")
    except DefinitionError as error:
        assert re.search(r"in line \d+ of 'x'", error.message)  # noqa: PT017
    else:
        found.ignores(path)
