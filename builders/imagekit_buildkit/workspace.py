"""The private folder of one solve, and what is left of those that were killed."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagekit.records import dataclass
from imagekit.store import Store

#: Folder of the context in a workspace.
CONTEXT = "context"

_PREFIX = "buildkit-"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder that only one solve uses; paths in it are given relative to it.

    buildx reads paths as parts of longer texts, with rules of their own for ``:``,
    ``@`` and ``,``. It is run in this folder, so no path of the user is among them.

    Attributes:
        id: a name that nobody else uses.
    """

    root: Path
    id: str

    @property
    def context(self) -> Path:
        """The folder of the context, with the Dockerfile."""
        return self.root / CONTEXT

    @property
    def layout(self) -> Path:
        """The OCI layout with the base, or a link to it."""
        return self.root / "base"

    @property
    def output(self) -> Path:
        """The OCI layout with the result."""
        return self.root / "output"

    @property
    def settings(self) -> Path:
        """The folder in which buildx keeps notes of this solve."""
        return self.root / "buildx"


@contextmanager
def workspace(store: Store) -> Iterator[Workspace]:
    """Give a new workspace; nothing of it is left."""
    name = secrets.token_hex(8)
    root = store.temporary() / f"{_PREFIX}{name}"
    root.mkdir(mode=0o700)
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for part in (CONTEXT, "output", "buildx"):
            (root / part).mkdir()
        yield Workspace(root, name)
    finally:
        shutil.rmtree(root, ignore_errors=True)
        os.close(descriptor)


def is_abandoned(store: Store, name: str) -> bool:
    """Return whether the workspace *name* is of this store, and nobody uses it."""
    root = store.temporary() / f"{_PREFIX}{name}"
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def remove_abandoned(store: Store, name: str) -> None:
    """Delete an abandoned workspace."""
    shutil.rmtree(store.temporary() / f"{_PREFIX}{name}", ignore_errors=True)
