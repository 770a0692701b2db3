"""``import flyte`` is ``import imagekit``: the same names, the same objects."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import imagekit
from imagekit import __all__ as __all__

_MODULES = ("errors", "io", "report")

if TYPE_CHECKING:
    from flyte import errors as errors
    from flyte import io as io
    from flyte import report as report
    from imagekit import *  # noqa: F403  (the names, for type checkers)
else:

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return import_module(f"{__name__}.{name}")
        if name in imagekit.__all__:
            return getattr(imagekit, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*imagekit.__all__, *_MODULES})
