"""What is in the content store, file by file, for listings and for ``gc``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

from imagekit.oci.annotations import CONTENT_ID, KEY
from imagekit.records import dataclass
from imagekit.store import Store

#: What an item is: a layer or document (manifest, config) that a build made, another
#: blob (of a base image), a wheel, a record, or what a killed build left in ``tmp``.
ItemKind: TypeAlias = Literal[
    "layer", "document", "base", "wheel", "record", "unfinished"
]

#: Records of what builds made.
LAYERS = "layers"
#: Records that remember what is elsewhere (file hashes, a registry's blobs, installed
#: builders). They may mention digests, and promise nothing of the store.
MEMORIES = ("walk", "pushed", "kept", "builders")
#: Larger blobs are no documents.
_DOCUMENT = 4 << 20

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A file of the store.

    Attributes:
        name: digest in hex of a blob or wheel, ``kind/key`` of a record.
        size: bytes.
        used: when it was last used, seconds since the epoch. File systems that keep
            no access times (``noatime``) give the time when it was written.
        title: what it is, for people; empty where unknown.
        promises: blobs that a record needs.
    """

    kind: ItemKind
    path: Path
    name: str
    size: int
    used: float
    title: str = ""
    promises: frozenset[str] = frozenset()

    @property
    def record_kind(self) -> str | None:
        """The kind of a record; None for other items."""
        return self.name.partition("/")[0] if self.kind == "record" else None


def list_items(store: Store) -> tuple[Item, ...]:
    """Return everything in *store*, the least recently used first."""
    records = list(_records(store))
    titles, made = _made(store, records)
    used: dict[str, float] = {}
    for record in records:
        for name in record.promises:
            used[name] = max(record.used, used.get(name, 0))
    items = [
        *records,
        *_blobs(store, titles, made, used),
        *_files(store.root / "wheels", "wheel"),
        *_files(store.root / "tmp", "unfinished"),
        *_empty_folders(store.root / "tmp"),
    ]
    return tuple(sorted(items, key=lambda item: (item.used, item.name)))


def _records(store: Store) -> Iterator[Item]:
    blobs = {path.name for path in _walk(store.root / "blobs" / "sha256")}
    for path in _walk(store.root / "records"):
        status = _status(path)
        if status is None:
            continue
        kind = path.parent.name
        text = "" if kind in MEMORIES else _text(path)
        yield Item(
            kind="record",
            path=path,
            name=f"{kind}/{path.stem}",
            size=status[0],
            used=status[1],
            # A layer record whose blob is gone is dangling, and has to show it.
            promises=_layer_promise(text)
            if kind == LAYERS
            else frozenset(_HEX.findall(text)) & blobs,
        )


def _layer_promise(text: str) -> frozenset[str]:
    digest = str(_object(text).get("digest", "")).removeprefix("sha256:")
    return frozenset({digest} if digest else ())


def _blobs(
    store: Store, titles: dict[str, str], made: set[str], used: dict[str, float]
) -> Iterator[Item]:
    for item in _files(store.root / "blobs" / "sha256", "base"):
        kind: ItemKind = "base"
        if item.name in titles:
            kind = "layer"
        elif item.name in made:
            kind = "document"
        yield Item(
            kind=kind,
            path=item.path,
            name=item.name,
            size=item.size,
            used=max(item.used, used.get(item.name, 0)),
            title=titles.get(item.name, ""),
        )


def _made(store: Store, records: list[Item]) -> tuple[dict[str, str], set[str]]:
    """Return the layers that builds made, with titles, and the other blobs they made.

    Layers have records; manifests and indexes have our annotation, and name configs.
    """
    titles = {}
    for record in records:
        for name in record.promises if record.record_kind == LAYERS else ():
            titles[name] = str(_object(_text(record.path)).get("title", ""))
    documents: set[str] = set()
    for path in _walk(store.root / "blobs" / "sha256"):
        status = _status(path)
        if status is None or status[0] > _DOCUMENT or path.name in titles:
            continue
        document = _document(path)
        if CONTENT_ID not in (document.get("annotations") or {}):
            continue
        documents.add(path.name)
        if config := document.get("config"):
            documents.add(str(config.get("digest")).removeprefix("sha256:"))
        for layer in document.get("layers") or ():
            if KEY in (layer.get("annotations") or {}):
                name = str(layer.get("digest")).removeprefix("sha256:")
                titles.setdefault(name, "")
    return titles, documents


def _document(path: Path) -> dict[str, Any]:
    return _object(_text(path)) if _read(path, 1) == b"{" else {}


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _files(folder: Path, kind: ItemKind) -> Iterator[Item]:
    for path in _walk(folder):
        status = _status(path)
        if status is not None:
            wheel = kind == "wheel"
            yield Item(
                kind=kind,
                path=path,
                name=path.parent.name if wheel else path.name,
                size=status[0],
                used=status[1],
                title=path.name if wheel else "",
            )


def _empty_folders(folder: Path) -> Iterator[Item]:
    for path in sorted(folder.rglob("*")):
        status = _status(path)
        try:
            empty = not os.listdir(path)
        except OSError:
            continue  # a file, or gone
        if empty and status is not None:
            yield Item(
                kind="unfinished", path=path, name=path.name, size=0, used=status[1]
            )


def _walk(folder: Path) -> Iterator[Path]:
    # Builds may add and rename files meanwhile: what is gone is skipped.
    found = sorted(folder.rglob("*"))
    return (path for path in found if path.is_symlink() or not path.is_dir())


def _status(path: Path) -> tuple[int, float] | None:
    """Return size and time of last use, or None if the file is gone."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_size, max(status.st_atime, status.st_mtime)


def _text(path: Path) -> str:
    return _read(path).decode("utf-8", errors="replace")


def _read(path: Path, size: int = -1) -> bytes:
    """Return the bytes of a file without making it look used; nothing if it is gone."""
    try:
        with open(path, "rb", opener=_unnoticed) as file:
            return file.read(size)
    except OSError:
        return b""


def _unnoticed(path: str, flags: int) -> int:
    try:
        # open(2) grants it to the owner of the file.
        return os.open(path, flags | os.O_NOATIME)
    except PermissionError:
        return os.open(path, flags)
