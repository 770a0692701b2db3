"""``flyte.report`` is ``imagekit.report``."""

from __future__ import annotations

from imagekit.report import Report, Tab, current_report, flush, get_tab, log, replace

__all__ = ["Report", "Tab", "current_report", "flush", "get_tab", "log", "replace"]
