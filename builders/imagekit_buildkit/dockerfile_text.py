"""Collects the lines of a Dockerfile, and what each of its instructions is for."""

from __future__ import annotations

from imagekit.origin import Origin
from imagekit.records import replace
from imagekit_buildkit.quoting import folded
from imagekit_buildkit.recipe import Instruction


class Lines:
    """A part of a Dockerfile; grows at its end."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._instructions: list[Instruction] = []

    @property
    def text(self) -> str:
        """The lines, each with its end."""
        return "".join(f"{line}\n" for line in self._lines)

    @property
    def instructions(self) -> tuple[Instruction, ...]:
        """The instructions, in order."""
        return tuple(self._instructions)

    def add(
        self,
        text: str,
        title: str,
        *,
        command: str = "",
        origin: Origin | None = None,
    ) -> None:
        """Add an instruction; the arguments are those of :class:`Instruction`.

        Raises:
            UnsupportedLayerError: it has a line that no parser takes.
        """
        self._instructions.append(
            Instruction(
                line=len(self._lines) + 1, title=title, command=command, origin=origin
            )
        )
        self._lines += folded(text).split("\n")

    def comment(self, text: str) -> None:
        """Add a comment of one line."""
        self._lines.append(f"# {text}")

    def gap(self) -> None:
        """Add an empty line, except at the beginning."""
        if self._lines:
            self._lines.append("")

    def extend(self, other: Lines) -> None:
        """Add all that is in *other*."""
        offset = len(self._lines)
        self._instructions += [
            replace(item, line=item.line + offset) for item in other.instructions
        ]
        self._lines += other._lines
