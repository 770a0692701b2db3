"""Text files of the user, read with errors that name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from imagekit.errors import DefinitionError, SourceNotFoundError, SourceUnreadableError


def read_text(path: Path, *, what: str, named_by: str | None = None) -> str:
    r"""Return the text of *path*, without a byte order mark and with ``\\n`` only.

    Args:
        path: the file.
        what: what the file is, for errors (``requirements file``).
        named_by: the file and line that name it, if it is not the definition.

    Raises:
        SourceNotFoundError: there is no such file.
        SourceUnreadableError: it can't be read, or is not UTF-8.
    """
    by = f", named by {named_by}" if named_by else ""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise SourceNotFoundError(
            f"no {what} at {str(path)!r}{by}",
            hint="paths are relative to the file that names them",
        ) from error
    except UnicodeDecodeError as error:
        raise SourceUnreadableError(
            f"the {what} {str(path)!r}{by} is not UTF-8: {error.reason} at byte "
            f"{error.start}",
            hint="save it as UTF-8",
        ) from error
    except OSError as error:
        raise SourceUnreadableError(
            f"can't read the {what} {str(path)!r}{by}: {error.strerror}",
            hint="check its permissions",
        ) from error


def read_toml(path: Path, *, what: str, named_by: str | None = None) -> dict[str, Any]:
    """Return the document at *path*.

    Raises:
        DefinitionError: it is not TOML.
        SourceNotFoundError: there is no such file.
        SourceUnreadableError: it can't be read.
    """
    import tomllib  # noqa: PLC0415  (not for other files)

    text = read_text(path, what=what, named_by=named_by)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DefinitionError(
            f"the {what} {str(path)!r} is not TOML: {error}",
            hint="correct the line that is named",
        ) from error
