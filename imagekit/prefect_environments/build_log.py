"""The log of a build, for those who want lines rather than events."""

from __future__ import annotations

from threading import Lock

from imagekit.progress import Event, Note, TaskAdvanced, TaskEnded, TaskStarted


class BuildLog:
    """Keeps what happens in a build as lines, from any thread."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._titles: dict[str, str] = {}
        self._lock = Lock()

    def __call__(self, event: Event, /) -> None:
        """Take note of *event*."""
        with self._lock:
            match event:
                case TaskStarted():
                    self._titles[event.task] = f"{event.phase}: {event.title}"
                case TaskEnded():
                    title = self._titles.pop(event.task, event.task)
                    detail = f" ({event.detail})" if event.detail else ""
                    self.lines.append(f"{title}: {event.outcome}{detail}")
                case Note():
                    self.lines.append(event.text)
                case TaskAdvanced():
                    pass
