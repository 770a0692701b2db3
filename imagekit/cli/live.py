"""Progress on a terminal: a line a phase, below it a line for each task that runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from imagekit.cli.lines import totals
from imagekit.cli.sizes import seconds_text, size_text
from imagekit.cli.tally import Phase, Tally, Task
from imagekit.progress import Event, Note, TaskEnded

#: Tasks that are shown at once; terminals may have room for less.
_MOST = 12
_BAR = 20
#: Columns of a title at least, and of what comes behind it at most.
_TITLE = 36
_NARROW = 54


class LiveDisplay:
    """Redraws what runs, eight times a second; what is over collapses into counts."""

    def __init__(
        self, console: Console, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._clock = clock
        self._tally = Tally()
        self._lock = Lock()
        self._ascii = not console.encoding.startswith("utf")
        self._live = Live(
            get_renderable=self.frame,
            console=console,
            refresh_per_second=8,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def __call__(self, event: Event, /) -> None:
        """Take note of *event*, from any thread."""
        with self._lock:
            task = self._tally.take(event, self._clock())
        match event:
            case Note():
                style = "yellow" if event.level == "warning" else "dim"
                self._console.print(Text(event.text, style=style))
            case TaskEnded(outcome="failed") if task is not None:
                detail = f": {event.detail}" if event.detail else ""
                text = f"{self._mark(failed=True)} {task.title}{detail}"
                self._console.print(Text(text, style="red"))
            case _:
                pass

    def close(self) -> None:
        """Draw a last time, and leave the terminal as it was."""
        self._live.stop()

    def frame(self) -> Group:
        """Return what is to be seen now."""
        with self._lock:
            now = self._clock()
            lines: list[Text] = []
            running = list(self._tally.running.values())
            room = self._console.height - len(self._tally.phases) - 2
            shown = running[: max(1, min(_MOST, room))]
            for phase in self._tally.phases.values():
                lines.append(self._phase(phase, now))
                lines += [
                    self._task(task, now) for task in shown if task.phase == phase.name
                ]
            if len(running) > len(shown):
                lines.append(
                    Text(f"    and {len(running) - len(shown)} more", style="dim")
                )
        for line in lines:
            line.no_wrap = True
            line.overflow = "crop" if self._ascii else "ellipsis"
        return Group(*lines)

    def _phase(self, phase: Phase, now: float) -> Text:
        line = Text()
        if phase.running:
            line.append(f"{self._spinner(now)} ", style="cyan")
            line.append(f"{phase.name:8}", style="bold")
            line.append(totals(phase))
            if speed := phase.speed(now):
                line.append(f", {size_text(speed)}/s", style="dim")
            return line
        style = "red" if phase.failed else "green"
        line.append(f"{self._mark(failed=bool(phase.failed))} ", style=style)
        line.append(f"{phase.name:8}", style="bold")
        one = phase.count == phase.done == 1
        line.append(phase.title if one else totals(phase))
        line.append(f", {seconds_text(phase.ended - phase.began)}", style="dim")
        return line

    def _task(self, task: Task, now: float) -> Text:
        width = self._console.width
        room = max(_TITLE, min(width - _NARROW, 2 * _TITLE))
        title = task.title
        if len(title) > room:
            title = f"{title[: room - 3]}..."
        line = Text(f"    {title:{room}} ")
        if task.total:
            done = min(task.done, task.total)
            if width >= _TITLE + _NARROW:
                line.append(self._bar(done / task.total), style="cyan")
            line.append(f" {size_text(done)} of {size_text(task.total)}")
        elif task.done:
            line.append(f" {size_text(task.done)}")
        else:
            line.append(f" {seconds_text(now - task.began)}", style="dim")
        return line

    def _bar(self, share: float) -> str:
        full = round(share * _BAR)
        filled, rest = ("#", ".") if self._ascii else ("━", "─")
        return filled * full + rest * (_BAR - full)

    def _spinner(self, now: float) -> str:
        frames = "-\\|/" if self._ascii else "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
        return frames[int(now * 8) % len(frames)]

    def _mark(self, *, failed: bool) -> str:
        if self._ascii:
            return "x" if failed else "*"
        return "✗" if failed else "✓"
