"""What sends one request and reads one answer, whatever library does so."""

from __future__ import annotations

import os
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Protocol, Self

from imagekit.cluster.kinds import JSON
from imagekit.records import dataclass

if TYPE_CHECKING:
    import socket

#: Seconds until a connection must stand.
CONNECT_SECONDS = 10.0
#: A peer that went away without a word is noticed after 15 + 3 * 5 seconds, also
#: where nothing is sent for hours.
_IDLE, _INTERVAL, _PROBES = 15, 5, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request.

    Attributes:
        target: path and query.
        body: None sends none.
        timeout: seconds without a byte until the answer counts as lost; None waits as
            long as the connection stands.
    """

    method: str
    target: str
    body: bytes | None = None
    content_type: str = JSON
    accept: str = JSON
    timeout: float | None = None

    def headers(self) -> dict[str, str]:
        """Return the headers, but for credentials."""
        headers = {"Accept": self.accept, "User-Agent": "imagekit"}
        if self.body is not None:
            headers["Content-Type"] = self.content_type
        return headers


class Answer(Protocol):
    """The answer to a request; one thread reads it."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    def header(self, name: str) -> str | None:
        """Return a header, or None."""

    def read(self) -> bytes:
        """Return what is left of the body.

        Raises:
            UnreachableError: the body broke off.
        """

    def chunk(self) -> bytes:
        """Return what there is of the body, as it comes; nothing at its end.

        Raises:
            UnreachableError: the body broke off.
        """

    def close(self) -> None:
        """End the exchange, also where part of the body was not read."""


class Sender(Protocol):
    """Sends requests, once each; safe to use from many threads.

    Attributes:
        host: what errors call the API server.
        hint: what a person can do if it does not answer.
        login_hint: what a person can do if it does not accept the credentials.
    """

    host: str
    hint: str
    login_hint: str

    def send(self, request: Request, plug: Plug) -> Answer:
        """Send a request and return the answer, whatever its status.

        Raises:
            UnreachableError: there is no answer.
        """

    def refresh(self) -> None:
        """Read the credentials again, as the API does not accept them."""

    def close(self) -> None:
        """Close idle connections."""


class Plug:
    """Pulled from another thread, it ends an exchange, and what waits for it.

    It holds a descriptor of its own of the connection, so that pulling it late can't
    hit another one.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._connection: socket.socket | None = None
        self._pulled = False

    @property
    def pulled(self) -> bool:
        """Whether the exchange was ended."""
        return self._pulled

    def connect(self, descriptor: int) -> None:
        """Take note of the connection."""
        from socket import socket  # noqa: PLC0415  (slow to import)

        with self._lock:
            self._forget()
            self._connection = socket(fileno=os.dup(descriptor))
            if self._pulled:
                self._shut()

    def pull(self) -> None:
        """End the exchange."""
        with self._lock:
            self._pulled = True
            self._shut()

    def _shut(self) -> None:
        if self._connection is not None:
            from socket import SHUT_RDWR  # noqa: PLC0415  (slow to import)

            with suppress(OSError):  # the other side may have closed it
                self._connection.shutdown(SHUT_RDWR)

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        with self._lock:
            self._forget()


def keepalive_options() -> list[tuple[int, int, int]]:
    """Return socket options by which a dead connection is noticed."""
    import socket as library  # noqa: PLC0415  (slow to import)

    options = [(library.SOL_SOCKET, library.SO_KEEPALIVE, 1)]
    named = (
        ("TCP_KEEPIDLE", _IDLE),
        ("TCP_KEEPINTVL", _INTERVAL),
        ("TCP_KEEPCNT", _PROBES),
        ("TCP_NODELAY", 1),
    )
    options += [
        (library.IPPROTO_TCP, getattr(library, name), value)
        for name, value in named
        if hasattr(library, name)  # macOS lacks the first
    ]
    return options
