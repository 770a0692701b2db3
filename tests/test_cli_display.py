"""How progress is shown: live on terminals, as lines elsewhere, or not at all."""

import io
import json
import os
import pty
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rich.console import Console

from imagekit.cli.display import display
from imagekit.cli.lines import Lines
from imagekit.cli.live import LiveDisplay
from imagekit.cli.output import Output, has_colour
from imagekit.cli.sizes import seconds_text, size_text
from imagekit.cli.tally import Tally
from imagekit.progress import Event, Note, TaskAdvanced, TaskEnded, TaskStarted

_MB = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def wheels(count: int, size: int = 2 * _MB) -> Iterator[Event]:
    for number in range(count):
        task, title = f"wheel:{number}", f"dist-{number} 1.{number}"
        yield TaskStarted(task, title, "fetch", size)
        yield TaskAdvanced(task, size // 2)
        yield TaskAdvanced(task, size // 2)
        yield TaskEnded(task)


class TestTally:
    def test_counts(self) -> None:
        tally = Tally()
        for event in wheels(3):
            tally.take(event, 1.0)
        tally.take(TaskStarted("a", "a", "fetch", 10), 2.0)
        tally.take(TaskEnded("a", "reused"), 2.0)
        tally.take(TaskStarted("b", "b", "fetch", 10), 2.0)
        tally.take(TaskEnded("b", "failed"), 3.0)
        tally.take(TaskStarted("c", "c", "build"), 4.0)
        fetch, build = tally.phases.values()

        assert (fetch.done, fetch.reused, fetch.failed, fetch.running) == (3, 1, 1, 0)
        assert fetch.size == 6 * _MB
        assert fetch.expected == 6 * _MB + 10
        assert (fetch.began, fetch.ended) == (1.0, 3.0)
        assert build.running == 1
        assert list(tally.running) == ["c"]

    def test_events_of_unknown_tasks_are_passed_over(self) -> None:
        tally = Tally()

        assert tally.take(TaskAdvanced("x", 1), 1.0) is None
        assert tally.take(TaskEnded("x"), 1.0) is None
        assert tally.take(Note("n"), 1.0) is None
        assert tally.phases == {}

    def test_speed_is_that_of_late(self) -> None:
        tally = Tally()
        tally.take(TaskStarted("a", "a", "fetch", 100), 0.0)
        for second in range(1, 21):
            tally.take(TaskAdvanced("a", 10 if second <= 10 else 30), float(second))
        (phase,) = tally.phases.values()

        assert 25 <= phase.speed(20.0) <= 40
        assert phase.speed(60.0) == 0


class TestLines:
    def lines(self, clock: Clock, *events: Event, step: float = 0.2) -> list[str]:
        stream = io.StringIO()
        shown = Lines(stream, clock)
        for event in events:
            shown(event)
            clock.now += step
        shown.close()
        return stream.getvalue().splitlines()

    def test_a_build(self, clock: Clock) -> None:
        assert self.lines(
            clock,
            TaskStarted("r", "files of web", "read"),
            TaskEnded("r"),
            Note("can't ask the registry", "warning"),
            Note("all is well"),
            TaskStarted("w", "numpy 2", "fetch", 16_600_000),
            TaskAdvanced("w", 16_600_000),
            TaskEnded("w"),
            TaskStarted("x", "small 1", "fetch", 1000),
            TaskEnded("x"),
            TaskStarted("y", "old 1", "fetch", 1000),
            TaskEnded("y", "reused"),
            TaskStarted("z", "bad 1", "fetch", 1000),
            TaskEnded("z", "failed", "connection reset"),
        ) == [
            "read: files of web ...",
            "read: files of web done in 0.2 s",
            "warning: can't ask the registry",
            "all is well",
            "fetch: numpy 2 (16.6 MB) ...",
            "fetch: numpy 2 done in 0.4 s",
            "fetch: small 1 done in 0.2 s",
            "fetch: bad 1 failed: connection reset",
            "fetch: 2 done, 1 reused, 1 failed, 16.6 MB in 1.6 s",
        ]

    def test_ten_lines_a_second(self, clock: Clock) -> None:
        found = self.lines(clock, *wheels(60), step=0.001)

        assert len(found) == 11
        assert found[-1] == "fetch: 60 done, 120.0 MB in 0.2 s"

    def test_warnings_and_failures_are_never_left_out(self, clock: Clock) -> None:
        late: list[Event] = [Note("look", "warning"), TaskStarted("f", "f", "fetch")]
        found = self.lines(clock, *wheels(60), *late, TaskEnded("f", "failed"), step=0)

        assert "warning: look" in found
        assert "fetch: f failed" in found

    def test_long_work_says_how_far_it_is(self, clock: Clock) -> None:
        found = self.lines(
            clock,
            TaskStarted("w", "torch 2", "fetch", 200 * _MB),
            *(TaskAdvanced("w", _MB) for _ in range(30)),
            step=1,
        )

        assert found[1:3] == [
            "fetch: 0 of 1 done, 10.0 MB of 200.0 MB so far",
            "fetch: 0 of 1 done, 20.0 MB of 200.0 MB so far",
        ]


class TestLive:
    @pytest.fixture
    def console(self) -> Console:
        return Console(
            file=io.StringIO(),
            force_terminal=True,
            width=100,
            height=24,
            color_system=None,
        )

    def text(self, console: Console, shown: LiveDisplay) -> list[str]:
        with console.capture() as capture:
            console.print(shown.frame())
        return [line.rstrip() for line in capture.get().splitlines()]

    def test_sixty_wheels_fit(self, console: Console, clock: Clock) -> None:
        shown = LiveDisplay(console, clock)
        try:
            for number in range(60):
                name = "a-distribution-with-a-rather-long-name" * 3
                shown(TaskStarted(f"{number}", f"{name} {number}", "fetch", 9 * _MB))
                shown(TaskAdvanced(f"{number}", _MB))
            frame = self.text(console, shown)
        finally:
            shown.close()

        assert len(frame) <= 24
        assert max(map(len, frame)) <= 100
        assert "fetch   0 of 60 done, 60.0 MB of 540.0 MB" in frame[0]
        assert frame[1].endswith("1.0 MB of 9.0 MB")
        assert frame[-1] == "    and 48 more"

    def test_what_is_over_collapses(self, console: Console, clock: Clock) -> None:
        shown = LiveDisplay(console, clock)
        try:
            shown(TaskStarted("r", "files of web", "read"))
            clock.now += 1.26
            shown(TaskEnded("r"))
            for event in wheels(60):
                shown(event)
            shown(TaskStarted("o", "old", "fetch", 5))
            shown(TaskEnded("o", "reused"))
            frame = self.text(console, shown)
        finally:
            shown.close()

        assert frame == [
            "✓ read    files of web, 1.3 s",
            "✓ fetch   60 done, 1 reused, 120.0 MB, 0 ms",
        ]

    def test_notes_and_failures_stay(self, console: Console, clock: Clock) -> None:
        shown = LiveDisplay(console, clock)
        shown(Note("look here", "warning"))
        shown(TaskStarted("f", "numpy", "fetch"))
        shown(TaskEnded("f", "failed", "connection reset"))
        shown.close()
        assert isinstance(console.file, io.StringIO)
        found = console.file.getvalue()

        assert "look here" in found
        assert "✗ numpy: connection reset" in found
        assert found.endswith("\x1b[?25h"), "the cursor is to be seen again"

    @pytest.mark.parametrize("width", [10, 40, 80, 200])
    def test_any_width(self, console: Console, clock: Clock, width: int) -> None:
        console.width, console.height = width, 4
        shown = LiveDisplay(console, clock)
        try:
            for number in range(20):
                shown(TaskStarted(f"{number}", f"dist-{number}", "fetch", 9 * _MB))
            frame = self.text(console, shown)
        finally:
            shown.close()

        assert max(map(len, frame)) <= width
        assert len(frame) <= 4

    def test_terminals_without_unicode(self, clock: Clock) -> None:
        stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        console = Console(
            file=stream, force_terminal=True, width=100, color_system=None
        )
        shown = LiveDisplay(console, clock)
        shown(TaskStarted("w", "numpy", "fetch", 100))
        shown(TaskAdvanced("w", 50))
        shown._live.refresh()
        shown(TaskEnded("w"))
        shown.close()
        stream.flush()
        assert isinstance(stream.buffer, io.BytesIO)
        found = stream.buffer.getvalue().decode("ascii")

        assert "##########.........." in found
        assert "* fetch   numpy" in found

    def test_events_from_many_threads(self, console: Console) -> None:
        shown = LiveDisplay(console)
        events = list(wheels(200))
        ready = threading.Barrier(4)

        def feed(part: int) -> None:
            ready.wait(10)
            for event in events[part * 200 : (part + 1) * 200]:
                shown(event)
                if random.random() < 0.05:
                    shown.frame()

        with ThreadPoolExecutor(4) as pool:
            for future in [pool.submit(feed, part) for part in range(4)]:
                future.result()
        frame = self.text(console, shown)
        shown.close()

        assert "fetch   200 done, 400.0 MB" in frame[0]


class TestChoice:
    def test_json_keeps_warnings(self, capsys: pytest.CaptureFixture[str]) -> None:
        output = Output(as_json=True)
        with display(output) as progress:
            for event in (*wheels(2), Note("a"), Note("b", "warning")):
                progress(event)
        output.talk("something")
        output.line("data")
        output.finish()
        out, err = capsys.readouterr()

        assert json.loads(out) == {"warnings": ["b"]}
        assert err == ""

    def test_quiet(self, capsys: pytest.CaptureFixture[str]) -> None:
        output = Output(quiet=True)
        with display(output) as progress:
            for event in (*wheels(2), Note("b", "warning")):
                progress(event)
        output.talk("something")
        output.line("data")
        output.finish()

        assert capsys.readouterr() == ("data\n", "")

    def test_lines_elsewhere(self, capsys: pytest.CaptureFixture[str]) -> None:
        with display(Output()) as progress:
            progress(Note("a"))

        assert capsys.readouterr() == ("", "a\n")

    def test_shown_to_the_end_when_the_build_fails(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def fail() -> None:
            with display(Output()) as progress:
                for event in wheels(2):
                    progress(event)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert capsys.readouterr().err.splitlines()[-1].startswith("fetch: 2 done")

    @pytest.mark.parametrize(
        ("variables", "escapes", "colours"),
        [
            ({"TERM": "xterm-256color"}, True, True),
            ({"TERM": "xterm-256color", "NO_COLOR": "1"}, True, False),
            ({"TERM": "dumb"}, False, False),
        ],
    )
    def test_terminal(
        self, variables: dict[str, str], escapes: bool, colours: bool
    ) -> None:
        code = (
            "from imagekit.cli.display import display\n"
            "from imagekit.cli.faults import show\n"
            "from imagekit.cli.output import Output\n"
            "from imagekit.progress import Note, TaskEnded, TaskStarted\n"
            "with display(Output()) as progress:\n"
            "    progress(TaskStarted('a', 'the title', 'fetch'))\n"
            "    progress(TaskEnded('a'))\n"
            "show('an error')\n"
            "print('data')\n"
        )
        root = str(Path(__file__).parent.parent)
        environ = {
            name: value
            for name, value in os.environ.items()
            if name not in ("NO_COLOR", "FORCE_COLOR", "TERM", "CI")
        }
        screen, terminal = pty.openpty()
        with os.fdopen(screen, "rb", buffering=0) as reader:
            done = subprocess.run(
                [sys.executable, "-c", code],
                stdout=subprocess.PIPE,
                stderr=terminal,
                env={**environ, **variables, "PYTHONPATH": root},
            )
            os.close(terminal)
            found = b""
            while chunk := self.read(reader):
                found += chunk

        assert done.stdout == b"data\n"
        assert b"the title" in found
        assert b"error:" in found
        assert (b"\x1b[" in found) == escapes
        assert (b"\x1b[1;31m" in found or b"\x1b[32m" in found) == colours

    @staticmethod
    def read(reader: io.FileIO) -> bytes:
        try:
            return reader.read(4096) or b""
        except OSError:  # Linux: the other end is closed
            return b""


def test_streams_that_are_no_terminal_have_no_colour() -> None:
    assert not has_colour(io.StringIO())


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_951, "1.0 MB"),
        (16_600_000, "16.6 MB"),
        (10**15, "1000.0 TB"),
    ],
)
def test_size_text(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0004, "0 ms"),
        (0.02, "20 ms"),
        (1.26, "1.3 s"),
        (59.7, "1 min 0 s"),
        (75, "1 min 15 s"),
    ],
)
def test_seconds_text(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text
