"""Exchanges over connections of the standard library, with their faults named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from imagekit.cluster.api_errors import UnreachableError
from imagekit.cluster.sending import (
    CONNECT_SECONDS,
    Plug,
    Request,
    keepalive_options,
)

if TYPE_CHECKING:
    from http.client import HTTPResponse, HTTPSConnection
    from ssl import SSLContext

_BLOCK = 1 << 16


def open_connection(
    address: tuple[str, int], context: SSLContext, *, host: str, hint: str
) -> HTTPSConnection:
    """Return a connection that stands.

    Raises:
        UnreachableError: nothing answers, or nothing that *context* trusts.
    """
    from http.client import HTTPSConnection  # noqa: PLC0415  (slow to import)

    connection = HTTPSConnection(*address, timeout=CONNECT_SECONDS, context=context)
    with _faults(host, hint, connection, sent=False):
        connection.connect()
        for option in keepalive_options():
            connection.sock.setsockopt(*option)
    return connection


def exchange(
    connection: HTTPSConnection,
    request: Request,
    headers: dict[str, str],
    plug: Plug,
    host: str,
    hint: str,
) -> HTTPResponse:
    """Send a request and return its answer, of which the head is there.

    Raises:
        UnreachableError: there is no answer.
    """
    with _faults(host, hint, connection, sent=True):
        connection.sock.settimeout(request.timeout)
        plug.connect(connection.sock.fileno())
        connection.request(
            request.method, request.target, body=request.body, headers=headers
        )
        return connection.getresponse()


def is_alive(connection: HTTPSConnection) -> bool:
    """Return whether the other side has not closed an idle connection."""
    from select import POLLIN, poll  # noqa: PLC0415  (where connections are)

    if connection.sock is None:
        return False
    waiting = poll()
    waiting.register(connection.sock.fileno(), POLLIN)
    return not waiting.poll(0)


class HttpAnswer:
    """An answer that http.client reads.

    Args:
        response: of http.client.
        connection: that it comes over.
        keep: gets the connection when another request can use it.
        host: what errors call the other side.
        hint: what a person can do if it broke off.
    """

    def __init__(
        self,
        response: HTTPResponse,
        connection: HTTPSConnection,
        keep: Callable[[HTTPSConnection], None],
        *,
        host: str,
        hint: str,
    ) -> None:
        self.status = response.status
        self._response = response
        self._connection = connection
        self._keep = keep
        self._host, self._hint = host, hint
        self._closed = False

    def header(self, name: str) -> str | None:
        """Return a header, or None."""
        return self._response.getheader(name)

    def read(self) -> bytes:
        """Return what is left of the body."""
        with _faults(self._host, self._hint, self._connection, sent=True):
            return self._response.read()

    def chunk(self) -> bytes:
        """Return what there is of the body, as it comes; nothing at its end."""
        if self._response.length is not None:
            # A body of known length is short, and read1() may wait at its end.
            return self.read()
        with _faults(self._host, self._hint, self._connection, sent=True):
            return self._response.read1(_BLOCK)

    def close(self) -> None:
        """End the exchange, also where part of the body was not read."""
        if self._closed:
            return
        self._closed = True
        whole = self._response.isclosed() and not self._response.will_close
        self._response.close()
        if whole and self._connection.sock is not None:
            self._keep(self._connection)
        else:
            self._connection.close()


@contextmanager
def _faults(
    host: str, hint: str, connection: HTTPSConnection, *, sent: bool
) -> Iterator[None]:
    """Turn errors into ours, and end the connection."""
    import ssl  # noqa: PLC0415  (slow to import)
    from http.client import HTTPException  # noqa: PLC0415  (slow to import)

    try:
        yield
    except BaseException as error:
        connection.close()
        if not isinstance(error, OSError | HTTPException | ValueError):
            raise
        untrusted = isinstance(error, ssl.SSLCertVerificationError)
        raise UnreachableError(
            f"no answer from {host!r}: {_said(error)}",
            temporary=not untrusted,
            perhaps_done=sent,
            hint=hint,
        ) from error


def _said(error: BaseException) -> str:
    import ssl  # noqa: PLC0415  (slow to import)

    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted ({error.verify_message})"
        case TimeoutError():
            return "timed out"
        case OSError(strerror=str(text)) if text:
            return text.lower()
        case _:
            return "the connection was lost"
