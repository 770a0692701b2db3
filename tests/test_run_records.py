"""Runs as they are recorded, and read back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from imagekit import run_records
from imagekit.errors import DefinitionError
from imagekit.redaction import Redactor
from imagekit.run_events import (
    AttemptEnded,
    AttemptStarted,
    Ended,
    Recorder,
    Reported,
    Started,
)
from imagekit.run_records import RunRecord, RunRecords
from imagekit.run_tree import without_places
from imagekit.task_errors import RuntimeSystemError, RuntimeUserError


@pytest.fixture
def records(tmp_path: Path) -> RunRecords:
    return RunRecords(tmp_path / "state" / "runs")


def create(
    records: RunRecords, name: str | None = None, *, redactor: Redactor | None = None
) -> RunRecord:
    return records.create(name, task="env.main", mode="local", redactor=redactor)


def started(action: str, parent: str | None = "a0", **more: object) -> Started:
    values = {"kind": "task", "name": f"env.{action}", "time": 10.0, **more}
    return Started(id=action, parent=parent, **values)  # type: ignore[arg-type]


def record_pipeline(
    record: Recorder, *, image: str | None, order: tuple[str, ...]
) -> None:
    """Record a task that calls others; times depend on the order."""
    record.record(started("a0", None, inputs={"x": 1}, environment="env"))
    record.record(
        AttemptStarted(id="a0", number=1, time=11.0, image=image, place=image)
    )
    for at, action in enumerate(order):
        record.record(started(action, time=12.0 + at))
    error = {
        "class": "builtins:ValueError",
        "message": "no",
        "traceback": f"at {image}",
    }
    record.record(AttemptStarted(id="a0.10", number=1, time=13.0, image=image))
    record.record(
        AttemptEnded(id="a0.10", number=1, time=14.0, status="failed", error=error)
    )
    record.record(AttemptStarted(id="a0.10", number=2, time=15.0, image=image))
    record.record(AttemptEnded(id="a0.10", number=2, time=16.0, status="succeeded"))
    for action in reversed(order):
        record.record(Ended(id=action, time=17.5, status="succeeded", outputs=[action]))
    record.record(started("a0.2.1", "a0.2", kind="group", name="group"))
    record.record(Ended(id="a0.2.1", time=18.0, status="succeeded"))
    record.record(AttemptEnded(id="a0", number=1, time=19.0, status="succeeded"))
    record.record(Ended(id="a0", time=20.0, status="succeeded", outputs={"y": 2}))


def test_what_is_recorded_is_read_back(records: RunRecords) -> None:
    record = records.create(
        task="env.main",
        mode="container",
        version="v1",
        labels=(("team", "a"),),
        annotations=(("why", "test"),),
    )
    running = records.open(record.name)
    record_pipeline(record, image="app:1", order=("a0.1", "a0.10", "a0.2", "a0.r2.1"))
    record.log("a0", b"hello\n")
    record.log("a0", b"again\n")
    record.record(Reported(id="a0.2", html="<p>page</p>"))
    record.finish("succeeded")
    view = records.open(record.name)

    assert running.status == "running"
    assert running.tree() is None
    assert running.seconds is not None
    assert (view.status, view.task, view.mode) == ("succeeded", "env.main", "container")
    assert (view.version, view.image, view.images) == ("v1", "app:1", ("app:1",))
    assert view.labels == (("team", "a"),)
    assert view.annotations == (("why", "test"),)
    assert (view.inputs, view.outputs, view.error) == ({"x": 1}, {"y": 2}, None)
    assert view.log() == b"hello\nagain\n"
    assert view.log("a0.1") == b""
    assert view.logs == ("a0",)
    assert view.report_path("a0.2").read_text() == "<p>page</p>"
    tree = view.tree()
    assert tree is not None
    assert tree.seconds == 10.0
    # In the order of the calls, whatever the order in which they began.
    assert [child.id for child in tree.children] == ["a0.1", "a0.2", "a0.10", "a0.r2.1"]
    second = tree.children[1]
    assert second.report
    assert [child.kind for child in second.children] == ["group"]
    failed, worked = tree.children[2].attempts
    assert (failed.status, failed.started, failed.ended) == ("failed", 13.0, 14.0)
    assert failed.error["message"] == "no"
    assert worked.status == "succeeded"
    assert [depth for depth, _ in tree.walk()] == [0, 1, 1, 2, 1, 1]
    document = json.loads(json.dumps(view.as_json()))
    assert document["tree"]["children"][2]["attempts"][0]["status"] == "failed"
    assert document["status"] == "succeeded"


def test_times_places_images_and_the_order_of_events_are_not_compared(
    records: RunRecords,
) -> None:
    trees = []
    for image, order in (
        (None, ("a0.1", "a0.2", "a0.10")),
        ("i", ("a0.10", "a0.2", "a0.1")),
    ):
        with create(records) as record:
            record_pipeline(record, image=image, order=order)
            record.finish("succeeded")
        trees.append(records.open(record.name).comparable())

    assert trees[0] == trees[1]
    assert trees[0]["tree"]["children"][2]["attempts"][0]["error"]["message"] == "no"


def test_what_is_compared_of_failures() -> None:
    def failure(place: str) -> object:
        raised: dict[str, Any] = {"class": "m:E", "message": "no"}
        raised |= {"traceback": place, "args": [place]}
        return {
            **raised,
            "attributes": [["origin", place]],
            "cause": {**raised, "notes": ["why"]},
            "context": raised,
            "members": [raised],
        }

    assert without_places(failure("here")) == without_places(failure("there"))
    assert without_places(failure("here")) == {
        "class": "m:E",
        "message": "no",
        "cause": {"class": "m:E", "message": "no", "notes": ["why"]},
        "members": [{"class": "m:E", "message": "no"}],
    }


def test_a_process_that_dies_leaves_a_lost_run(records: RunRecords) -> None:
    program = """
import os, pathlib, sys
from imagekit.run_events import Started
from imagekit.run_records import RunRecords
record = RunRecords(pathlib.Path(sys.argv[1])).create("dies", task="t", mode="local")
record.record(Started(id="a0", parent=None, kind="task", name="t", time=1.0))
print("ready", flush=True)
sys.stdin.readline()
os._exit(9)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(records.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        alive = records.open("dies")
        with pytest.raises(RuntimeUserError, match="is running"):
            records.remove("dies")
        process.communicate(b"die\n")
    dead = records.open("dies")

    assert alive.status == "running"
    assert alive.root is not None
    assert alive.root.status == "running"
    assert dead.status == "lost"
    assert dead.root is not None
    assert dead.root.status == "lost"
    assert dead.seconds is None
    records.remove("dies")
    assert records.names() == ()


def test_a_half_written_line_is_no_fault(records: RunRecords) -> None:
    with create(records) as record:
        record.record(started("a0", None))
    path = record.folder / "events.jsonl"
    with path.open("ab") as file:
        file.write(b'{"event":"ended","id":"a0","ti')

    view = records.open(record.name)

    assert view.status == "lost"
    assert view.root is not None
    assert view.root.id == "a0"


def test_a_name_can_be_taken_once(records: RunRecords) -> None:
    def attempt(_: int) -> bool:
        try:
            create(records, "mine").finish("succeeded")
        except RuntimeUserError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(attempt, range(16))) == 1
    with pytest.raises(RuntimeUserError, match="there is a run named 'mine' already"):
        create(records, "mine")


def test_names_that_are_made_up_do_not_collide(
    records: RunRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_records, "_RANDOM_BYTES", 1)

    names = set()
    for _ in range(100):
        with create(records) as record:
            names.add(record.name)
            record.finish("succeeded")

    assert len(names) == 100
    assert set(records.names()) == names


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "-x", "a b", "x" * 101])
def test_names_that_can_not_be(records: RunRecords, name: str) -> None:
    with pytest.raises(DefinitionError, match="wanted the name of a run"):
        create(records, name)
    with pytest.raises(RuntimeUserError, match="no run"):
        records.open(name)


def test_names_are_the_latest_first(records: RunRecords) -> None:
    for at, name in enumerate(("b", "a", "c")):
        with create(records, name) as record:
            record.finish("succeeded")
        os.utime(record.folder / "run.json", (at, at))
    (records.folder / "stray").mkdir()

    assert records.names() == ("c", "a", "b")
    with pytest.raises(RuntimeUserError, match="no run 'stray'"):
        records.open("stray")


def test_no_runs(records: RunRecords) -> None:
    assert records.names() == ()
    with pytest.raises(RuntimeUserError) as caught:
        records.open("x")
    assert caught.value.hint == "nothing was run yet"


def test_a_block_that_is_left_by_an_exception(records: RunRecords) -> None:
    with pytest.raises(ValueError, match="oops"), create(records, "a"):
        raise ValueError("oops")
    with pytest.raises(KeyboardInterrupt), create(records, "b"):
        raise KeyboardInterrupt

    failed = records.open("a")
    assert failed.status == "failed"
    assert failed.error == {"class": "builtins:ValueError", "message": "oops"}
    assert records.open("b").status == "aborted"


def test_what_comes_after_the_end_is_dropped(records: RunRecords) -> None:
    record = create(records)
    record.finish("timed-out")
    record.finish("succeeded")
    record.record(started("a0", None))
    record.log("a0", b"late")

    view = records.open(record.name)
    assert view.status == "timed-out"
    assert view.root is None
    assert view.logs == ()


def test_actions_are_no_paths(records: RunRecords) -> None:
    with create(records) as record:
        with pytest.raises(RuntimeSystemError, match="id of an action"):
            record.log("../../../escaped", b"x")
        with pytest.raises(RuntimeSystemError, match="id of an action"):
            record.record(Reported(id="a/b", html=""))


def test_threads_record_whole_lines(records: RunRecords) -> None:
    record = create(records)

    def work(number: int) -> None:
        for at in range(20):
            record.record(started(f"a0.{number}.{at + 1}", f"a0.{number}"))
            record.log("a0", b"%02d\n" % number)

    with record, ThreadPoolExecutor(8) as threads:
        record.record(started("a0", None))
        for number in range(1, 9):
            record.record(started(f"a0.{number}"))
        list(threads.map(work, range(1, 9)))
        record.finish("succeeded")

    view = records.open(record.name)
    assert view.root is not None
    assert len(list(view.root.walk())) == 1 + 8 + 160
    lines = view.log().splitlines()
    assert sorted(lines) == [b"%02d" % n for n in range(1, 9) for _ in range(20)]


def test_no_value_of_a_secret_is_recorded(records: RunRecords) -> None:
    secrets = ["hunter2-hunter2", "late-secret<&>"]
    with create(records, redactor=Redactor(secrets[:1])) as record:
        record.hide(secrets[1:])
        for secret in secrets:
            error = {"class": "m:E", "message": f"can't log in with {secret}"}
            record.record(started("a0", None, inputs={"token": secret}))
            record.record(started("a0.1", kind="group", name=f"for {secret}"))
            record.record(AttemptStarted(id="a0", number=1, time=1.0))
            record.record(
                AttemptEnded(id="a0", number=1, time=1, status="failed", error=error)
            )
            record.record(
                Ended(id="a0", time=2, status="failed", outputs=secret, error=error)
            )
            record.record(Reported(id="a0", html=f"<p>{secret}</p>"))
            for byte in f"logged {secret}.".encode():
                record.log("a0", bytes([byte]))
        record.finish("failed", error={"class": "m:E", "message": secrets[0]})

    files = [path for path in record.folder.rglob("*") if path.is_file()]
    everything = b"".join(path.read_bytes() for path in files)
    assert len(files) == 5
    for secret in secrets:
        assert secret.encode() not in everything
    assert records.open(record.name).log() == b"logged ***.logged ***."


def test_what_a_log_keeps_back_comes_with_the_end(records: RunRecords) -> None:
    record = create(records, redactor=Redactor(["hunter2-hunter2"]))
    record.log("a0", b"says hunter2")
    before = records.open(record.name).log()
    record.finish("succeeded")

    assert before == b"says "
    assert records.open(record.name).log() == b"says hunter2"


def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(RuntimeSystemError, match="can't write the record") as caught:
        create(RunRecords(tmp_path / "file" / "runs"))

    assert "record-dir" in str(caught.value.hint)


def test_one_run_among_many_is_not_looked_for_in_a_list_of_all(
    records: RunRecords,
) -> None:
    for number in range(6):
        records.create(f"run-{number}", task="env.main", mode="local").finish("failed")

    with pytest.raises(RuntimeUserError) as caught:
        records.open("x")
    assert caught.value.hint == "'imagekit runs' lists them; the latest is 'run-5'"
    with pytest.raises(RuntimeUserError) as caught:
        records.open("run5")
    assert caught.value.hint == "did you mean 'run-5'?"
