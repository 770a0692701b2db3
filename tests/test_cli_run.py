"""``imagekit run``: a task of a file, with options made from its signature."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from imagekit.cli import main

_MODULE = '''\
"""Tasks for the command line."""

import datetime
import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import neighbour
from imagekit import TaskEnvironment

env = TaskEnvironment("env")
more = TaskEnvironment("more")


class Colour(enum.Enum):
    RED = "r"
    GREEN = "g"


@dataclass
class Size:
    width: int
    height: float = 2.0


@env.task
def everything(
    number: int,
    share: float,
    text: str,
    day: datetime.date,
    colour: Colour,
    kind: Literal["a", "b"],
    sizes: list[Size],
    pair: tuple[int, str],
    maybe: int | None = None,
    is_fast: bool = True,
    file: Path | None = None,
) -> str:
    read = file.read_text() if file else None
    return repr((number, share, text, day, colour, kind, sizes, pair, maybe, is_fast, read))


@env.task
def shout(text: str = "hello") -> str:
    print("about to shout")
    import lazily
    return lazily.louder(neighbour.PREFIX + text)


@more.task
def shout_more() -> None:
    return None


@env.task
def twin() -> str:
    return "env"


@more.task(name="twin")
def twin_more() -> str:
    return "more"


@env.task
def modes(mode: str, quiet: bool = False) -> None:
    return None


class OwnError(Exception):
    pass


@env.task
def fails(code: int) -> None:
    raise OwnError("no luck", code)


@env.task
def leaves(code: int) -> None:
    raise SystemExit(code)
'''


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tasks_of_cli.py").write_text(_MODULE)
    (tmp_path / "neighbour.py").write_text('PREFIX = "> "\n')
    (tmp_path / "lazily.py").write_text("def louder(text): return text.upper()\n")
    (tmp_path / "input.txt").write_text("content")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "imagekit", *words], capture_output=True, text=True
    )


EVERYTHING = [
    *("--number", "3", "--share", "0.5", "--text", "a b", "--day", "2026-11-21"),
    *("--colour", "GREEN", "--kind", "b", "--sizes", '[{"width": 1}]'),
    *("--pair", '[1, "x"]'),
]


def test_inputs_are_made_of_options(project: Path) -> None:
    done = run(
        *("run", "tasks_of_cli.py", "everything", *EVERYTHING),
        *("--maybe", "4", "--no-is-fast", "--file", "input.txt"),
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "(3, 0.5, 'a b', datetime.date(2026, 11, 21), <Colour.GREEN: 'g'>, 'b', "
        "[Size(width=1, height=2.0)], (1, 'x'), 4, False, 'content')\n"
    )


def test_stdout_is_the_result_and_all_else_is_talk(project: Path) -> None:
    done = run("run", "tasks_of_cli.py", "shout", "--text", "hey")

    assert done.stdout == "> HEY\n"
    assert "about to shout" in done.stderr
    assert "imagekit runs r2" in done.stderr


def test_json_has_the_run(project: Path) -> None:
    done = run("run", "tasks_of_cli.py", "env.shout", "--json", "--name", "first")

    document = json.loads(done.stdout)
    assert (document["name"], document["status"]) == ("first", "succeeded")
    assert document["tree"]["name"] == "env.shout"
    listed = json.loads(run("runs", "--json").stdout)
    assert [item["name"] for item in listed["runs"]] == ["first"]
    logs = run("runs", "first", "--logs")
    assert logs.stdout == "about to shout\n"


def test_follow_tells_what_begins_and_ends(project: Path) -> None:
    done = run("run", "tasks_of_cli.py", "shout", "--follow")

    assert "a0 env.shout started" in done.stderr
    assert "a0 env.shout succeeded" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "match"),
    [
        (("everything",), 2, "required: --number"),
        (("everything", *EVERYTHING, "--number", "x"), 2, "wanted int, found 'x'"),
        (("everything", *EVERYTHING, "--colour", "BLUE"), 2, "wanted Colour"),
        (("everything", *EVERYTHING, "--kind", "c"), 2, "found 'c'"),
        (("everything", *EVERYTHING, "--sizes", "[{]"), 2, "--sizes"),
        (("everything", *EVERYTHING, "--sizes", '[{"width": "x"}]'), 2, "--sizes"),
        (("everything", *EVERYTHING, "--sizes", '[{"width": 1.5}]'), 1, "wanted int"),
        (("everything", *EVERYTHING, "--numbr", "1"), 2, "did you mean '--number'"),
        (("shuot",), 1, "did you mean 'shout'"),
        (("twin",), 1, "env.twin, more.twin"),
        (("shout", "--mode", "nowhere"), 1, "'nowhere'"),
        (("shout", "--env", "NAME"), 2, "wants NAME=VALUE"),
        ((), 2, "required: TASK"),
    ],
)
def test_what_is_wrong_is_said(
    project: Path, words: tuple[str, ...], code: int, match: str
) -> None:
    done = run("run", "tasks_of_cli.py", *words)

    assert done.returncode == code, done.stderr
    assert match in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_failing_task_is_shown_with_the_users_lines(project: Path) -> None:
    done = run("run", "tasks_of_cli.py", "fails", "--code", "7")

    assert done.returncode == 1
    assert "error: the task 'env.fails' failed: OwnError: ('no luck', 7)" in done.stderr
    assert "in fails" in done.stderr
    assert "imagekit/running" not in done.stderr
    assert "during handling" not in done.stderr.lower()


def test_a_failing_run_is_named_and_in_the_document(project: Path) -> None:
    done = run("run", "tasks_of_cli.py", "fails", "--code", "7", "--name", "bad")
    json_ = run("run", "tasks_of_cli.py", "fails", "--code", "7", "--json")

    assert "run bad failed; 'imagekit runs bad' shows it" in done.stderr
    document = json.loads(json_.stdout)
    assert json_.returncode == 1
    assert (document["status"], document["tree"]["status"]) == ("failed", "failed")
    assert document["error"]["kind"] == "RuntimeUserError"
    shown = run("runs", "bad")
    assert "error    OwnError: ('no luck', 7)" in shown.stdout


def test_a_task_that_leaves_the_interpreter_has_failed(project: Path) -> None:
    done = run("run", "tasks_of_cli.py", "leaves", "--code", "0")

    assert done.returncode == 1
    assert "SystemExit" in done.stderr


def test_a_file_without_a_task_tells_which_there_are(project: Path) -> None:
    done = run("run", "tasks_of_cli.py")

    assert done.returncode == 2
    assert "tasks of tasks_of_cli.py: env.everything, env.shout" in done.stderr


def test_a_file_in_a_package_imports_its_neighbours_with_a_dot(project: Path) -> None:
    package = project / "package" / "inner"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").write_text("")
    (package.parent / "values.py").write_text("NUMBER = 5\n")
    (package / "tasks.py").write_text(
        "from imagekit import TaskEnvironment\n"
        "from ..values import NUMBER\n"
        "env = TaskEnvironment('inner')\n"
        "@env.task\ndef number() -> str:\n    return f'{NUMBER} {__name__}'\n"
    )

    done = run("run", "package/inner/tasks.py", "number")

    assert done.stdout == "5 package.inner.tasks\n", done.stderr


def test_the_setting_chooses_between_environments(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEKIT_ENVIRONMENT", "more")

    assert run("run", "tasks_of_cli.py", "twin").stdout == "more\n"


def test_inputs_that_are_called_like_options(project: Path) -> None:
    done = run("run", "tasks_of_cli.py", "modes", "--input-mode", "m", "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tree"]["inputs"] == {"mode": "m", "quiet": False}


def test_the_help_of_a_task(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    before = dict(sys.modules)
    try:
        assert main(["run", "tasks_of_cli.py", "everything", "--help"]) == 0
    finally:
        for name in set(sys.modules) - set(before):
            del sys.modules[name]

    shown = capsys.readouterr().out
    assert "--is-fast, --no-is-fast" in shown
    assert "--maybe MAYBE" in shown
    assert "inputs of the task" in shown


def test_a_dry_run_runs_nothing(project: Path) -> None:
    done = run("run", "tasks_of_cli.py", "fails", "--code", "1", "--dry-run", "--json")

    document: dict[str, Any] = json.loads(done.stdout)
    assert document["task"] == "env.fails"
    assert document["inputs"] == {"code": "1"}
    assert json.loads(run("runs", "--json").stdout)["runs"] == []


def test_variables_and_labels(project: Path) -> None:
    run("run", "tasks_of_cli.py", "shout", "--label", "team=x", "--name", "labelled")

    document = json.loads(run("runs", "labelled", "--json").stdout)
    assert document["labels"] in ({"team": "x"}, [["team", "x"]])
