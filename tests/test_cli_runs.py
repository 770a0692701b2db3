"""``imagekit runs``: past runs, one of them, and its logs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagekit import cli
from imagekit.cli import main
from imagekit.run_events import (
    AttemptEnded,
    AttemptStarted,
    Ended,
    Reported,
    Started,
)
from imagekit.run_records import RUNS, RunRecords


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRecords:
    monkeypatch.setenv("IMAGEKIT_RECORD_DIR", str(tmp_path / "state"))
    assert cli.COMMANDS["runs"][0] == "runs"
    return RunRecords(tmp_path / "state" / RUNS)


def record_run(records: RunRecords, name: str) -> None:
    """Record a run with a cached call, and one that fails once."""
    error = {"class": "builtins:ValueError", "message": "not yet\nreally"}
    with records.create(name, task="env.main", mode="container", version="v7") as run:
        run.record(
            Started(
                id="a0",
                parent=None,
                kind="task",
                name="env.main",
                time=1,
                inputs={"x": 3},
            )
        )
        run.record(AttemptStarted(id="a0", number=1, time=1, image="app:1"))
        run.log("a0", b"begin\nno newline")
        for at, name_ in (("a0.1", "env.cached"), ("a0.2", "other.flaky")):
            run.record(Started(id=at, parent="a0", kind="task", name=name_, time=2))
        run.record(Ended(id="a0.1", time=2, status="cached", outputs={"o0": 1}))
        run.record(AttemptStarted(id="a0.2", number=1, time=2, image="other:1"))
        run.log("a0.2", b"trying\n")
        run.record(
            AttemptEnded(id="a0.2", number=1, time=4, status="failed", error=error)
        )
        run.record(AttemptStarted(id="a0.2", number=2, time=5, image="other:1"))
        run.record(AttemptEnded(id="a0.2", number=2, time=6, status="succeeded"))
        run.record(Reported(id="a0.2", html="<p>page</p>"))
        run.record(
            Ended(id="a0.2", time=6, status="succeeded", outputs={"o0": "x" * 300})
        )
        run.record(
            AttemptEnded(id="a0", number=1, time=13, status="failed", error=error)
        )
        run.record(Ended(id="a0", time=13, status="failed", error=error))
        run.finish("failed")


def test_the_latest_runs(
    records: RunRecords, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("first", "second", "third"):
        record_run(records, name)
    records.create("dead", task="env.dead", mode="local").__exit__(None, None, None)

    assert main(["runs", "--limit", "3"]) == 0
    out, err = capsys.readouterr()
    rows = [line.split() for line in out.splitlines()]
    assert [row[:2] for row in rows] == [
        ["dead", "lost"],
        ["third", "failed"],
        ["second", "failed"],
    ]
    assert rows[0][-1] == "env.dead"
    assert rows[1][-2:] == ["env.main", "app:1"]
    assert err == "1 more; --limit shows more of them\n"


def test_runs_as_json(records: RunRecords, capsys: pytest.CaptureFixture[str]) -> None:
    record_run(records, "one")

    assert main(["runs", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (run,) = document["runs"]
    assert document["folder"] == str(records.folder)
    assert (run["name"], run["status"], run["image"]) == ("one", "failed", "app:1")
    assert run["inputs"] == {"x": 3}
    assert main(["runs", "one", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["tree"]["children"][0]["status"] == "cached"


def test_one_run(records: RunRecords, capsys: pytest.CaptureFixture[str]) -> None:
    record_run(records, "one")

    assert main(["runs", "one"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0].startswith("one  failed in ")
    assert "  mode     container" in lines
    assert "  version  v7" in lines
    assert "  image    app:1" in lines
    tree = lines[lines.index("") + 1 :]
    assert tree == [
        "a0  env.main  failed in 12 s",
        '    inputs   {"x": 3}',
        "    error    ValueError: not yet really",
        "  a0.1  env.cached  cached in 0 ms",
        '      outputs  {"o0": 1}',
        "  a0.2  other.flaky  succeeded in 4.0 s",
        tree[6],
        "      attempt 1  failed in 2.0 s: ValueError: not yet really",
        "      attempt 2  succeeded in 1.0 s",
        "      image    other:1",
        f"      report   {records.folder / 'one' / 'reports' / 'a0.2.html'}",
    ]
    assert tree[6].startswith('      outputs  {"o0": "xxx')
    assert tree[6].endswith("xxx...")


def test_logs(records: RunRecords, capfd: pytest.CaptureFixture[str]) -> None:
    record_run(records, "one")

    assert main(["runs", "one", "--logs"]) == 0
    assert capfd.readouterr().out == (
        "==> a0 env.main\nbegin\nno newline\n==> a0.2 other.flaky\ntrying\n"
    )
    assert main(["runs", "one", "--logs", "a0.2"]) == 0
    assert capfd.readouterr().out == "trying\n"
    assert main(["runs", "one", "--logs", "a0.1"]) == 0
    assert capfd.readouterr().out == ""
    assert main(["runs", "one", "--logs", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["logs"] == {
        "a0": "begin\nno newline",
        "a0.2": "trying\n",
    }


def test_a_damaged_record_hides_no_others(
    records: RunRecords, capsys: pytest.CaptureFixture[str]
) -> None:
    record_run(records, "good")
    record_run(records, "bad")
    (records.folder / "bad" / "run.json").write_text("{}")

    assert main(["runs"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("bad   unreadable")
    assert "\ngood  failed" in out
    assert main(["runs", "bad"]) == 1


def test_no_runs(records: RunRecords, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs"]) == 0
    assert capsys.readouterr().err == f"no runs in {str(records.folder)!r}\n"


def test_mistakes(records: RunRecords, capsys: pytest.CaptureFixture[str]) -> None:
    record_run(records, "r1-one")

    assert main(["runs", "r1-oen"]) == 1
    assert "did you mean 'r1-one'?" in capsys.readouterr().err
    assert main(["runs", "r1-one", "--logs", "a0.22"]) == 1
    assert "did you mean 'a0.2'?" in capsys.readouterr().err
    assert main(["runs", "--logs"]) == 2
    assert "imagekit runs NAME --logs" in capsys.readouterr().err
    assert main(["runs", "--limit", "0"]) == 2
    assert main(["runs", "--limit", "x"]) == 2
