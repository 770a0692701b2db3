"""The program: ``imagekit``, or ``python -m imagekit``."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import NoReturn

from imagekit.cli import main


def program() -> NoReturn:
    """Run the command line and end the process.

    Taking the interpreter down object by object costs a tenth of a short run, and the
    system does it better. What a definition has registered for the exit is run, and
    threads that it has left are waited for as always.
    """
    code = main()
    if threading.active_count() > 1:
        sys.exit(code)
    atexit._run_exitfuncs()  # noqa: SLF001  (as children of multiprocessing do)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        sys.exit(code)
    os._exit(code)


if __name__ == "__main__":
    program()
