"""The first process of a task's pod."""

from __future__ import annotations

from typing import NoReturn


def main() -> NoReturn:
    """Run what this pod is for."""
    from imagekit.running.cluster.driver import main as drive  # noqa: PLC0415  (slow)

    drive()


if __name__ == "__main__":
    main()
