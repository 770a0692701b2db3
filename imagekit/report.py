"""Pages that tasks with ``report=True`` make of what they want to show.

::

    @env.task(report=True)
    async def train(rounds: int) -> float:
        imagekit.report.log("<h2>Loss</h2>")
        imagekit.report.get_tab("data").log(frame.to_html())

The page is kept beside the record of the run, also if the task fails.
"""

from __future__ import annotations

import html
import threading

from imagekit.context import active
from imagekit.run_events import Recorder, Reported
from imagekit.task_errors import NotInTaskContextError

__all__ = ["Report", "Tab", "current_report", "flush", "get_tab", "log", "replace"]

_MAIN = "main"
_STYLE = """\
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; \
padding: 0 1rem; }
nav a { margin-right: 1rem; }
section { border-top: 1px solid #8884; padding: 1rem 0; overflow-x: auto; }
@media (prefers-color-scheme: dark) { body { background: #111; color: #ddd; } }
"""


class Tab:
    """A part of a report; what is logged is HTML."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._parts: list[str] = []

    def log(self, content: str) -> None:
        """Add *content*."""
        self._parts.append(content)

    def replace(self, content: str) -> None:
        """Have *content* in place of all that was logged."""
        self._parts = [content]

    def get_html(self) -> str:
        """Return what was logged."""
        return "\n".join(self._parts)


class Report:
    """The page of one attempt at a task.

    Attributes:
        name: full name of the task.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()
        self._tabs: dict[str, Tab] = {}

    def get_tab(self, name: str = _MAIN) -> Tab:
        """Return the tab of that name, made if there is none."""
        with self._lock:
            return self._tabs.setdefault(name, Tab(name))

    def get_html(self) -> str:
        """Return the whole page."""
        with self._lock:
            tabs = list(self._tabs.values())
        title = html.escape(self.name)
        links = "".join(
            f'<a href="#tab-{number}">{html.escape(tab.name)}</a>'
            for number, tab in enumerate(tabs)
        )
        sections = "".join(
            f'<section id="tab-{number}">\n{tab.get_html()}\n</section>\n'
            for number, tab in enumerate(tabs)
        )
        nav = f"<nav>{links}</nav>\n" if len(tabs) > 1 else ""
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f"<title>{title}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n"
            f"<h1>{title}</h1>\n{nav}{sections}</body>\n</html>\n"
        )

    def publish(self, action: str, recorder: Recorder) -> None:
        """Record the page as it is."""
        recorder.record(Reported(id=action, html=self.get_html()))


def current_report() -> Report:
    """Return the report of the task that is running.

    Raises:
        NotInTaskContextError: no task is running, or it has no report.
    """
    state = active()
    if state is None:
        raise NotInTaskContextError(
            "wanted a running task, found none", hint="call this inside of a task"
        )
    if not isinstance(state.report, Report):
        raise NotInTaskContextError(
            f"the task {state.context.task_name!r} has no report",
            hint="define it with @env.task(report=True)",
        )
    return state.report


def get_tab(name: str) -> Tab:
    """Return a tab of the running task's report."""
    return current_report().get_tab(name)


class _Log:
    """``log(content)``, and ``await log.aio(content)`` for those who expect it."""

    def __call__(self, content: str, do_flush: bool = False) -> None:
        """Add *content*, which is HTML, to the running task's report."""
        current_report().get_tab().log(content)
        if do_flush:
            flush()

    async def aio(self, content: str, do_flush: bool = False) -> None:
        """Do the same; it never waits for anything."""
        self(content, do_flush)


class _Replace:
    """``replace(content)``, and ``await replace.aio(content)``."""

    def __call__(self, content: str, do_flush: bool = False) -> None:
        """Have *content* in place of what the main tab shows."""
        current_report().get_tab().replace(content)
        if do_flush:
            flush()

    async def aio(self, content: str, do_flush: bool = False) -> None:
        """Do the same; it never waits for anything."""
        self(content, do_flush)


class _Flush:
    """``flush()``, and ``await flush.aio()``."""

    def __call__(self) -> None:
        """Record the report as it is; at the end of the task that is done anyway."""
        report = current_report()
        state = active()
        assert state is not None
        report.publish(state.context.action.name, state.recorder)

    async def aio(self) -> None:
        """Do the same; it never waits for anything."""
        self()


log = _Log()
replace = _Replace()
flush = _Flush()
