"""What registries hold, as far as pushes from this machine tell.

It saves requests and uploads, and nothing relies on it: a registry may have dropped
what it once held.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from imagekit.digest import Digest
from imagekit.oci.push import PushManifest
from imagekit.oci.repository import Repository
from imagekit.store import Store

#: How many manifests of earlier pushes a repository is asked about.
_MANIFESTS = 3
#: How many repositories of a registry blobs are looked for in.
_REPOSITORIES = 8


class PushMemory:
    """The manifests that were pushed to a repository, and to others of its registry."""

    def __init__(self, store: Store, target: Repository) -> None:
        self._store = store
        self._target = target
        self._own = _blobs(store, target.name)
        self._names = _names(store, target.registry)
        self._others: list[tuple[str, frozenset[str]]] | None = None

    @property
    def manifests(self) -> tuple[Digest, ...]:
        """Manifests that the repository may hold, with their blobs."""
        return tuple(map(Digest.parse, self._own))

    def blobs(self, manifest: Digest) -> frozenset[Digest]:
        """Return the blobs of one of them; without any for another manifest."""
        return frozenset(map(Digest.parse, self._own.get(str(manifest), ())))

    def elsewhere(self, blob: Digest) -> str | None:
        """Return another repository that may hold *blob*, if this one may not."""
        text = str(blob)
        if any(text in blobs for blobs in self._own.values()):
            return None
        if self._others is None:
            self._others = [
                (name, frozenset().union(*_blobs(self._store, name).values()))
                for name in self._names
                if name != self._target.name
            ]
        for name, blobs in self._others:
            if text in blobs:
                return name.removeprefix(f"{self._target.registry}/")
        return None

    def remember(self, manifests: Iterable[PushManifest]) -> None:
        """Keep that the repository holds *manifests* now."""
        pushed = {
            str(item.digest): [str(blob.digest) for blob in item.blobs]
            for item in manifests
        }
        others = {name: self._own[name] for name in self._own if name not in pushed}
        # Pairs, the latest first: the store sorts the keys of an object.
        kept = list({**pushed, **others}.items())[: _MANIFESTS + len(pushed)]
        self._store.write_record("pushed", _key(self._target.name), kept)
        first = self._target.name
        names = [first, *(name for name in self._names if name != first)]
        if names[:_REPOSITORIES] != self._names:
            self._store.write_record(
                "pushed", _key(self._target.registry), names[:_REPOSITORIES]
            )


def _blobs(store: Store, name: str) -> Mapping[str, list[str]]:
    found: Any = store.read_record("pushed", _key(name))
    return dict(found) if isinstance(found, list) else {}


def _names(store: Store, registry: str) -> list[str]:
    found: Any = store.read_record("pushed", _key(registry))
    return found if isinstance(found, list) else []


def _key(name: str) -> str:
    """Return the key of a repository or of a registry, whose name has no ``/``."""
    return Digest.of(name.encode()).hex
