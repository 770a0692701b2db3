"""``python -m imagekit`` is ``imagekit``."""

from __future__ import annotations

import sys

from imagekit.cli import main

if __name__ == "__main__":
    sys.exit(main())
