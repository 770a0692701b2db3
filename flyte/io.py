"""``flyte.io`` is ``imagekit.io``."""

from __future__ import annotations

from imagekit.io import Dir, File

__all__ = ["Dir", "File"]
