"""The errors of imagekit, and of the tasks that it runs."""

from __future__ import annotations

from imagekit import errors, task_errors
from imagekit.errors import *  # noqa: F403  (the same names)
from imagekit.task_errors import *  # noqa: F403  (the same names)

__all__ = [*errors.__all__, *task_errors.__all__]  # noqa: PLE0604  (two lists of texts)
