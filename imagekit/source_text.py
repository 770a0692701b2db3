"""Text files that definitions name, and how errors learn where they were named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from imagekit.canonical import fingerprint
from imagekit.errors import ImageKitError, SourceNotFoundError, SourceUnreadableError
from imagekit.origin import Origin


def read_text(path: str) -> str:
    """Return the text of the file *path*.

    Raises:
        SourceNotFoundError: there is no such file.
        SourceUnreadableError: it can't be read, or is not UTF-8.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise SourceNotFoundError(
            f"no file {path!r}", hint="create it, or correct the path"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise SourceUnreadableError(f"can't read {path!r}: {reason}") from error


def text_digest(text: str) -> str:
    """Return the fingerprint of *text* in the domain ``text``."""
    return fingerprint("text", text)


@contextmanager
def located(origin: Origin | None) -> Iterator[None]:
    """Let errors of the block say that *origin* caused them."""
    try:
        yield
    except ImageKitError as error:
        error.at(str(origin) if origin else None)
        raise
