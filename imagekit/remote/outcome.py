"""How a run ended, as its result tells."""

from __future__ import annotations

from imagekit.cluster.documents import ResultDocument
from imagekit.failures import decode_failure
from imagekit.run_events import Status
from imagekit.task_errors import RunAbortedError


def outcome(result: ResultDocument) -> Status:
    """Return ``succeeded``, ``failed`` or ``aborted``."""
    if result.error is None:
        return "succeeded"
    if isinstance(decode_failure(result.error), RunAbortedError):
        return "aborted"
    return "failed"


def end_time(result: ResultDocument) -> float | None:
    """Return when the run's own task ended, in seconds since the epoch."""
    times = [item["time"] for item in result.events if item.get("event") == "ended"]
    return times[-1] if times else None
