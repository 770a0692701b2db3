"""``import flyte`` is ``import imagekit``: the same names, the same objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import imagekit
from imagekit import __all__ as __all__

if TYPE_CHECKING:
    from imagekit import *  # noqa: F403  (the names, for type checkers)
else:

    def __getattr__(name: str) -> Any:
        if name in imagekit.__all__:
            return getattr(imagekit, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(imagekit.__all__)
