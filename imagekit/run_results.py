"""What ``run()`` gives back: a run that is over, or what one would do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagekit.context import Mode as PlaceMode
from imagekit.records import dataclass, field
from imagekit.run_events import Status

if TYPE_CHECKING:
    from imagekit.bundle import Bundle
    from imagekit.run_records import RunView


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that is over.

    Attributes:
        name: names it among all runs.
        url: the folder where it is recorded.
        status: how it ended.
        version: version of the code; empty where no code was sent anywhere.
    """

    name: str
    url: str
    mode: PlaceMode
    status: Status
    version: str
    _outputs: Any = field(default=None, compare=False)

    @property
    def phase(self) -> Status:
        """How it ended: *status*, as Flyte calls it."""
        return self.status

    def outputs(self) -> Any:
        """Return what the task returned."""
        return self._outputs

    def wait(self) -> None:
        """Do nothing: it is over."""

    def done(self) -> bool:
        """Return True: it is over."""
        return True

    def details(self) -> RunView:
        """Return what is recorded of the run."""
        from imagekit.run_records import RunRecords  # noqa: PLC0415  (only if asked)

        folder = Path(self.url)
        return RunRecords(folder.parent).open(folder.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What a run would do.

    Attributes:
        task: full name of the task.
        inputs: its inputs, defaults filled in.
        images: names of environments to identifiers of their images.
        code_bundle: the code that would be sent; None where none would.
    """

    task: str
    mode: PlaceMode
    inputs: Mapping[str, Any]
    images: Mapping[str, str]
    version: str
    code_bundle: Bundle | None = None
