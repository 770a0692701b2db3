"""The first process of a task's pod, or of one of a pool."""

from __future__ import annotations

import os
from typing import NoReturn

from imagekit.cluster.variables import POOL


def main() -> NoReturn:
    """Run what this pod is for."""
    if os.environ.get(POOL):
        from imagekit.running.cluster.pool_driver import main as serve  # noqa: PLC0415  (slow)

        serve()
    from imagekit.running.cluster.driver import main as drive  # noqa: PLC0415  (slow)

    drive()


if __name__ == "__main__":
    main()
