"""Chooses how the progress of a build is shown: live, as lines, or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from imagekit.cli.output import Output
from imagekit.progress import Event, Note, Progress, silent

if TYPE_CHECKING:
    from imagekit.cli.lines import Lines
    from imagekit.cli.live import LiveDisplay


@contextmanager
def display(output: Output) -> Iterator[Progress]:
    """Show the events of the block on stderr, as *output* and the terminal want it.

    With JSON, warnings go into the document.
    """
    if output.as_json:
        yield _Warnings(output)
        return
    if output.quiet:
        yield silent
        return
    shown = _chosen()
    try:
        yield shown
    finally:
        shown.close()


def _chosen() -> LiveDisplay | Lines:
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        from imagekit.cli.lines import Lines  # noqa: PLC0415

        return Lines(sys.stderr)
    from rich.console import Console  # noqa: PLC0415  (slow to import)

    from imagekit.cli.live import LiveDisplay  # noqa: PLC0415  (slow to import)

    return LiveDisplay(Console(stderr=True, highlight=False))


class _Warnings:
    """Keeps warnings for the JSON document."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def __call__(self, event: Event, /) -> None:
        if isinstance(event, Note) and event.level == "warning":
            self._output.document.setdefault("warnings", []).append(event.text)
