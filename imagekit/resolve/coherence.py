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

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagekit.errors import ImageKitError
from imagekit.resolve.credentials import Credentials
from imagekit.resolve.failure import alone_failure, conflict, resolution_failure
from imagekit.resolve.indexes import Indexes, UserSettings, index_variables
from imagekit.resolve.pins import Pin
from imagekit.resolve.project_lock import export_lock
from imagekit.resolve.pylock import Selection, pins_from_lock
from imagekit.resolve.resolution import LayerResolution
from imagekit.resolve.target import Target
from imagekit.resolve.uv import Question, Uv, UvError
from imagekit.resolve.wanted import Wanted, merged_options


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """Resolves layers for one target.

    Attributes:
        previous: the last resolutions of the image, none of which is needed.
        upgrade: True to forget *previous*, or the names to forget.
        settings: what the user's configuration says, a layer each.
        environ: the environment for uv.
        tree_digest: gives the digest of a local project.
    """

    wanted: tuple[Wanted, ...]
    settings: tuple[UserSettings, ...]
    target: Target
    uv: Uv
    credentials: Credentials
    environ: Mapping[str, str]
    tree_digest: Any
    previous: tuple[LayerResolution, ...] = ()
    upgrade: bool | tuple[str, ...] = False

    def layer(
        self, number: int, before: Mapping[str, Pin], held: Mapping[str, Pin]
    ) -> LayerResolution:
        """Resolve layer *number* on top of *before*, of which *held* may not change.

        Raises:
            ResolutionError: there is no set of distributions for the layer.
            ConflictError: there is one, but not together with the earlier layers.
            NoWheelError: a distribution has no file for the target.
        """
        wanted = self.wanted[number]
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
            raise resolution_failure(wanted, self.target, error) from error
        except ImageKitError as error:
            raise error.at(wanted.origin) from None
        return _difference(wanted, before, after)

    def _locked(
        self, number: int, before: Mapping[str, Pin], held: Mapping[str, Pin]
    ) -> LayerResolution:
        wanted = self.wanted[number]
        if wanted.project is not None:
            lock, folder = export_lock(
                wanted,
                self.target,
                self.uv,
                environ=self._variables(number, Indexes()),
                hide=self.credentials.hide,
            )
            own = pins_from_lock(lock, self._selection((wanted,), folder))
        else:
            own = self._ask(number, (wanted,), preferences=self._versions(before))
        changed = {
            name
            for name, pin in own.items()
            if name in before and before[name].choice != pin.choice
        }
        fixed = sorted(changed & set(held))
        if fixed:
            others = [item for item in self.wanted[:number] if item.is_locked]
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
        if self.upgrade:
            return None
        lines = set(wanted.texts)
        for old in self.previous:
            if old.rest != wanted.rest or not set(old.lines) <= lines or old.held:
                continue
            if any(line.hashes for line in wanted.lines):
                continue  # hashes may have changed, and must be looked at
            same = {name: pin.choice for name, pin in before.items()}
            if old.removed or set(old.added) & set(same):
                if same == old.before:
                    return old
            elif old.before.items() <= same.items():
                return old
        return None

    def _extended(
        self, number: int, before: Mapping[str, Pin], kept: LayerResolution
    ) -> dict[str, Pin] | None:
        wanted = self.wanted[number]
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
            found = self._ask(
                number, (wanted,), only=new, constraints=self._limits(limits.values())
            )
        except UvError as error:
            if not error.is_conflict:
                raise
            return None
        return {**found, **base}

    def _added(self, number: int, before: Mapping[str, Pin]) -> dict[str, Pin] | None:
        wanted = self.wanted[number]
        try:
            found = self._ask(
                number,
                (wanted,),
                constraints=self._limits(before.values()),
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
            item for item in self.wanted[: number + 1] if not item.is_locked
        )
        if not together:
            return {**before, **held}
        try:
            found = self._ask(
                number,
                together,
                constraints=self._limits(held.values()),
                preferences=self._versions(before),
            )
        except UvError as error:
            if not error.is_conflict:
                raise
            raise self._conflict(number, error) from error
        return {**found, **held}

    def _conflict(self, number: int, error: UvError) -> ImageKitError:
        """Return what to raise where layers don't go together."""
        wanted = self.wanted[number]
        if not wanted.is_locked:
            try:
                self._ask(number, (wanted,))
            except UvError as own:
                return alone_failure(wanted, self.target, own)
        return conflict(wanted, self.wanted[:number], error.text)

    def _ask(
        self,
        number: int,
        together: tuple[Wanted, ...],
        *,
        only: Iterable[Any] | None = None,
        constraints: Iterable[str] = (),
        preferences: Mapping[str, str] | None = None,
    ) -> dict[str, Pin]:
        wanted = self.wanted[number]
        indexes = Indexes()
        for item in together:
            indexes = indexes.joined(item.indexes)
        lines = (
            [line for item in together for line in item.lines]
            if only is None
            else list(only)
        )
        sources = [path for item in together for path in item.sources if only is None]
        documents = [
            item.document for item in together if item.document and only is None
        ]
        if not lines and not sources and not documents:
            return {}
        options = [word for item in together for word in item.options]
        if wanted.args.no_deps and together == (wanted,):
            options.append("--no-deps")
        if self.upgrade is True:
            options.append("--refresh")
        question = Question(
            requirements=[line.text for line in lines],
            sources=sources,
            documents=documents,
            constraints=[
                *constraints,
                *(text for item in together for text in item.constraints),
            ],
            overrides=[text for item in together for text in item.overrides],
            preferences=preferences or {},
            options=_with_flags(options),
            find_links=indexes.find_links,
            environ=self._variables(number, indexes),
            folder=wanted.folder,
        )
        lock, folder = self.uv.compile(
            question,
            platform=self.target.uv_platform,
            python=self.target.interpreter.full_version,
            interpreter=self._host_python(),
            hide=self.credentials.hide,
        )
        return pins_from_lock(lock, self._selection(together, folder))

    def _selection(self, together: tuple[Wanted, ...], folder: Path) -> Selection:
        hashes: dict[str, tuple[str, ...]] = {}
        for item in together:
            for name, listed in item.hashes.items():
                hashes[name] = hashes.get(name, ()) + listed
        return Selection(
            target=self.target,
            folder=folder,
            tree_digest=self.tree_digest,
            hashes=hashes,
            require_hashes=any(item.require_hashes for item in together),
            no_binary=tuple(name for item in together for name in item.args.no_binary),
        )

    def _limits(self, pins: Iterable[Pin]) -> list[str]:
        return [
            self._requirement(pin)
            for pin in sorted(pins, key=lambda pin: pin.name)
            if pin.version is not None or pin.reference is not None
        ]

    def _requirement(self, pin: Pin) -> str:
        if pin.reference is None or "://" not in pin.reference:
            return pin.requirement
        prefix = "git+" if pin.reference.startswith("git+") else ""
        url = self.credentials.with_login(pin.reference.removeprefix("git+"))
        return f"{pin.name} @ {prefix}{url}"

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

    def _variables(self, number: int, indexes: Indexes) -> dict[str, str]:
        secrets = {
            name: value
            for item in self.wanted[: number + 1]
            for name, value in item.variables.items()
        }
        environ = {**self.environ, **secrets}
        return index_variables(indexes, self.settings[number], environ)

    def _host_python(self) -> str | None:
        """Return a Python like the target's, for metadata that only a build gives."""
        import sys  # noqa: PLC0415

        if sys.version_info[:2] == self.target.interpreter.version:
            return sys.executable
        return None


def _with_flags(options: list[str]) -> tuple[str, ...]:
    flags = [item for item in options if item in ("--no-deps", "--refresh")]
    others = [item for item in options if item not in ("--no-deps", "--refresh")]
    return (*merged_options(others), *dict.fromkeys(flags))


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
