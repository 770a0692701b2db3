"""Resolutions as records of the store: what was resolved stays as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imagekit.canonical import fingerprint
from imagekit.records import dataclass
from imagekit.resolve.credentials import redact
from imagekit.resolve.pins import Pin, pin_from_record, pin_record
from imagekit.resolve.target import Target
from imagekit.resolve.wanted import Wanted
from imagekit.store import Store

#: Version of the records; a change forgets them.
_FORMAT = 1

Pins = Mapping[str, Pin]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerResolution:
    """What one layer changes.

    Attributes:
        rest: hash of what the layer asks for, but for the requirements.
        lines: its requirements, without logins.
        before: what was there before, by name, as :attr:`Pin.choice`.
        added: pins that it adds or that replace others.
        removed: names that it takes away.
        held: names whose pins later layers may not change.
    """

    rest: str
    lines: tuple[str, ...]
    before: Mapping[str, str]
    added: Pins
    removed: tuple[str, ...] = ()
    held: tuple[str, ...] = ()

    def after(self, before: Pins) -> dict[str, Pin]:
        """Return what is there after the layer."""
        kept = {name: pin for name, pin in before.items() if name not in self.removed}
        return {**kept, **self.added}


def chain_keys(wanted: Sequence[Wanted], target: Target) -> tuple[str, ...]:
    """Return a key a layer, which covers that layer and all before it."""
    keys: list[str] = []
    key = fingerprint("resolution", (_FORMAT, target.identity))
    for item in wanted:
        lines = tuple((redact(line.text), line.hashes) for line in item.lines)
        key = fingerprint("resolution", (key, item.rest, lines))
        keys.append(key)
    return tuple(keys)


def read_resolution(store: Store, key: str) -> LayerResolution | None:
    """Return the resolution that the store has for *key*."""
    record = store.read_record("resolutions", key)
    if record is None or record.get("format") != _FORMAT:
        return None
    return LayerResolution(
        rest=record["rest"],
        lines=tuple(record["lines"]),
        before=record["before"],
        added={item["name"]: pin_from_record(item) for item in record["added"]},
        removed=tuple(record["removed"]),
        held=tuple(record["held"]),
    )


def write_resolution(store: Store, key: str, resolution: LayerResolution) -> None:
    """Keep *resolution* under *key*."""
    record: dict[str, Any] = {
        "format": _FORMAT,
        "rest": resolution.rest,
        "lines": resolution.lines,
        "before": dict(resolution.before),
        "added": [pin_record(pin) for pin in resolution.added.values()],
        "removed": resolution.removed,
        "held": resolution.held,
    }
    store.write_record("resolutions", key, record)


class Lineage:
    """The last resolution of an image, for one platform and Python.

    Args:
        name: what tells images apart.
        target: what the image is resolved for now.
        store: where records are.
    """

    def __init__(self, name: str, target: Target, store: Store) -> None:
        self._key = fingerprint("lineage", name)
        self._target = target.identity
        self._store = store

    def read(self) -> tuple[LayerResolution, ...]:
        """Return the resolutions of its layers; empty where there are none."""
        keys = self._record().get("keys", ())
        found = [read_resolution(self._store, key) for key in keys]
        return tuple(item for item in found if item is not None)

    @property
    def is_for_target(self) -> bool:
        """Whether the last resolution was for the very same target."""
        return bool(self._record().get("target") == self._target)

    def write(self, keys: tuple[str, ...]) -> None:
        """Note that *keys* are the image's resolutions now."""
        record = {"format": _FORMAT, "target": self._target, "keys": list(keys)}
        if self._record() != record:
            self._store.write_record("lineages", self._key, record)

    def _record(self) -> dict[str, Any]:
        record = self._store.read_record("lineages", self._key)
        if record is None or record.get("format") != _FORMAT:
            return {}
        return dict(record)
