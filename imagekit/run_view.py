"""What is recorded of a run, read back.

A process can die at any time, so a last line that was half written is no fault, and a
run that nobody holds any more without a word on its end is lost, not running.
"""

from __future__ import annotations

import fcntl
import json
import time
from pathlib import Path
from typing import Any

from imagekit.errors import ImageKitError
from imagekit.records import dataclass, field
from imagekit.run_events import ROOT, Json
from imagekit.run_tree import ActionNode, State, call_order, tree_of, without_places
from imagekit.task_errors import RuntimeSystemError

#: Names in a run's folder.
META, LOCK, EVENTS = "run.json", "lock", "events.jsonl"
LOGS, REPORTS = "logs", "reports"
#: The event that ends a run.
FINISHED = "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """What was recorded of a run when it was read.

    Attributes:
        folder: where it is recorded.
        mode: where its tasks run.
        version: version of the code.
        started: seconds since the epoch.
        ended: None if it has not, or nobody knows when.
        root: the run's own task; None if it has not begun.
    """

    folder: Path
    name: str
    status: State
    task: str
    mode: str
    version: str
    labels: tuple[tuple[str, str], ...]
    annotations: tuple[tuple[str, str], ...]
    started: float
    ended: float | None
    root: ActionNode | None
    _error: Json = field(default=None)

    @classmethod
    def read(cls, folder: Path) -> RunView:
        """Return what is recorded in *folder*.

        Raises:
            FileNotFoundError: there is no run.
            OSError: it can't be read.
            RuntimeSystemError: it is no record of a run.
        """
        meta = _meta(folder)
        # In this order: a run that ends in between is not taken for lost.
        held = is_held(folder / LOCK)
        events = _events(folder / EVENTS)
        end = next((item for item in events if item["event"] == FINISHED), None)
        state: State = end["status"] if end else "running" if held else "lost"
        return cls(
            folder=folder,
            name=folder.name,
            status=state,
            task=meta["task"],
            mode=meta["mode"],
            version=meta["code"],
            labels=tuple((name, value) for name, value in meta["labels"]),
            annotations=tuple((name, value) for name, value in meta["annotations"]),
            started=meta["started"],
            ended=end["time"] if end else None,
            root=tree_of(events, "running" if state == "running" else "lost"),
            _error=end["error"] if end else None,
        )

    def tree(self) -> ActionNode | None:
        """Return the run's own task, with all that it called; None before it began."""
        return self.root

    @property
    def seconds(self) -> float | None:
        """How long it took, or takes until now; None if nobody knows."""
        if self.ended is not None:
            return self.ended - self.started
        return time.time() - self.started if self.status == "running" else None

    @property
    def images(self) -> tuple[str, ...]:
        """The images in which its tasks ran, in order of the calls."""
        found = {
            attempt.image: None
            for _, action in (self.root.walk() if self.root else ())
            for attempt in action.attempts
            if attempt.image is not None
        }
        return tuple(found)

    @property
    def image(self) -> str | None:
        """The image of the run's own task; None in the process of the run."""
        return self.root.image if self.root else None

    @property
    def inputs(self) -> Json:
        """The inputs of the run's own task, encoded."""
        return self.root.inputs if self.root else None

    @property
    def outputs(self) -> Json:
        """The outputs of the run's own task, encoded."""
        return self.root.outputs if self.root else None

    @property
    def error(self) -> Json:
        """Why it failed, encoded; None if it did not."""
        if self._error is not None:
            return self._error
        return self.root.error if self.root else None

    @property
    def logs(self) -> tuple[str, ...]:
        """The actions that printed something, in order of the calls."""
        names = {path.stem for path in (self.folder / LOGS).glob("*.log")}
        return tuple(sorted(names, key=call_order))

    def log_path(self, action: str = ROOT) -> Path:
        """Return the file with what *action* printed; it may not be there."""
        return self.folder / LOGS / f"{action}.log"

    def log(self, action: str = ROOT) -> bytes:
        """Return what *action* printed until now."""
        try:
            return self.log_path(action).read_bytes()
        except FileNotFoundError:
            return b""

    def report_path(self, action: str = ROOT) -> Path:
        """Return the file with the page of *action*; it may not be there."""
        return self.folder / REPORTS / f"{action}.html"

    def as_json(self) -> dict[str, Any]:
        """Return everything but logs and reports as a JSON document."""
        return {
            "name": self.name,
            "status": self.status,
            "task": self.task,
            "mode": self.mode,
            "version": self.version,
            "labels": dict(self.labels),
            "annotations": dict(self.annotations),
            "started": self.started,
            "ended": self.ended,
            "seconds": self.seconds,
            "image": self.image,
            "images": list(self.images),
            "inputs": self.inputs,
            "outputs": self.outputs,
            "error": self.error,
            "folder": str(self.folder),
            "logs": list(self.logs),
            "tree": self.root.as_json() if self.root else None,
        }

    def comparable(self) -> dict[str, Any]:
        """Return what is the same in process and in containers."""
        return {
            "task": self.task,
            "status": self.status,
            "error": without_places(self.error),
            "tree": self.root.comparable() if self.root else None,
        }


def _meta(folder: Path) -> dict[str, Any]:
    path = folder / META
    try:
        meta = json.loads(path.read_bytes())
    except ValueError as error:
        raise _damaged(path) from error
    if not isinstance(meta, dict) or not meta.keys() >= {
        "task",
        "mode",
        "code",
        "labels",
        "annotations",
        "started",
    }:
        raise _damaged(path)
    return meta


def _damaged(path: Path) -> ImageKitError:
    return RuntimeSystemError(
        f"wanted the record of a run at {str(path)!r}, found something else",
        hint=f"remove {str(path.parent)!r}",
    )


def is_held(path: Path) -> bool:
    """Return whether a process holds the lock; the kernel drops it if it dies."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _events(path: Path) -> list[dict[str, Any]]:
    """Return the events that are whole, in order."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    found = []
    for line in data.split(b"\n"):
        try:
            event = json.loads(line)
        except ValueError:
            continue  # half written, by a process that died or is at it
        if isinstance(event, dict) and "event" in event:
            found.append(event)
    return found
