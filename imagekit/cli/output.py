"""What a command says: data on stdout, talk on stderr, one JSON document if asked."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, TextIO

from imagekit.records import dataclass, field


@dataclass(slots=True, kw_only=True)
class Output:
    """Where a command puts its results.

    Attributes:
        as_json: whether stdout gets one JSON document and nothing else.
        quiet: whether stderr gets errors only.
        document: the JSON document, filled by the command as results come in.
    """

    as_json: bool = False
    quiet: bool = False
    document: dict[str, Any] = field(default_factory=dict)

    def line(self, text: str) -> None:
        """Print a line of data for people; JSON has it in the document."""
        if not self.as_json:
            print(text, flush=True)  # noqa: T201  (stdout is data)

    def talk(self, text: str) -> None:
        """Say something on stderr."""
        if not (self.quiet or self.as_json):
            print(text, file=sys.stderr, flush=True)  # noqa: T201  (stderr is talk)

    def finish(self) -> None:
        """Write the document, if JSON was asked for."""
        if self.as_json:
            print(json.dumps(self.document, indent=2))  # noqa: T201  (stdout is data)
        sys.stdout.flush()


def has_colour(stream: TextIO) -> bool:
    """Return whether *stream* is a terminal that wants colours (no-color.org)."""
    return (
        stream.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
    )
