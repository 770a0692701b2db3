"""The walk against Docker itself: the same folder, the same ignore file, one outcome."""

from __future__ import annotations

import os
import random
import subprocess
import tarfile
from pathlib import Path

import pytest
from machine.engine import Engine

from imagekit.errors import DefinitionError
from imagekit.ignore import IgnoreRules
from imagekit.sources import walk

pytestmark = pytest.mark.engine

NAMES = (
    "a",
    "b",
    "ab",
    ".a",
    "a.py",
    "b.txt",
    "A",
    "a b",
    "ä",
    "[a]",
    "!a",
    "#a",
    "a\\b",
)
PARTS = (
    *("a", "b", "ab", ".a", "A", "a b", "ä", "*", "*", "**", "**", "a*", "*b", "*.py"),
    *("?", "??", "a?", "[ab]", "[^a]", "[a-c].*", "\\[a]", "\\!a", "#a", "^a*", "**b"),
    *("a**", "a**b", "***", "*.*", ".", "..", "[*]*", "[[:alpha:]]", "\\w", "a\\\\b"),
)
# (path, type, executable, target of a link). No contents: for a file that the rules
# re-include in one place and exclude in another, buildx sends the name and no bytes.
Listing = set[tuple[str, str, bool, str | None]]


def make_tree(root: Path, seed: random.Random) -> None:
    folders = [root]
    for _ in range(seed.randint(1, 9)):
        folder = seed.choice(folders) / seed.choice(NAMES)
        folder.mkdir(exist_ok=True)
        folders.append(folder)
    for _ in range(seed.randint(3, 20)):
        path = seed.choice(folders) / seed.choice(NAMES)
        if os.path.lexists(path):
            continue
        if seed.random() < 0.15:
            path.symlink_to(seed.choice(("a", "b/../a", "missing")))
        else:
            path.write_bytes(b"text")
            path.chmod(seed.choice((0o644, 0o600, 0o755, 0o710)))


def make_patterns(seed: random.Random) -> str:
    lines = []
    for _ in range(seed.randint(1, 6)):
        parts = seed.choices(PARTS, k=seed.choice((1, 1, 2, 2, 3)))
        mark = seed.choice(("", "", "!"))
        lines.append(mark + seed.choice(("", "", "/", " ")) + "/".join(parts))
    return "\n".join(lines) + seed.choice(("", "\n", "\r\n"))


def ours(root: Path, text: str) -> Listing:
    rules = IgnoreRules.parse(text, name=".dockerignore", defaults=False)
    return {
        (entry.path, entry.type, entry.executable, entry.target)
        for entry in walk(str(root), rules).entries
    }


def build(
    engine: Engine, root: Path, output: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [engine.client, "buildx", "build", "-f", "-", "--output", output, str(root)],
        input=b"FROM scratch\nCOPY . /\n",
        env=engine.environment,
        capture_output=True,
        check=False,
    )


def theirs(engine: Engine, root: Path, archive: Path) -> Listing:
    done = build(engine, root, f"type=tar,dest={archive}")
    assert done.returncode == 0, done.stderr.decode()
    found: Listing = set()
    with tarfile.open(archive) as tar:
        for member in tar:
            path = member.name.rstrip("/")
            if member.isdir():
                found.add((path, "directory", False, None))
            elif member.issym():
                found.add((path, "symlink", False, member.linkname))
            else:
                found.add((path, "file", bool(member.mode & 0o111), None))
    return found


def make_context(folder: Path, text: str) -> Path:
    root = folder / "context"
    root.mkdir()
    (root / ".dockerignore").write_text(text, encoding="utf-8", newline="")
    return root


@pytest.mark.parametrize("number", range(40))
def test_random_trees(engine: Engine, tmp_path: Path, number: int) -> None:
    seed = random.Random(number)
    text = make_patterns(seed)
    root = make_context(tmp_path, text)
    make_tree(root, seed)
    try:
        expected = ours(root, text)
    except DefinitionError:
        assert build(engine, root, f"type=tar,dest={tmp_path / 'no'}").returncode != 0
    else:
        assert theirs(engine, root, tmp_path / "out.tar") == expected, text


@pytest.mark.parametrize(
    "text",
    [
        "a/b\n!a\n",  # the folder a is settled before its contents
        "a\n!a/b\na*\n",
        "b\n!b/c\n",
        "!b/c\nb\n",
        "**\n!**/c\n",
        "*\n!.\n",
        "f\\d\n",
        "**1\n",
        "a/b/c\n",  # a folder whose files are all ignored stays, empty
        "/a/\n",
        "a/../f1\n",
        "../a\n",
        "\ufefff1\n\ufefffd\n",
        " # no comment\n#fd\n",
    ],
)
def test_chosen_rules(engine: Engine, tmp_path: Path, text: str) -> None:
    root = make_context(tmp_path, text)
    (root / "a" / "b").mkdir(parents=True)
    (root / "b" / "c").mkdir(parents=True)
    for name in ("a/x", "a/b/c", "b/c/d", "f1", "fd", "#fd"):
        (root / name).write_bytes(b"text")
    assert ours(root, text) == theirs(engine, root, tmp_path / "out.tar")


@pytest.mark.parametrize(
    "line", ["[", "!", "!/", "[-]", "a\\", "docs\\main", "[b-a]", "\\é", "[[:foo:]]"]
)
def test_what_is_refused(engine: Engine, tmp_path: Path, line: str) -> None:
    root = make_context(tmp_path, f"{line}\n")
    (root / "a").write_bytes(b"text")
    with pytest.raises(DefinitionError):
        ours(root, line)
    done = build(engine, root, f"type=tar,dest={tmp_path / 'out.tar'}")
    assert done.returncode != 0
    assert b"pattern" in done.stderr
