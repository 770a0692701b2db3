"""Trying again what failed for reasons that pass."""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable
from typing import TypeVar

from imagekit.errors import ImageKitError

_T = TypeVar("_T")

#: How often something is tried, and the seconds after the first try; they double.
TRIES = 6
FIRST_WAIT = 0.25

_LASTING = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
_LASTING_CODES = frozenset(
    {
        errno.EDQUOT,
        errno.EFBIG,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOSPC,
        errno.EROFS,
    }
)
#: What libraries raise that were asked for something wrong.
_FAULTS = (
    AttributeError,
    ImportError,
    LookupError,
    NotImplementedError,
    TypeError,
    ValueError,
)


def retried(action: Callable[[], _T]) -> _T:
    """Return what *action* returns; raise what it raised last.

    It is tried for some ten seconds while its errors are transient. It has to be one
    that can be done twice.
    """
    wait = FIRST_WAIT
    for left in reversed(range(TRIES)):
        try:
            return action()
        except Exception as error:
            if not left or not is_transient(error):
                raise
        # Many pods fail at once: they must not come back at once.
        time.sleep(wait * random.uniform(0.5, 1))  # noqa: S311  (guards nothing)
        wait *= 2
    raise AssertionError("unreachable")


def is_transient(error: BaseException) -> bool:
    """Return whether the same may succeed later; what imagekit raised never does."""
    if isinstance(error, ImageKitError):
        return False
    if isinstance(error, OSError):
        lasting = isinstance(error, _LASTING) or error.errno in _LASTING_CODES
        return not lasting
    # Clients of object stores have classes of their own for broken connections, and
    # for credentials that are not there.
    name = type(error).__name__
    return not (isinstance(error, _FAULTS) or "Credential" in name or "Auth" in name)
