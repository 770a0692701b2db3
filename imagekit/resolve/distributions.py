"""Pins as distributions for a plan: wheels of an index, or wheels that are built."""

from __future__ import annotations

import os

from imagekit.errors import ImageKitError
from imagekit.plan import Distribution
from imagekit.progress import Progress
from imagekit.resolve.credentials import Credentials
from imagekit.resolve.indexes import UserSettings, index_variables
from imagekit.resolve.pins import Pin
from imagekit.resolve.resolution import LayerResolution
from imagekit.resolve.target import Target
from imagekit.resolve.uv import Uv
from imagekit.resolve.wanted import Wanted
from imagekit.store import Store


class Distributions:
    """Turns pins into distributions, building the wheels that indexes lack."""

    def __init__(
        self,
        *,
        target: Target,
        store: Store,
        uv: Uv,
        wanted: tuple[Wanted, ...],
        settings: tuple[UserSettings, ...],
        credentials: Credentials,
        progress: Progress,
    ) -> None:
        self._target = target
        self._store = store
        self._uv = uv
        self._wanted = wanted
        self._settings = settings
        self._credentials = credentials
        self._progress = progress

    def of(self, number: int, layer: LayerResolution) -> tuple[Distribution, ...]:
        """Return what layer *number* adds, by name.

        Raises:
            NoWheelError: one has to be built, and can't be.
            DownloadError: the source of one could not be fetched.
        """
        requested = self._wanted[number].names
        return tuple(
            self._distribution(pin, number, requested=name in requested)
            for name, pin in sorted(layer.added.items())
        )

    def _distribution(self, pin: Pin, number: int, *, requested: bool) -> Distribution:
        requested = requested or pin.reference is not None
        if pin.wheel is None:
            return self._built(pin, number, requested=requested)
        return Distribution(
            name=pin.name,
            version=pin.version or "0",
            filename=pin.wheel.filename,
            sha256=pin.wheel.sha256,
            size=pin.wheel.size,
            url=pin.wheel.url,
            requested=requested,
            direct_url=pin.direct_url,
        )

    def _built(self, pin: Pin, number: int, *, requested: bool) -> Distribution:
        from imagekit.resolve.download import Wheels  # noqa: PLC0415  (rarely needed)
        from imagekit.resolve.sdist import WheelBuilder  # noqa: PLC0415

        wanted = self._wanted[number]
        environ = index_variables(
            wanted.indexes,
            self._settings[number],
            {**os.environ, **wanted.variables},
        )
        wheels = Wheels(
            self._store, credentials=self._credentials, progress=self._progress
        )
        builder = WheelBuilder(
            target=self._target,
            store=self._store,
            uv=self._uv,
            wheels=wheels,
            credentials=self._credentials,
            environ=environ,
            settings=wanted.args.build,
            progress=self._progress,
        )
        try:
            built = builder.wheel(pin)
        except ImageKitError as error:
            raise error.at(wanted.origin) from error.__cause__
        return Distribution(
            name=pin.name,
            version=built.version,
            filename=built.filename,
            sha256=built.sha256,
            size=built.size,
            requested=requested,
            direct_url=pin.direct_url,
        )
