"""Which lines of a Dockerfile BuildKit means when it names a step.

BuildKit names a step by its stage and its number there (``[build 2/5] RUN …``), with
variables expanded; the only stage has no name at times. The numbers count what makes
layers, after the image of ``FROM``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from imagekit.records import dataclass, field

#: Instructions that make layers, and so are numbered.
_NUMBERED = ("RUN", "COPY", "ADD", "WORKDIR")
_STEP = re.compile(
    r"\[(?:\S+/\S+ )?(?:(?P<stage>\S+) +)?(?P<number>\d+)/\d+\] (?P<text>.*)"
)
_HEREDOC = re.compile(r"<<-?\s*([\"']?)([A-Za-z_][A-Za-z0-9_]*)\1")
_FROM = re.compile(r"FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedInstruction:
    """An instruction that makes a layer.

    Attributes:
        line: its first line, from 1.
        text: all of it, as it is written.
    """

    line: int
    keyword: str
    text: str


@dataclass(slots=True, kw_only=True)
class _Stage:
    name: str
    base: str
    numbered_base: bool
    instructions: list[NumberedInstruction] = field(default_factory=list)


class InstructionLines:
    """The numbered instructions of a Dockerfile.

    Args:
        dockerfile: its text.
        contexts: names that are given as named contexts, not pulled.
    """

    def __init__(self, dockerfile: str, contexts: frozenset[str]) -> None:
        self._stages: list[_Stage] = []
        for line, text in _instructions(dockerfile):
            keyword = text.split(None, 1)[0].upper()
            if keyword == "FROM":
                self._stages.append(self._stage(text, contexts))
            elif self._stages and keyword in _NUMBERED:
                self._stages[-1].instructions.append(
                    NumberedInstruction(line=line, keyword=keyword, text=text)
                )

    def find(self, step: str) -> NumberedInstruction | None:
        """Return the instruction that BuildKit calls *step*, if it is numbered."""
        match = _STEP.fullmatch(step.splitlines()[0]) if step else None
        if match is None:
            return None
        stage = self._named(match["stage"]) if match["stage"] else self._last()
        keyword = match["text"].removeprefix("LINK ").split(None, 1)[0].upper()
        if stage is None or keyword == "FROM":
            return None
        index = int(match["number"]) - 1 - stage.numbered_base
        if not 0 <= index < len(stage.instructions):
            return None
        found = stage.instructions[index]
        return found if found.keyword == keyword else None

    def of_image(self, target: str | None) -> tuple[NumberedInstruction, ...]:
        """Return the instructions that made the layers of a stage, bottom first."""
        stage = self._named(target) if target else self._last()
        found: list[NumberedInstruction] = []
        while stage is not None:
            found = [*stage.instructions, *found]
            stage = self._named(stage.base, before=stage)
        return tuple(found)

    def _stage(self, text: str, contexts: frozenset[str]) -> _Stage:
        match = _FROM.match(text)
        base, name = (match[1], match[2]) if match else ("", None)
        own = self._named(base) is not None
        return _Stage(
            name=(name or f"stage-{len(self._stages)}").lower(),
            base=base.lower(),
            numbered_base=not own and base != "scratch" and base not in contexts,
        )

    def _last(self) -> _Stage | None:
        return self._stages[-1] if self._stages else None

    def _named(self, name: str, *, before: _Stage | None = None) -> _Stage | None:
        end = self._stages.index(before) if before else len(self._stages)
        stages = [*enumerate(self._stages[:end])]
        for index, stage in reversed(stages):
            if name.lower() in (stage.name, str(index)):
                return stage
        return None


def _instructions(dockerfile: str) -> Iterator[tuple[int, str]]:
    """Yield each instruction and its first line; comments within are left out."""
    lines = iter(enumerate(dockerfile.split("\n"), 1))
    for number, line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        text = line.strip()
        while text.endswith("\\"):
            _, more = next(lines, (0, ""))
            if more.lstrip().startswith("#"):
                continue
            text = f"{text[:-1].rstrip()} {more.strip()}"
            if not more:
                break
        yield number, text
        if text.split(None, 1)[0].upper() in ("RUN", "COPY", "ADD"):
            for heredoc in _HEREDOC.finditer(text):
                for _, inside in lines:
                    if inside.strip("\t") == heredoc[2]:
                        break
