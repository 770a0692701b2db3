"""What BuildKit says while it works (``--progress rawjson``): steps, times, output."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from imagekit.builder import ExecutedStep
from imagekit.platform import Platform
from imagekit.progress import Progress, TaskEnded, TaskStarted
from imagekit.records import dataclass, field
from imagekit_buildkit.instruction_lines import InstructionLines
from imagekit_buildkit.recipe import BASE, Instruction, Recipe

#: Lines of a step's output that are kept: the rest has scrolled by.
_MOST_LINES = 10_000
_ERRORS = 2
_CANCELED = ("context canceled", "CANCELED")


@dataclass(slots=True, kw_only=True)
class Vertex:
    """A step, as BuildKit sees it.

    Attributes:
        line: first line of its instruction in the Dockerfile; 0 where it has none.
        error: why it failed, or empty.
        output: what it printed, each line with its stream: 1, or 2 for errors.
        runs: when it was started, and then completed; it may run several times.
        rest: the beginning of a line that is not complete, by stream.
        task: key of the task that is shown for it, while it runs.
    """

    name: str
    line: int = 0
    cached: bool = False
    error: str = ""
    output: list[tuple[int, str]] = field(default_factory=list)
    runs: dict[str, str] = field(default_factory=dict)
    rest: dict[int, bytes] = field(default_factory=dict)
    task: str = ""

    def tail(self, count: int) -> list[str]:
        """Return the last *count* lines.

        The two streams come on ways of their own, so errors can be far before what was
        printed with them. Half of the lines are errors, if there were so many.
        """
        errors = [at for at, (stream, _) in enumerate(self.output) if stream == _ERRORS]
        kept = set(errors[-(count // 2) :])
        rest = (at for at in reversed(range(len(self.output))) if at not in kept)
        kept.update(islice(rest, count - len(kept)))
        return [self.output[at][1] for at in sorted(kept)]

    @property
    def seconds(self) -> float:
        """Return how long it ran, in all its runs."""
        if self.cached:
            return 0.0
        return sum(
            (
                datetime.fromisoformat(end) - datetime.fromisoformat(start)
            ).total_seconds()
            for start, end in self.runs.items()
            if end
        )


class ProgressLog:
    """Takes BuildKit's progress line by line, and reports it as events.

    Args:
        recipe: what is being built.
        number: tells the tasks of this solve from those of others.
        redact: takes the values of secrets out of a text.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        contexts: frozenset[str],
        number: str,
        progress: Progress,
        redact: Callable[[str], str],
    ) -> None:
        self._recipe = recipe
        self._lines = InstructionLines(recipe.dockerfile, contexts)
        self._number = number
        self._progress = progress
        self._redact = redact
        self._vertices: dict[str, Vertex] = {}
        self.warnings: list[str] = []

    def feed(self, line: bytes) -> bool:
        """Take a line; False where it is not one of BuildKit's progress."""
        if not line.startswith(b"{"):
            return False
        try:
            document = json.loads(line)
        except ValueError:
            return False
        for item in document.get("vertexes") or ():
            self._vertex(item)
        for item in document.get("logs") or ():
            self._log(item)
        for item in document.get("warnings") or ():
            text = base64.b64decode(item.get("short") or "").decode(errors="replace")
            self.warnings.append(self._redact(text))
        return True

    def close(self, *, failed: bool) -> None:
        """End what is still on its way."""
        for vertex in self._vertices.values():
            self._flush(vertex)
            if vertex.task:
                self._end(vertex, "failed" if failed else "done")

    def failed(self) -> Vertex | None:
        """Return the step that failed, if one did."""
        for vertex in self._vertices.values():
            if vertex.error and not any(word in vertex.error for word in _CANCELED):
                return vertex
        return None

    def at_line(self, line: int) -> Vertex | None:
        """Return the step of the instruction that begins at *line*."""
        found = [item for item in self._vertices.values() if item.line == line]
        return next((item for item in found if item.error), found[0] if found else None)

    def instruction(self, line: int) -> Instruction | None:
        """Return what the user asked for with the instruction at *line*."""
        before = [item for item in self._recipe.instructions if item.line <= line]
        return max(before, key=lambda item: item.line, default=None)

    def titles_of_layers(self) -> tuple[tuple[str, str], ...]:
        """Return keyword and title of what makes the image's own layers, in order."""
        return tuple(
            (item.keyword, self._title(item.line, item.text))
            for item in self._lines.of_image(self._recipe.target)
        )

    def texts_of_layers(self) -> tuple[tuple[str, str], ...]:
        """Return keyword and text of the instructions that make the layers."""
        return tuple(
            (item.keyword, item.text)
            for item in self._lines.of_image(self._recipe.target)
        )

    def steps(self, platform: Platform) -> tuple[ExecutedStep, ...]:
        """Return what was executed, in the order of the Dockerfile."""
        return tuple(
            ExecutedStep(
                platform=platform,
                title=title,
                seconds=round(sum(vertex.seconds for vertex in vertices), 3),
                cached=all(vertex.cached for vertex in vertices),
            )
            for title, vertices in self._by_title()
        )

    def text(self) -> str:
        """Return what the steps printed, below their titles."""
        parts = []
        for title, vertices in self._by_title():
            lines = [line for vertex in vertices for _, line in vertex.output]
            if lines:
                parts += [f"[{title}]", *lines]
        return "".join(f"{line}\n" for line in parts)

    def _by_title(self) -> Iterator[tuple[str, list[Vertex]]]:
        found: dict[int, list[Vertex]] = {}
        for vertex in self._vertices.values():
            if vertex.line:
                instruction = self.instruction(vertex.line)
                line = instruction.line if instruction else vertex.line
                found.setdefault(line, []).append(vertex)
        for line, vertices in sorted(found.items()):
            yield self._title(line, vertices[0].name), vertices

    def _title(self, line: int, otherwise: str) -> str:
        instruction = self.instruction(line) if line else None
        return instruction.title if instruction else self._redact(otherwise)

    def _shown(self, name: str) -> str:
        base = self._recipe.base
        if base is not None and name.startswith(f"[context {BASE}]"):
            return f"base {base.name}"
        return name

    def _vertex(self, item: dict[str, Any]) -> None:
        digest = item["digest"]
        vertex = self._vertices.get(digest)
        if vertex is None:
            name = item.get("name") or digest
            numbered = self._lines.find(name)
            vertex = Vertex(name=name, line=numbered.line if numbered else 0)
            self._vertices[digest] = vertex
        vertex.cached = vertex.cached or bool(item.get("cached"))
        vertex.error = self._redact(item.get("error") or "") or vertex.error
        started, completed = item.get("started"), item.get("completed")
        if started:
            vertex.runs.setdefault(started, "")
            self._start(vertex)
        if started and completed:
            vertex.runs[started] = completed
            self._flush(vertex)
            outcome = "reused" if vertex.cached else "done"
            self._end(vertex, "failed" if vertex.error else outcome)

    def _log(self, item: dict[str, Any]) -> None:
        vertex = self._vertices.get(item.get("vertex") or "")
        if vertex is None:
            return
        stream = int(item.get("stream") or 0)
        data = vertex.rest.pop(stream, b"") + base64.b64decode(item.get("data") or "")
        # By whole lines only: a secret may have been cut in two.
        *whole, rest = data.split(b"\n")
        self._keep(vertex, stream, whole)
        if rest:
            vertex.rest[stream] = rest

    def _flush(self, vertex: Vertex) -> None:
        for stream, rest in sorted(vertex.rest.items()):
            self._keep(vertex, stream, [rest])
        vertex.rest.clear()

    def _keep(self, vertex: Vertex, stream: int, lines: list[bytes]) -> None:
        for line in lines:
            text = self._redact(line.decode(errors="replace").rstrip("\r"))
            vertex.output.append((stream, text))
        del vertex.output[:-_MOST_LINES]

    def _start(self, vertex: Vertex) -> None:
        if vertex.task or vertex.name.startswith("[internal]"):
            return
        runs = len(vertex.runs)
        if vertex.line and (any(vertex.runs.values()) or "] LINK " in vertex.name):
            return  # its result is asked for again, or joined to what is below
        vertex.task = f"buildkit:{self._number}:{id(vertex)}:{runs}"
        title = self._title(vertex.line, self._shown(vertex.name))
        self._progress(TaskStarted(vertex.task, title, "build"))

    def _end(self, vertex: Vertex, outcome: str) -> None:
        if vertex.task:
            self._progress(TaskEnded(vertex.task, outcome))
            vertex.task = ""
