"""What a client keeps of runs on a cluster, and how it shows results."""

from __future__ import annotations

import datetime as dt
import enum
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import imagekit
from imagekit import Image, TaskEnvironment, initialization
from imagekit.cli.remote_runs import readable
from imagekit.cluster.documents import RunDocument
from imagekit.deploying import Deploying
from imagekit.errors import DefinitionError
from imagekit.io import File
from imagekit.remote import beginning
from imagekit.remote.client import Client
from imagekit.remote.local_record import begin_record
from imagekit.remote.submission import name_of_run
from imagekit.run_events import ROOT, Started
from imagekit.run_records import RUNS, RunRecords
from imagekit.task_errors import RunAbortedError, RuntimeUserError


def run(name: str = "first") -> RunDocument:
    return RunDocument(
        name=name, task="env.task", version="v", environments={}, started=1234.5
    )


def names(folder: Path) -> tuple[str, ...]:
    return RunRecords(folder / RUNS).names()


def test_a_record_that_is_made_again_replaces_the_one_before(tmp_path: Path) -> None:
    first = begin_record(tmp_path, run(), is_new=True)
    started = Started(id=ROOT, parent=None, kind="task", name="env.task", time=1.0)
    first.record(started)
    first.log(ROOT, b"once")
    first.finish("succeeded")

    second = begin_record(tmp_path, run(), is_new=False)
    second.record(started)
    second.log(ROOT, b"once")
    second.finish("failed", at=1240.0)

    view = RunRecords(tmp_path / RUNS).open("first")
    assert (view.status, view.log(), view.seconds) == ("failed", b"once", 5.5)
    assert names(tmp_path) == ("first",)
    assert [item.name for item in (tmp_path / RUNS).iterdir()] == ["first"]


def test_one_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    first = begin_record(tmp_path, run(), is_new=True)

    second = begin_record(tmp_path, run(), is_new=False)

    assert second.folder.parent != first.folder.parent
    second.finish("succeeded")
    first.finish("failed")
    assert RunRecords(tmp_path / RUNS).open("first").status == "failed"


def test_what_a_killed_client_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / RUNS / "first").mkdir(parents=True)

    begin_record(tmp_path, run(), is_new=False).finish("succeeded")

    assert RunRecords(tmp_path / RUNS).open("first").status == "succeeded"


def test_a_run_of_another_kind_is_not_replaced(tmp_path: Path) -> None:
    records = RunRecords(tmp_path / RUNS)
    records.create("first", task="env.task", mode="local").finish("succeeded")

    for is_new in (True, False):
        with pytest.raises(RuntimeUserError, match="there is a run named 'first'"):
            begin_record(tmp_path, run(), is_new=is_new)


@pytest.mark.parametrize("name", ["a", "Run_1.b-c", "x" * 63])
def test_names_that_are_labels(name: str) -> None:
    assert name_of_run(name) == name


@pytest.mark.parametrize("name", ["", "a/b", "-a", "a.", "x" * 64, "é", "a b"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(DefinitionError, match="that Kubernetes takes"):
        name_of_run(name)


def test_names_that_are_made_up_are_labels() -> None:
    made = name_of_run(None)

    assert name_of_run(made) == made != name_of_run(None)


class Colour(enum.IntEnum):
    RED = 1


class Point(NamedTuple):
    x: int
    y: float


@dataclass
class Shape:
    points: list[Point]
    colour: Colour


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, None),
        ([1, 2.5, "a", True], [1, 2.5, "a", True]),
        (
            Shape([Point(1, 2.0)], Colour.RED),
            {"points": [{"x": 1, "y": 2.0}], "colour": "RED"},
        ),
        ({"a": (1,)}, {"a": [1]}),
        ({1: "a"}, [[1, "a"]]),
        ({3, 1, 2}, [1, 2, 3]),
        (b"\x00", "AA=="),
        (dt.date(2026, 11, 21), "2026-11-21"),
        (dt.timedelta(minutes=1), 60.0),
        (File("/somewhere"), "/somewhere"),
        (Path("/somewhere"), "/somewhere"),
        (1j, "1j"),
    ],
    ids=repr,
)
def test_results_are_shown_as_json(value: Any, wanted: Any) -> None:
    assert json.loads(json.dumps(readable(value))) == wanted


def test_what_a_run_needs_is_deployed_where_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = {"server": "https://127.0.0.1:1"}
    context = {"cluster": "c", "user": "u", "namespace": "other"}
    kubeconfig = {
        "current-context": "x",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": context}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))
    monkeypatch.setenv("IMAGEKIT_KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setenv("IMAGEKIT_RECORD_DIR", str(tmp_path / "records"))
    monkeypatch.setattr(initialization, "_current", [])
    places = []

    def deploy(deploying: Deploying, _plan: object, client: Client) -> None:
        places.append((deploying.namespace, client.cluster.namespace))
        raise RunAbortedError("enough is known")

    monkeypatch.setattr(beginning, "_deploy", deploy)
    imagekit.init(root_dir=tmp_path, project="all", domain="live")
    env = TaskEnvironment("clients", image=Image.from_base("registry.example/x:1"))

    @env.task
    def nothing() -> None:
        """Do nothing."""

    runner = imagekit.with_runcontext(
        mode="remote", project="shop", domain="dev", copy_style="none", version="v"
    )
    with pytest.raises(RunAbortedError):
        runner.run(nothing)

    assert places == [("shop-dev", "shop-dev")]
