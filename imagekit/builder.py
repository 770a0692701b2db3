"""The contract between imagekit and builders.

A builder is found by the entry-point group ``imagekit.builders``: a callable that takes
a :class:`BuilderContext` and returns an object with the three members of
:class:`Builder`. It reads no configuration, environment or globals.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from imagekit.digest import Digest
from imagekit.oci.registry import Registries
from imagekit.plan import Distribution, LayerDescriptor, Plan
from imagekit.platform import Platform
from imagekit.progress import Progress
from imagekit.store import Store


class WheelSource(Protocol):
    """Gives wheels as files, fetching and verifying what the store lacks."""

    def path(self, distribution: Distribution) -> Path:
        """Return the wheel's path in the store, its hash verified.

        Raises:
            DownloadError: it could not be fetched, or its bytes are wrong.
        """

    def measure(self, distribution: Distribution) -> int:
        """Return the bytes of the wheel, without fetching it where possible.

        Raises:
            DownloadError: it could not be asked for.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderContext:
    """What a builder may use.

    Attributes:
        store: the content store; blobs that a build makes go here.
        registries: clients for registries, with the user's mirrors and logins.
        wheels: gives the plan's wheels.
        progress: receives events.
        jobs: how many threads may work at once.
        remote: endpoint of a remote builder, or None.
    """

    store: Store
    registries: Registries
    wheels: WheelSource
    progress: Progress
    jobs: int = 2
    remote: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltLayer:
    """A layer of a built image.

    Attributes:
        title: what it holds, for people (``numpy 2.4.6``).
        reused: whether it was taken from the store, the base or a registry.
        key: its cache key; None for layers of the base.
    """

    descriptor: LayerDescriptor
    title: str
    reused: bool
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltImage:
    """An image for one platform. Its manifest and config are in the store."""

    platform: Platform
    manifest: Digest
    manifest_size: int
    config: Digest
    config_size: int
    layers: tuple[BuiltLayer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a builder made.

    Attributes:
        digest: digest of the index, or of the manifest where there is one platform.
        index: bytes of the index; None where there is one platform.
        images: one image a platform.
    """

    digest: Digest
    index: bytes | None
    images: tuple[BuiltImage, ...]


class Builder(Protocol):
    """Makes images from plans."""

    @property
    def name(self) -> str:
        """The name under which the builder is installed."""

    def check(self, plan: Plan) -> None:
        """Raise UnsupportedLayerError if a step is beyond this builder.

        Cheap, and touches neither disk nor network.
        """

    def build(self, plan: Plan) -> Built:
        """Make the image. Its blobs are in the store, or in the base's source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerForecast:
    """A layer that a build would give the image.

    Attributes:
        size: bytes of the blob, or of what it is made from where it is not made yet.
        descriptor: the layer, if the store has it.
        fetches: wheels that would be fetched for it.
    """

    platform: Platform
    title: str
    size: int
    descriptor: LayerDescriptor | None
    fetches: tuple[Distribution, ...] = ()


@runtime_checkable
class Forecaster(Protocol):
    """A builder that can tell what a build would do, without doing it. Optional."""

    def forecast(self, plan: Plan) -> tuple[LayerForecast, ...]:
        """Return the layers above the bases, in order."""
