"""A few lines of Python, turned into a container image.

The map: :mod:`imagekit.image` defines images as values, :mod:`imagekit.contents` reads
the files that they name, :mod:`imagekit.resolve` pins everything into a
:mod:`imagekit.plan`, a builder (:mod:`imagekit.builder`) makes it real, and
:mod:`imagekit.building` ties these together. Names are loaded on first use, so that
importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagekit.building import BuildResult, build
    from imagekit.image import Image
    from imagekit.platform import Architecture
    from imagekit.secret import Secret, SecretRequest

__version__ = "0.1.0"

__all__ = [
    "Architecture",
    "BuildResult",
    "Image",
    "Secret",
    "SecretRequest",
    "__version__",
    "build",
]

_HOMES = {
    "Architecture": "imagekit.platform",
    "BuildResult": "imagekit.building",
    "Image": "imagekit.image",
    "Secret": "imagekit.secret",
    "SecretRequest": "imagekit.secret",
    "build": "imagekit.building",
}


if not TYPE_CHECKING:  # or checkers would take every name for Any

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
