"""What happens in a call, as it is written to the cluster, when it is too large."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from calls_in_memory import CALLER, TASK, Calls

from imagekit.cluster import names
from imagekit.cluster.api_errors import UnreachableError
from imagekit.cluster.documents import CallDocument, ResultDocument
from imagekit.failures import decode_failure
from imagekit.run_events import Ended, Event, Reported, Started
from imagekit.running.cluster.call_parts import CallParts
from imagekit.running.cluster.journal import Journal
from imagekit.running.cluster.parcel_objects import parcel_of
from imagekit.running.cluster.parcels import BOUND, pack
from imagekit.running.cluster.pod_output import Printing
from imagekit.running.cluster.root_history import RootHistory
from imagekit.running.cluster.run_here import RunHere
from imagekit.runtime.messages import event_of
from imagekit.task_errors import InlineIOMaxBytesBreached, RuntimeSystemError
from imagekit.value_blobs import ValueBlobs
from imagekit.values import document_bytes


class Written:
    """Journals, as a cluster takes them that has no place for large data."""

    def __init__(self, blobs: ValueBlobs) -> None:
        self.blobs = blobs
        self.events: list[Any] = []
        self.numbers: list[int] = []

    def __call__(self, number: int, events: list[Any]) -> None:
        pack(events, (), self.blobs, None)
        self.numbers.append(number)
        self.events += map(event_of, events)


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(ValueBlobs(tmp_path / "blobs"))


@pytest.fixture
def journal(written: Written) -> Journal:
    return Journal(written, print_to=Printing())


def noise(size: int) -> str:
    """Return a text that can't be compressed to much less than 3/4."""
    return random.Random(size).randbytes(size // 2).hex()


def started(inputs: Any, name: str = "a0.1") -> Started:
    return Started(
        id=name,
        parent="a0",
        kind="task",
        name="env.f",
        time=1.0,
        inputs=inputs,
        environment="env",
    )


def ended(outputs: Any, name: str = "a0.1") -> Ended:
    return Ended(id=name, time=2.0, status="succeeded", outputs=outputs)


def test_an_event_that_no_object_can_hold_is_told_without_its_values(
    journal: Journal, written: Written
) -> None:
    huge = {"x": noise(3 * BOUND)}
    journal.record(started({"x": 1}, "a0"))
    journal.record(started(huge))
    journal.record(ended(huge))

    journal.flush()

    first, second, third = written.events
    assert first.inputs == {"x": 1}
    size = len(document_bytes(huge))
    assert second == started(f"{size} bytes, too many for the cluster")
    assert third == ended(f"{size} bytes, too many for the cluster")
    assert written.numbers == list(range(len(written.numbers)))


def test_what_an_object_can_hold_is_told_as_it_is(
    journal: Journal, written: Written
) -> None:
    events: list[Event] = [
        started({"x": "a" * 5 * BOUND}),
        ended(noise(BOUND // 2)),
        ended(1),
    ]
    for event in events:
        journal.record(event)

    journal.flush()

    assert written.events == events


def test_nothing_is_left_that_is_to_be_written(
    journal: Journal, written: Written
) -> None:
    journal.record(started({"x": 1}))
    journal.record(ended(noise(BOUND // 2)))
    journal.record(Reported(id="a0", html=noise(2 * BOUND)))
    journal.record(ended(noise(3 * BOUND), "a0"))

    journals, left = journal.close()
    assert journals == len(written.numbers) > 0
    assert len(written.events) + len(left) == 4

    again, nothing = journal.close(everything=True)
    assert nothing == []
    assert again == len(written.numbers) >= journals
    assert len(written.events) == 4


def test_other_errors_are_told() -> None:
    def write(_number: int, _events: list[Any]) -> None:
        raise RuntimeSystemError("nobody answers")

    journal = Journal(write, print_to=Printing())
    journal.record(started({"x": 1}))
    with pytest.raises(RuntimeSystemError, match="nobody answers"):
        journal.flush()
    with pytest.raises(RuntimeSystemError, match="nobody answers"):
        journal.close(everything=True)


def test_what_can_not_be_made_smaller_is_an_error() -> None:
    def write(_number: int, _events: list[Any]) -> None:
        raise InlineIOMaxBytesBreached("too large")

    journal = Journal(write, print_to=Printing())
    journal.record(started({"x": 1}))
    with pytest.raises(InlineIOMaxBytesBreached):
        journal.flush()


# Results of calls with such values.


class Told:
    """A call in this process, and what it tells on a cluster in memory."""

    def __init__(self, tmp_path: Path, attempt: int) -> None:
        self.calls = calls = Calls(tmp_path)
        document = CallDocument(
            run="run",
            action="a0.1" if attempt else "a0",
            attempt=attempt,
            task=TASK,
            settings=calls.settings,
            inputs={"x": 1},
            caller=CALLER if attempt else "",
        )
        self.name = f"ik-call-{attempt}"
        calls.objects.create_call(self.name, document)
        found = calls.cluster.get("ConfigMap", self.name)
        run = RunHere(
            object=calls.owner, document=calls.run, store=None, deployed=calls.deployed
        )
        self.parts = CallParts(
            calls.cluster,
            calls.cluster,
            found,
            document,
            run,
            pod="pod",
            blobs=calls.blobs,
            printing=Printing(),
            history=RootHistory(
                calls.cluster, found, pod="pod", blobs=calls.blobs, store=None
            ),
        )

    def events(self, result: ResultDocument) -> list[Any]:
        """Return all events that were written."""
        found = []
        for number in range(result.journals):
            part = self.calls.cluster.get(
                "ConfigMap", names.journal_name(self.name, number)
            )
            found += parcel_of(part, self.calls.blobs, None)
        return [event_of(item) for item in (*found, *result.events)]

    def result(self) -> ResultDocument:
        found = self.calls.objects.result(self.name)
        assert found is not None
        return found


def test_a_caller_survives_inputs_that_were_refused(tmp_path: Path) -> None:
    told = Told(tmp_path, 0)
    told.parts.journal.record(started({"x": noise(3 * BOUND)}))

    told.parts.write_result(1, None)

    result = told.result()
    assert (result.output, result.error) == (1, None)
    [event] = told.events(result)
    assert "too many for the cluster" in event.inputs


@pytest.mark.parametrize("attempt", [0, 1])
def test_an_output_that_is_too_large_is_a_typed_error(
    tmp_path: Path, attempt: int
) -> None:
    told = Told(tmp_path, attempt)
    output = noise(3 * BOUND)
    told.parts.journal.record(ended(output, "a0"))

    told.parts.write_result(output, None)

    result = told.result()
    assert result.output is None
    assert isinstance(decode_failure(result.error), InlineIOMaxBytesBreached)
    statuses = [event.status for event in told.events(result)]
    assert statuses == (["succeeded"] if attempt else ["succeeded", "failed"])


def test_an_output_that_only_fits_alone(tmp_path: Path) -> None:
    told = Told(tmp_path, 0)
    output = noise(BOUND)
    told.parts.journal.record(ended(output, "a0"))

    told.parts.write_result(output, None)

    result = told.result()
    assert (result.output, result.error) == (output, None)
    assert [event.outputs for event in told.events(result)] == [output]


def test_a_result_is_written_though_events_can_not_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told(tmp_path, 0)

    def refuse(method: str, _path: str, body: Any) -> None:
        if method == "POST" and ".j0" in body["metadata"]["name"]:
            raise UnreachableError("nothing answers")

    told.calls.api.refuse = refuse
    for _ in range(3):
        told.parts.journal.record(ended(noise(BOUND // 2)))

    told.parts.write_result(7, None)

    assert told.result().output == 7
    assert "nothing answers" in caplog.text
