"""What can go from the content store, and its removal.

:mod:`imagekit.store` has the layout. A record can be dropped at any time: what it knew
is found out again. A blob or wheel can be dropped too, if the records that promise it
go first; so a ``gc`` that is killed half-way leaves a store that is whole.
"""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias, assert_never

from imagekit.errors import StoreError
from imagekit.records import dataclass
from imagekit.store import Store
from imagekit.store_contents import LAYERS, MEMORIES, Item, list_items

#: ``cap``: what was not used for longest, down to a size. ``layers``: all that builds
#: made, and no download. ``all``: everything.
Policy: TypeAlias = Literal["cap", "layers", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What a ``gc`` removed, or would remove; *kept* is the size of what stays."""

    removed: tuple[Item, ...]
    kept: int

    @property
    def freed(self) -> int:
        """Bytes of what was removed."""
        return sum(item.size for item in self.removed)


def collect(
    store: Store,
    policy: Policy = "cap",
    *,
    cap: int = 0,
    dry_run: bool = False,
    waiting: Callable[[], None] = lambda: None,
) -> Collected:
    """Remove from *store* what *policy* says, when no build runs.

    Args:
        store: the store.
        policy: what goes.
        cap: bytes that may stay, for the policy ``cap``.
        dry_run: only say what would be removed.
        waiting: called once if a build runs, before waiting for its end.

    Raises:
        StoreError: a file can't be removed.
    """
    if dry_run or not store.root.is_dir():
        items = list_items(store)
        return _collected(items, choose(items, policy, cap))
    if _busy(store):
        waiting()
    with store.alone():
        items = list_items(store)
        chosen = choose(items, policy, cap)
        # Records first: they promise the blobs.
        for item in sorted(chosen, key=lambda item: item.kind != "record"):
            _remove(item, store.root)
    return _collected(items, chosen)


def choose(items: tuple[Item, ...], policy: Policy, cap: int = 0) -> tuple[Item, ...]:
    """Return what goes, of *items* from the least to the most recently used."""
    match policy:
        case "all":
            return items
        case "layers":
            return _made_by_builds(items)
        case "cap":
            return _Cap(items).down_to(cap)
        case _:
            assert_never(policy)


def _made_by_builds(items: tuple[Item, ...]) -> tuple[Item, ...]:
    needed = {
        name
        for item in items
        if item.kind == "record" and item.record_kind != LAYERS
        for name in item.promises
    }
    return tuple(
        item
        for item in items
        if item.kind == "unfinished"
        or item.record_kind == LAYERS
        or (item.kind in ("layer", "document") and item.name not in needed)
    )


_BLOBS = ("layer", "document", "base")


class _Cap:
    """Drops items until the rest is small enough."""

    def __init__(self, items: tuple[Item, ...]) -> None:
        self._items = items
        self._size = sum(item.size for item in items)
        self._gone: dict[Path, Item] = {}
        self._records: dict[str, list[Item]] = {}
        self._blobs = {item.name for item in items if item.kind in _BLOBS}
        for item in items:
            for name in item.promises:
                self._records.setdefault(name, []).append(item)

    def down_to(self, cap: int) -> tuple[Item, ...]:
        for item in filter(self._useless, self._items):
            self._drop(item)
        for item in self._items:
            if self._size <= cap:
                break
            # Other records are small, and say how to get back what is dropped.
            if item.kind != "record" or item.record_kind in MEMORIES:
                self._drop(item)
        return tuple(self._gone.values())

    def _useless(self, item: Item) -> bool:
        dangling = item.record_kind == LAYERS and not item.promises & self._blobs
        return item.kind == "unfinished" or dangling

    def _drop(self, item: Item) -> None:
        if item.path in self._gone:
            return
        self._gone[item.path] = item
        self._size -= item.size
        for record in self._records.get(item.name, ()):
            self._drop(record)


def _collected(items: tuple[Item, ...], removed: tuple[Item, ...]) -> Collected:
    total = sum(item.size for item in items)
    return Collected(removed=removed, kept=total - sum(item.size for item in removed))


def _busy(store: Store) -> bool:
    with (store.root / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _remove(item: Item, root: Path) -> None:
    try:
        if item.path.is_dir() and not item.path.is_symlink():
            item.path.rmdir()
        else:
            item.path.unlink(missing_ok=True)
        folder = item.path.parent
        # A wheel has a folder of its own; what was unpacked in tmp has some.
        while item.kind in ("wheel", "unfinished") and folder.parent != root:
            folder.rmdir()
            folder = folder.parent
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise StoreError(
                f"can't remove {str(item.path)!r}: {error.strerror}",
                hint="remove it yourself, or make its folder writable",
            ) from error
