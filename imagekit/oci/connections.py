"""One client a repository and registry, over shared connections and logins."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from threading import Lock

from imagekit.oci.address import Endpoint
from imagekit.oci.auth import Authorizer
from imagekit.oci.client import Client
from imagekit.oci.credentials import Credentials
from imagekit.oci.retry import RetryPolicy
from imagekit.oci.transport import Transport
from imagekit.progress import Note, Progress


class Connections:
    """Makes clients and keeps them, so that they share what they learned."""

    def __init__(
        self,
        *,
        ca_bundle: str | None,
        docker_config: Path | None,
        insecure: tuple[str, ...],
        retry: RetryPolicy,
        progress: Progress,
    ) -> None:
        self._transport = Transport(ca_bundle=ca_bundle)
        self._credentials = Credentials(docker_config, progress)
        self._insecure = insecure
        self._retry = retry
        self._progress = progress
        self._clients: dict[tuple[Endpoint, str], Client] = {}
        self._noted: set[str] = set()
        self._lock = Lock()

    def client(self, endpoint: Endpoint, repository: str) -> Client:
        """Return the client for *repository* at *endpoint*."""
        key = endpoint, repository
        with self._lock:
            if key not in self._clients:
                self._clients[key] = self._new(endpoint, repository)
            return self._clients[key]

    def note(self, text: str) -> None:
        """Tell the user once."""
        with self._lock:
            known = text in self._noted
            self._noted.add(text)
        if not known:
            self._progress(Note(text, "warning"))

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def _new(self, endpoint: Endpoint, repository: str) -> Client:
        path = f"{endpoint.prefix}{repository}"
        authorizer = Authorizer(
            endpoint,
            partial(self._credentials.find, endpoint.name, path),
            self._transport,
            insecure=self._insecure,
        )
        return Client(
            endpoint=endpoint,
            repository=path,
            transport=self._transport,
            authorizer=authorizer,
            retry=self._retry,
            progress=self._progress,
        )
