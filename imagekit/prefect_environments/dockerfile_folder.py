"""Putting a Dockerfile and what it copies into a folder of the user's."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagekit.errors import PlanError

#: In the first lines of what imagekit writes.
_MARK = "written by imagekit"
_HEAD = 1 << 10
_NAME = "Dockerfile"


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """Yield an empty folder; what is in it at the end of the block goes into *folder*.

    What an earlier call wrote there is replaced; if the block fails, it stays.

    Raises:
        PlanError: *folder* has files of those names that imagekit did not write.
        OSError: it can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".imagekit-", dir=folder) as draft:
        made = Path(draft) / "context"
        made.mkdir()
        yield made
        names = sorted(path.name for path in made.iterdir())
        there = [name for name in names if (folder / name).exists()]
        if there and not _is_ours(folder / _NAME):
            raise PlanError(
                f"there is {there[0]!r} in {str(folder)!r} already, and imagekit did "
                "not write it",
                hint="name a new folder",
            )
        for name in there:
            (folder / name).rename(Path(draft) / name)
        for name in names:
            (made / name).rename(folder / name)


def _is_ours(dockerfile: Path) -> bool:
    try:
        with dockerfile.open("rb") as file:
            return _MARK.encode() in file.read(_HEAD)
    except OSError:
        return False
