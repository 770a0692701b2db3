"""What makes a folder a virtual environment (PEP 405), on the base's own Python.

All builders make the same one: data, and nothing that has to be run.
"""

from __future__ import annotations

import posixpath

from imagekit.plan import Interpreter


def library(interpreter: Interpreter) -> str:
    """Return the folder of the environment's modules, relative to it.

    >>> library(Interpreter(path="/bin/python", version=(3, 11), full_version="3.11"))
    'lib/python3.11'
    """
    return f"lib/python{interpreter.version[0]}.{interpreter.version[1]}"


def symlinks(interpreter: Interpreter) -> dict[str, str]:
    """Return the environment's links, relative to it, and their targets."""
    major, minor = interpreter.version
    return {
        "bin/python": interpreter.path,
        "bin/python3": "python",
        f"bin/python{major}.{minor}": "python",
        "lib64": "lib",
    }


def configuration(interpreter: Interpreter) -> bytes:
    """Return ``pyvenv.cfg``; site.py and tools look for these keys."""
    lines = (
        f"home = {posixpath.dirname(interpreter.path)}",
        "include-system-site-packages = false",
        f"version = {interpreter.full_version}",
        f"version_info = {interpreter.full_version}",
    )
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
