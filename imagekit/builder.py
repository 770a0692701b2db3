"""The contract between imagekit and builders.

A builder is found by the entry-point group ``imagekit.builders``: a callable that takes
a :class:`BuilderContext` and returns an object with the three members of
:class:`Builder`. It reads no configuration, environment or globals.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from imagekit.digest import Digest
from imagekit.oci.registry import Registries
from imagekit.plan import Distribution, LayerDescriptor, Plan, RegistrySource
from imagekit.platform import Platform
from imagekit.progress import Progress
from imagekit.records import dataclass
from imagekit.reference import Reference
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
class Execution:
    """How steps that must execute are run. What is empty is left to the engine.

    Attributes:
        remote: endpoint of a remote BuildKit: ``tcp://HOST:PORT``, ``ssh://HOST``,
            ``docker-context://NAME``, ``kubernetes://[NAMESPACE]`` or
            ``buildx://INSTANCE`` for an instance that the user made.
        remote_ca: file with the certificates that the endpoint's is checked against.
        remote_cert: file with the client certificate shown to it.
        remote_key: file with the key of that certificate.
        cache_from: caches to import, as BuildKit names them
            (``type=registry,ref=…``, ``type=local,src=…``, ``type=gha``, ``type=s3``).
        cache_to: caches to export.
        no_cache: whether every step runs anew.
        network: ``default``, ``none`` or ``host``.
        sbom: value of ``--sbom``; None for none.
        provenance: value of ``--provenance``; None for none.
        ca_bundle: file with the certificates that downloading steps are given.
        secrets_dir: folder with secrets, as the settings name it.
    """

    remote: str | None = None
    remote_ca: str | None = None
    remote_cert: str | None = None
    remote_key: str | None = None
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    no_cache: bool = False
    network: str | None = None
    sbom: str | None = None
    provenance: str | None = None
    ca_bundle: str | None = None
    secrets_dir: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderContext:
    """What a builder may use.

    Attributes:
        store: the content store; blobs that a build makes go here.
        registries: clients for registries, with the user's mirrors and logins.
        wheels: gives the plan's wheels.
        progress: receives events.
        jobs: how many threads may work at once.
        execution: how steps that must execute are run.
        cache: a repository that may hold results of executed steps, or None.
    """

    store: Store
    registries: Registries
    wheels: WheelSource
    progress: Progress
    jobs: int = 2
    execution: Execution = Execution()
    cache: Reference | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltLayer:
    """A layer of a built image.

    Attributes:
        title: what it holds, for people (``numpy 2.4.6``).
        reused: whether it was taken from the store, the base or a registry.
        key: its cache key; None for layers of the base.
        source: where the blob is, if neither the store nor the base's source has it.
    """

    descriptor: LayerDescriptor
    title: str
    reused: bool
    key: str | None = None
    source: RegistrySource | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Intermediate:
    """An image on the way to the one that was asked for, worth keeping in a registry.

    Attributes:
        tag: its content id.
    """

    tag: str
    image: BuiltImage


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
class ExecutedStep:
    """A step that ran, or whose result an engine still had.

    Attributes:
        seconds: how long it took; 0 where it was cached.
    """

    platform: Platform
    title: str
    seconds: float
    cached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a builder made.

    Attributes:
        digest: digest of the index, or of the manifest where there is one platform.
        index: bytes of the index; None where there is one platform.
        images: one image a platform.
        steps: what was executed for it, in order.
        log: what the executed steps printed.
        intermediates: what a registry should keep beside the image.
    """

    digest: Digest
    index: bytes | None
    images: tuple[BuiltImage, ...]
    steps: tuple[ExecutedStep, ...] = ()
    log: str = ""
    intermediates: tuple[Intermediate, ...] = ()


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


@runtime_checkable
class InsideInstaller(Protocol):
    """A builder that installs distributions inside the image. Optional.

    Its plans say which uv does that (``PlatformPlan.installer``).
    """

    @property
    def installs_inside(self) -> bool:
        """Whether it does."""


@runtime_checkable
class DockerfileWriter(Protocol):
    """A builder that can show its recipe as a Dockerfile. Optional."""

    def dockerfile(self, plan: Plan) -> str:
        """Return the Dockerfile of a plan for one platform. Fetches nothing."""

    def write_context(self, plan: Plan, folder: Path) -> str:
        """Write the Dockerfile and the files that it copies into *folder*.

        Returns:
            The Dockerfile; ``docker build FOLDER`` makes the image.
        """
