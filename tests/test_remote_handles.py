"""A run in the hands of a client: what it says while and after it is followed."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

import pytest
from api_in_memory import ApiInMemory
from task_runs import wait_until

from imagekit.cluster.api import Cluster
from imagekit.cluster.documents import ResultDocument, RunDocument
from imagekit.remote.follower import Follower
from imagekit.remote.known_run import KnownRun
from imagekit.remote.local_record import begin_record
from imagekit.remote.remote_run import RemoteRun
from imagekit.run_record import RunRecord
from imagekit.run_records import RUNS, RunRecords
from imagekit.task_errors import RuntimeSystemError

RUN = RunDocument(
    name="first", task="env.task", version="v", environments={}, started=1234.5
)
DONE = ResultDocument(output=7, error=None, events=(), journals=0, pod="")


class Scripted:
    """Follows a run as a test says: to its result, or an error."""

    def __init__(self, end: ResultDocument | Exception) -> None:
        self.end = end
        self.may_end = threading.Event()

    def follow(self) -> ResultDocument:
        self.may_end.wait(20)
        if isinstance(self.end, Exception):
            raise self.end
        return self.end

    def stop(self) -> None:
        self.may_end.set()


def handle(folder: Path, *script: Scripted) -> RemoteRun:
    left = list(script)

    def follower(_record: RunRecord) -> Follower:
        return cast("Follower", left.pop(0))

    def decoded(output: Any, _folder: Path) -> Any:
        return output

    return RemoteRun(
        Cluster(ApiInMemory()),
        KnownRun(document=RUN, object={}),
        record=lambda: begin_record(folder, RUN, is_new=False),
        follower=follower,
        decoded=decoded,
        noted=lambda _error: None,
        place=folder,
    )


@pytest.fixture
def lost() -> Scripted:
    return Scripted(RuntimeSystemError("it can't be followed any more"))


def died(run: RemoteRun, script: Scripted) -> None:
    """Have what follows a run end."""
    following = run.follow()
    script.may_end.set()
    wait_until(lambda: following.error is not None, 20)


def test_what_can_not_be_followed_any_more_is_not_running(
    tmp_path: Path, lost: Scripted
) -> None:
    again = Scripted(DONE)
    run = handle(tmp_path, lost, again)
    assert not run.done()
    died(run, lost)

    with pytest.raises(RuntimeSystemError, match="can't be followed any more"):
        run.done()

    # Who asks again has it followed again.
    assert not run.done()
    again.may_end.set()
    wait_until(run.done, 20)
    assert run.status == "succeeded"
    assert run.outputs() == 7


def test_a_result_is_waited_for_though_what_followed_the_run_has_died(
    tmp_path: Path, lost: Scripted
) -> None:
    again = Scripted(DONE)
    run = handle(tmp_path, lost, again)
    died(run, lost)
    again.may_end.set()

    assert run.outputs() == 7


def test_a_record_does_not_say_that_a_run_failed_which_goes_on(
    tmp_path: Path, lost: Scripted
) -> None:
    run = handle(tmp_path, lost)
    died(run, lost)

    assert RunRecords(tmp_path / RUNS).open("first").status == "lost"
