"""Several Python layers, one environment: layer by layer, earlier pins kept.

For each layer the cheapest way that is right is taken:

1. Nothing that matters changed since the last time: its pins stay (no call of uv).
2. Only the requirements that are new are resolved, and all pins hold.
3. All requirements of the layer are resolved, and the pins of earlier layers hold.
4. The requirements of all layers so far are resolved together; pins are preferences,
   but for those of locks.

If that fails too, two layers exclude each other, and the error names them.
"""

from __future__ import annotations

from collections.abc import Mapping

from imagekit.errors import ImageKitError
from imagekit.records import dataclass
from imagekit.resolve.asking import Asker
from imagekit.resolve.failure import alone_failure, conflict, resolution_failure
from imagekit.resolve.pins import Pin
from imagekit.resolve.resolution import LayerResolution, write_resolution
from imagekit.resolve.uv import UvError
from imagekit.resolve.wanted import Wanted
from imagekit.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """Resolves layers, one on top of the other.

    Attributes:
        previous: the last resolutions of the image, none of which is needed.
        reusable: whether they were for the same target; if not, they are good for
            the versions that they name.
        upgrade: True to forget *previous*, or the names to forget.
    """

    asker: Asker
    previous: tuple[LayerResolution, ...] = ()
    reusable: bool = True
    upgrade: bool | tuple[str, ...] = False

    def finish(
        self, found: list[LayerResolution], keys: tuple[str, ...], store: Store
    ) -> None:
        """Resolve the layers that *found* lacks, add them to it and keep them.

        Raises:
            ResolutionError: there is no set of distributions for a layer.
        """
        before: dict[str, Pin] = {}
        held: dict[str, Pin] = {}
        for number, key in enumerate(keys):
            if number == len(found):
                found.append(self.layer(number, before, held))
                write_resolution(store, key, found[number])
            before = found[number].after(before)
            held |= {name: before[name] for name in found[number].held}

    def layer(
        self, number: int, before: Mapping[str, Pin], held: Mapping[str, Pin]
    ) -> LayerResolution:
        """Resolve layer *number* on top of *before*, of which *held* may not change.

        Raises:
            ResolutionError: there is no set of distributions for the layer.
            ConflictError: there is one, but not together with the earlier layers.
            NoWheelError: a distribution has no file for the target.
        """
        wanted = self.asker.wanted[number]
        try:
            if wanted.is_locked:
                return self._locked(number, before, held)
            kept = self._kept(wanted, before)
            after = (
                (self._extended(number, before, kept) if kept else None)
                or self._added(number, before)
                or self._joint(number, before, held)
            )
        except UvError as error:
            raise resolution_failure(wanted, self.asker.target, error) from error
        except ImageKitError as error:
            raise error.at(wanted.origin) from None
        return _difference(wanted, before, after)

    def _locked(
        self, number: int, before: Mapping[str, Pin], held: Mapping[str, Pin]
    ) -> LayerResolution:
        wanted = self.asker.wanted[number]
        if wanted.project is not None:
            own = self.asker.locked(number)
        else:
            own = self.asker.ask(number, (wanted,), preferences=self._versions(before))
        changed = {
            name
            for name, pin in own.items()
            if name in before and before[name].choice != pin.choice
        }
        fixed = sorted(changed & set(held))
        if fixed:
            others = [item for item in self.asker.wanted[:number] if item.is_locked]
            pairs = ", ".join(
                f"{name} {own[name].version} and {before[name].version}"
                for name in fixed
            )
            raise conflict(wanted, others, f"both fix other versions: {pairs}")
        after = {**before, **own}
        if changed:
            after = self._joint(number, before, {**held, **own})
        return _difference(wanted, before, after, held=own)

    def _kept(
        self, wanted: Wanted, before: Mapping[str, Pin]
    ) -> LayerResolution | None:
        """Return what the layer had the last time, if all of it may stay."""
        if self.upgrade or not self.reusable:
            return None
        lines = set(wanted.texts)
        for old in self.previous:
            if old.rest != wanted.rest or not set(old.lines) <= lines or old.held:
                continue
            if any(line.hashes for line in wanted.lines):
                continue  # hashes may have changed, and must be looked at
            if old.removed or set(old.added) & {*old.before, *before}:
                continue  # what it replaced, it replaced for what was asked then
            same = {name: pin.choice for name, pin in before.items()}
            if old.before.items() <= same.items():
                return old
        return None

    def _extended(
        self, number: int, before: Mapping[str, Pin], kept: LayerResolution
    ) -> dict[str, Pin] | None:
        wanted = self.asker.wanted[number]
        base = kept.after(before)
        new = tuple(
            line
            for line, text in zip(wanted.lines, wanted.texts, strict=True)
            if text not in kept.lines
        )
        if not new:
            return base
        limits = {**self._previous_pins(), **base}
        try:
            found = self.asker.ask(
                number,
                (wanted,),
                only=new,
                constraints=self.asker.limits(limits.values()),
            )
        except UvError as error:
            if not error.is_conflict:
                raise
            return None
        return {**found, **base}

    def _added(self, number: int, before: Mapping[str, Pin]) -> dict[str, Pin] | None:
        wanted = self.asker.wanted[number]
        try:
            found = self.asker.ask(
                number,
                (wanted,),
                constraints=self.asker.limits(before.values()),
                preferences=self._versions(before),
            )
        except UvError as error:
            if number == 0 or not error.is_conflict:
                raise
            return None
        return {**found, **before}

    def _joint(
        self, number: int, before: Mapping[str, Pin], held: Mapping[str, Pin]
    ) -> dict[str, Pin]:
        together = tuple(
            item for item in self.asker.wanted[: number + 1] if not item.is_locked
        )
        if not together:
            return {**before, **held}
        try:
            found = self.asker.ask(
                number,
                together,
                constraints=self.asker.limits(held.values()),
                preferences=self._versions(before),
            )
        except UvError as error:
            if not error.is_conflict:
                raise
            raise self._conflict(number, error) from error
        return {**found, **held}

    def _conflict(self, number: int, error: UvError) -> ImageKitError:
        """Return what to raise where layers don't go together."""
        wanted = self.asker.wanted[number]
        if not wanted.is_locked:
            try:
                self.asker.ask(number, (wanted,))
            except UvError as own:
                return alone_failure(wanted, self.asker.target, own)
        return conflict(wanted, self.asker.wanted[:number], error.text)

    def _previous_pins(self) -> dict[str, Pin]:
        found: dict[str, Pin] = {}
        for old in self.previous:
            found.update(old.added)
        return found

    def _versions(self, before: Mapping[str, Pin]) -> dict[str, str]:
        """Return the versions that are kept where they can be."""
        pins = (
            {**before} if self.upgrade is True else {**self._previous_pins(), **before}
        )
        forgotten = self.upgrade if isinstance(self.upgrade, tuple) else ()
        return {
            name: pin.version
            for name, pin in pins.items()
            if pin.version is not None
            and pin.reference is None
            and (name in before or name not in forgotten)
        }


def _difference(
    wanted: Wanted,
    before: Mapping[str, Pin],
    after: Mapping[str, Pin],
    held: Mapping[str, Pin] | None = None,
) -> LayerResolution:
    added = {
        name: pin
        for name, pin in sorted(after.items())
        if name not in before or before[name].choice != pin.choice
    }
    return LayerResolution(
        rest=wanted.rest,
        lines=wanted.texts,
        before={name: pin.choice for name, pin in sorted(before.items())},
        added=added,
        removed=tuple(sorted(set(before) - set(after))),
        held=tuple(sorted(held or ())),
    )
