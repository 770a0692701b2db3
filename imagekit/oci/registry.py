"""The registries of a process, with the user's mirrors and logins.

Importing this module is cheap: what speaks HTTP is imported with the first request.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Self

from imagekit.oci.address import Endpoint
from imagekit.oci.repository import ManifestContent, ManifestHead, Repository
from imagekit.oci.retry import RetryPolicy
from imagekit.progress import Progress, silent
from imagekit.reference import Reference

if TYPE_CHECKING:
    from imagekit.oci.connections import Connections

__all__ = ["ManifestContent", "ManifestHead", "Registries", "Repository", "RetryPolicy"]


class Registries:
    """The registries of one process, with the user's mirrors and logins; thread-safe.

    Args:
        mirrors: pairs of a registry and the mirror (``host[:port][/path]``) that is
            read first. Nothing is ever written to a mirror.
        ca_bundle: file or folder of CA certificates, used in place of the system's.
        docker_config: file with logins, or its folder, in place of the user's own.
        insecure: hosts that are spoken to without TLS, besides this machine.
        progress: receives notes about mirrors, retries and credential helpers, and
            the progress of blobs.
        retry: how often a request is sent.
    """

    def __init__(
        self,
        *,
        mirrors: tuple[tuple[str, str], ...] = (),
        ca_bundle: str | None = None,
        docker_config: Path | None = None,
        insecure: tuple[str, ...] = (),
        progress: Progress = silent,
        retry: RetryPolicy | None = None,
    ) -> None:
        self._mirrors = tuple(
            (registry, Endpoint.parse(mirror, insecure)) for registry, mirror in mirrors
        )
        self._ca_bundle = ca_bundle
        self._docker_config = docker_config
        self._insecure = insecure
        self._progress = progress
        self._retry = retry or RetryPolicy()
        self._connections: Connections | None = None
        self._lock = Lock()

    def of(self, reference: Reference) -> Repository:
        """Return the repository that *reference* is in."""
        return self.repository(reference.registry, reference.repository)

    def repository(self, registry: str, repository: str) -> Repository:
        """Return *repository* of *registry*, which may have a path."""
        host, _, path = registry.partition("/")
        return Repository(
            registry=host,
            repository=f"{path}/{repository}" if path else repository,
            origin=Endpoint.parse(host, self._insecure),
            mirrors=tuple(mirror for name, mirror in self._mirrors if name == host),
            connect=self._connect,
            progress=self._progress,
        )

    def close(self) -> None:
        """Close all connections; the next request opens new ones."""
        with self._lock:
            if self._connections is not None:
                self._connections.close()
                self._connections = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _connect(self) -> Connections:
        with self._lock:
            if self._connections is None:
                from imagekit.oci.connections import Connections  # noqa: PLC0415

                self._connections = Connections(
                    ca_bundle=self._ca_bundle,
                    docker_config=self._docker_config,
                    insecure=self._insecure,
                    retry=self._retry,
                    progress=self._progress,
                )
            return self._connections
