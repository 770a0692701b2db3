"""HTTP exchanges with pooled connections: TLS, proxies, timeouts, and their failures.

The only module that knows urllib3. It is slow to import, so it is imported when the
first request is made.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from imagekit.errors import RegistryError, SettingsError
from imagekit.oci.address import is_loopback, redact
from imagekit.oci.http_library import exceptions, urllib3
from imagekit.records import dataclass

if TYPE_CHECKING:
    from ssl import SSLContext

#: The distribution spec's limit for manifests is 4 MiB; no other document is larger.
_LONGEST_DOCUMENT = 16 << 20
_BLOCK = 1 << 18
_CONNECTIONS = 16
_OK = range(200, 300)
#: What OpenSSL calls a connection that broke off, or was damaged on its way.
_HICCUPS = (
    "ALERT_BAD_RECORD_MAC",
    "ALERT_DECODE_ERROR",
    "ALERT_DECRYPT_ERROR",
    "ALERT_INTERNAL_ERROR",
    "BAD_RECORD_MAC",
    "UNEXPECTED_EOF",
    "EOF occurred",
)


@dataclass(slots=True)
class Reply:
    """The answer to a request.

    Attributes:
        url: the address that answered.
        content: the body; empty where it is to be streamed.
    """

    method: str
    url: str
    status: int
    content: bytes
    _raw: urllib3.BaseHTTPResponse

    def header(self, name: str) -> str | None:
        """Return a header, or None."""
        return self._raw.headers.get(name)

    def headers(self, name: str) -> list[str]:
        """Return every line of a header that may be repeated."""
        return self._raw.headers.getlist(name)

    def stream(self) -> Iterator[bytes]:
        """Yield the body, which ends the exchange.

        Raises:
            RegistryError: the body ended early.
        """
        try:
            with _failures(self.method, self.url):
                yield from self._raw.stream(_BLOCK, decode_content=False)
        finally:
            self.close()

    def close(self) -> None:
        """End the exchange, also where part of the body was not read."""
        # A connection whose body was read to its end is back in the pool already.
        self._raw.close()


class Transport:
    """Sends requests; safe to use from many threads.

    Args:
        ca_bundle: file or folder of CA certificates, used in place of the system's.
        connect_timeout: seconds until a connection must stand.
        read_timeout: seconds without a byte until a connection counts as dead. The
            longest silence is a registry's that moves a large blob to its place.
    """

    def __init__(
        self,
        *,
        ca_bundle: str | None = None,
        connect_timeout: float = 15.0,
        read_timeout: float = 180.0,
    ) -> None:
        self._ca_bundle = ca_bundle
        self._timeout = urllib3.Timeout(connect=connect_timeout, read=read_timeout)
        self._context: SSLContext | None = None
        self._pools: dict[tuple[str | None, bool], urllib3.PoolManager] = {}
        self._lock = Lock()

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None = None,
        stream: bool = False,
    ) -> Reply:
        """Send one request, once, and return the answer, whatever its status.

        A *body* that is not bytes needs a Content-Length among *headers*. With
        *stream*, the body of a successful answer is left to be read.

        Raises:
            RegistryError: there is no (whole) answer.
            SettingsError: the CA bundle can't be used.
        """
        pool = self._pool(url)
        with _failures(method, url):
            raw = pool.request(
                method,
                url,
                headers={"User-Agent": "imagekit", **headers},
                body=body,
                preload_content=False,
                decode_content=False,
                redirect=False,
                retries=False,
                timeout=self._timeout,
            )
            if stream and raw.status in _OK:
                return Reply(method, url, raw.status, b"", raw)
            content = raw.read(_LONGEST_DOCUMENT, decode_content=False)
            if raw.read(1, decode_content=False):
                raw.close()
                raise RegistryError(
                    f"wanted a document of at most {_LONGEST_DOCUMENT} bytes from "
                    f"{redact(url)!r}, found a longer one",
                    method=method,
                    url=redact(url),
                )
            raw.release_conn()
        return Reply(method, url, raw.status, content, raw)

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for pool in self._pools.values():
                pool.clear()
            self._pools.clear()

    def _pool(self, url: str) -> urllib3.PoolManager:
        secure = url.startswith("https:")
        key = (_proxy(url), secure)
        with self._lock:
            if key not in self._pools:
                self._pools[key] = self._new_pool(*key)
            return self._pools[key]

    def _new_pool(self, proxy: str | None, secure: bool) -> urllib3.PoolManager:
        context = self._tls() if secure or (proxy or "").startswith("https:") else None
        if proxy is None:
            return urllib3.PoolManager(
                maxsize=_CONNECTIONS, blocksize=_BLOCK, ssl_context=context
            )
        login = urlsplit(proxy)
        pair = f"{login.username}:{login.password or ''}" if login.username else None
        return urllib3.ProxyManager(
            login._replace(netloc=login.netloc.rpartition("@")[2]).geturl(),
            maxsize=_CONNECTIONS,
            blocksize=_BLOCK,
            ssl_context=context,
            proxy_ssl_context=context,
            proxy_headers=urllib3.make_headers(proxy_basic_auth=pair) if pair else None,
        )

    def _tls(self) -> SSLContext:
        """Return the one TLS context; OpenSSL itself obeys SSL_CERT_FILE and _DIR."""
        import ssl  # noqa: PLC0415

        if self._context is None:
            bundle = self._ca_bundle
            folder = bundle is not None and Path(bundle).is_dir()
            try:
                self._context = ssl.create_default_context(
                    cafile=None if folder else bundle, capath=bundle if folder else None
                )
            except OSError as error:
                raise SettingsError(
                    f"can't read the CA bundle {bundle!r}: {error.strerror or error}",
                    hint="set it to a PEM file of CA certificates",
                ) from error
        return self._context


def _proxy(url: str) -> str | None:
    """Return the proxy that the environment names for *url*; this machine has none."""
    parts = urlsplit(url)
    if is_loopback(parts.hostname or ""):
        return None
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415

    proxies = getproxies()
    address = proxies.get(parts.scheme) or proxies.get("all")
    if not address or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return address if "://" in address else f"http://{address}"


@contextmanager
def _failures(method: str, url: str) -> Iterator[None]:
    """Turn urllib3's errors into ours. Their texts may hold what must stay secret."""
    try:
        yield
    except exceptions.HTTPError as error:
        shown = redact(url)
        refused = _caused_by(error, ConnectionRefusedError)
        lasting = (
            isinstance(error, exceptions.NameResolutionError)
            or (isinstance(error, exceptions.SSLError) and not _is_hiccup(error))
            or refused
        )
        raise RegistryError(
            f"no answer from {urlsplit(shown).netloc!r}: {_reason(error)} "
            f"({method} {shown})",
            method=method,
            url=shown,
            temporary=not lasting,
            hint=_hint(error, refused=refused),
        ) from error


def _is_hiccup(error: exceptions.SSLError) -> bool:
    """Return whether TLS failed for no reason of its own, as it does in busy proxies.

    A certificate that is not trusted, or a side that has no TLS, stays as it is.
    """
    found = str(error.args[0] if error.args else "")
    return any(name in found for name in _HICCUPS)


def _reason(error: exceptions.HTTPError) -> str:
    match error:
        case exceptions.SSLError():
            return f"TLS failed ({error.args[0] if error.args else 'no reason given'})"
        case exceptions.NameResolutionError():
            return "the host name is not known"
        case exceptions.ProxyError():
            return "the proxy did not connect"
        case exceptions.NewConnectionError():
            cause = error.__cause__ or error.__context__
            strerror = getattr(cause, "strerror", None)
            return str(strerror or "no connection").lower()
        case exceptions.TimeoutError():
            return "timed out"
        case _:
            return "the connection was lost"


def _hint(error: exceptions.HTTPError, *, refused: bool) -> str | None:
    match error:
        case exceptions.SSLError():
            return (
                "name the CA's certificates with IMAGEKIT_CA_BUNDLE or SSL_CERT_FILE; "
                "a registry without TLS must be listed as insecure"
            )
        case exceptions.ProxyError():
            return "check HTTPS_PROXY and NO_PROXY"
        case exceptions.NameResolutionError():
            return "check the registry's name and the network"
        case _ if refused:
            return "check that the registry runs, and its port"
        case _:
            return None


def _caused_by(error: BaseException, kind: type[BaseException]) -> bool:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, kind):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
