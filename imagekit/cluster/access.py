"""``Api``: what sends requests to the Kubernetes API."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

from imagekit.cluster.kinds import JSON
from imagekit.cluster.stopping import Stop

#: A document, as in manifests.
Json: TypeAlias = Any


class Api(Protocol):
    """Access to one Kubernetes API; safe to use from many threads.

    Attributes:
        namespace: the default namespace.
    """

    namespace: str

    def request(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        timeout: float | None = None,
        stop: Stop | None = None,
    ) -> Json:
        """Send a request and return the document of the answer, or None.

        Raises:
            ClusterError: the API refuses, or is not there for too long.
        """

    def stream(
        self,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        accept: str = JSON,
        timeout: float | None = None,
        stop: Stop | None = None,
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Send a GET; its value yields the body as it comes, until *stop* is set.

        Raises:
            ClusterError: the API refuses, or is not there for too long. The iterator
                raises BrokenOffError where the body breaks off.
        """

    def patient(
        self, seconds: float, waiting: Callable[[str], None] | None = None
    ) -> Api:
        """Return the same access, which goes on for longer when nothing answers.

        Args:
            seconds: how long, after the first fault of a request.
            waiting: is told why requests wait.
        """

    def close(self) -> None:
        """Close idle connections."""
