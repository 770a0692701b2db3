"""urllib3, imported without what it needs for HTTP/2 only.

``urllib3.http2`` imports ``importlib.metadata``, to look up the version of a library
that is not used unless a program asks for HTTP/2. That takes half as long as all the
rest of urllib3, and a twentieth of a build in which one file has changed.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType

__all__ = ["exceptions", "urllib3"]

_HTTP2 = "urllib3.http2"


def _import() -> None:
    """Import urllib3 with a package ``http2`` whose own module is not run.

    It is taken away again: who imports it later gets the real one.
    """
    spec = None if "urllib3" in sys.modules else find_spec("urllib3")
    if spec is None or not spec.submodule_search_locations:
        return
    package = ModuleType(_HTTP2)
    package.__path__ = [f"{path}/http2" for path in spec.submodule_search_locations]
    sys.modules[_HTTP2] = package
    try:
        import urllib3  # noqa: F401, PLC0415
    finally:
        if sys.modules.get(_HTTP2) is package:
            del sys.modules[_HTTP2]


_import()
import urllib3  # noqa: E402
from urllib3 import exceptions  # noqa: E402
