"""Exchanges over the urllib3 pool that the official package configures."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from threading import Lock, local
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import urllib3
from urllib3 import exceptions

from imagekit.cluster.api_errors import UnreachableError
from imagekit.cluster.sending import (
    CONNECT_SECONDS,
    Answer,
    Plug,
    Request,
    keepalive_options,
)

_Kind = TypeVar("_Kind", bound=BaseException)
_BLOCK = 1 << 16
#: The plug of the exchange that this thread begins.
_begun = local()


class Login(Protocol):
    """How a cluster is reached."""

    @property
    def configuration(self) -> Any:
        """The official package's."""

    def headers(self) -> dict[str, str]:
        """Return the credentials, renewed where they have expired."""


class PooledSender:
    """Sends requests as a configuration of the official package says.

    Args:
        login: what the kubeconfig says.
        again: reads the kubeconfig again, and logs in again.
    """

    hint = "check the network, VPN or proxy, and that 'kubectl cluster-info' answers"
    login_hint = "log in to the cluster again, and try 'kubectl version'"

    def __init__(self, login: Login, again: Callable[[], Login]) -> None:
        self._again = again
        self._lock = Lock()
        self._use(login)

    def _use(self, login: Login) -> None:
        configuration = login.configuration
        configuration.socket_options = keepalive_options()
        self._login = login
        self._address = configuration.host.rstrip("/")
        self.host = urlsplit(self._address).netloc.rpartition("@")[2]
        rest = import_module("kubernetes.client.rest")
        self._pool: urllib3.PoolManager = rest.RESTClientObject(
            configuration
        ).pool_manager
        # Those of SOCKS proxies have classes of their own.
        self._pool.pool_classes_by_scheme = {
            scheme: _plugged(pool)
            for scheme, pool in self._pool.pool_classes_by_scheme.items()
        }

    def send(self, request: Request, plug: Plug) -> Answer:
        """Send a request and return the answer, whatever its status."""
        with self._lock:
            pool, address = self._pool, self._address
            headers = {**request.headers(), **self._login.headers()}
        _begun.plug = plug
        try:
            with _faults(self.host, self.hint):
                raw = pool.request(
                    request.method,
                    f"{address}{request.target}",
                    body=request.body,
                    headers=headers,
                    timeout=urllib3.Timeout(
                        connect=CONNECT_SECONDS, read=request.timeout
                    ),
                    preload_content=False,
                    decode_content=False,
                    redirect=False,
                    retries=False,
                )
        finally:
            _begun.plug = None
        return _PooledAnswer(raw, self.host, self.hint)

    def refresh(self) -> None:
        """Read the kubeconfig again, and log in again."""
        login = self._again()
        with self._lock:
            self._pool.clear()
            self._use(login)

    def close(self) -> None:
        """Close idle connections."""
        self._pool.clear()


class _PooledAnswer:
    def __init__(self, raw: urllib3.BaseHTTPResponse, host: str, hint: str) -> None:
        self.status = raw.status
        self._raw = raw
        self._host, self._hint = host, hint
        self._chunks = raw.stream(_BLOCK, decode_content=False)

    def header(self, name: str) -> str | None:
        return self._raw.headers.get(name)

    def read(self) -> bytes:
        with _faults(self._host, self._hint):
            return self._raw.read(decode_content=False)

    def chunk(self) -> bytes:
        with _faults(self._host, self._hint):
            return next(self._chunks, b"")

    def close(self) -> None:
        # A connection whose body was read to its end is back in the pool already.
        self._raw.close()


class _Plugged:
    """A connection that tells the plug of its exchange where it goes."""

    sock: Any

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]  # of what it is mixed into
        # Who wrote insecure-skip-tls-verify need not be warned at each connection.
        self.is_verified = True

    def getresponse(self) -> Any:
        plug: Plug | None = getattr(_begun, "plug", None)
        if plug is not None:
            plug.connect(self.sock.fileno())
        return super().getresponse()  # type: ignore[misc]  # of what it is mixed into


def _plugged(pool: Any) -> Any:
    """Return a class of pools like *pool*, whose connections are plugged."""
    connection = type("PluggedConnection", (_Plugged, pool.ConnectionCls), {})
    return type("PluggedPool", (pool,), {"ConnectionCls": connection})


@contextmanager
def _faults(host: str, hint: str) -> Iterator[None]:
    """Turn urllib3's errors into ours."""
    try:
        yield
    except (exceptions.HTTPError, OSError, ValueError) as error:
        untrusted = _cause(error, ssl.SSLCertVerificationError)
        unsent = isinstance(
            error,
            exceptions.NewConnectionError
            | exceptions.ConnectTimeoutError
            | exceptions.ProxyError
            | exceptions.SSLError,
        )
        unknown = _cause(error, socket.gaierror)
        lasting = (
            untrusted is not None
            or isinstance(error, exceptions.LocationParseError)
            or (unknown is not None and unknown.errno != socket.EAI_AGAIN)
        )
        raise UnreachableError(
            f"no answer from {host!r}: {_said(error)}",
            temporary=not lasting,
            perhaps_done=not unsent,
            hint=hint,
        ) from error


def _said(error: Exception) -> str:
    if untrusted := _cause(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({untrusted.verify_message})"
    match error:
        case exceptions.NameResolutionError():
            return "the host name is not known"
        case exceptions.ProxyError():
            return "the proxy did not connect"
        case exceptions.TimeoutError() if not isinstance(
            error, exceptions.NewConnectionError
        ):
            return "timed out"
        case _:
            found = _cause(error, OSError)
            said = found.strerror if found is not None else None
            return said.lower() if said else "the connection was lost"


def _cause(error: BaseException, kind: type[_Kind]) -> _Kind | None:
    """Return the first of *kind* among an error and what led to it."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, kind):
            return seen
        inner = seen.args[-1] if seen.args else None
        seen = (
            seen.__cause__
            or seen.__context__
            or (inner if isinstance(inner, BaseException) else None)
        )
    return None
