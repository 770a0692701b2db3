"""The first process of a container."""

from __future__ import annotations

from imagekit.runtime.supervisor import main

if __name__ == "__main__":
    main()
