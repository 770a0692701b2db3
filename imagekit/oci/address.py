"""Where registries are, and which addresses their replies may send a client to."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias
from urllib.parse import SplitResult, parse_qsl, urlencode, urljoin, urlsplit

from imagekit.errors import RegistryError
from imagekit.records import dataclass
from imagekit.reference import DOCKER_HUB

#: The one registry whose API is not on the host that its name says.
_DOCKER_HUB_API = "registry-1.docker.io"
#: Parameters that are no secret; an upload's state or a CDN's signature are.
_HARMLESS = ("digest", "mount", "from", "scope", "service")
_LOOPBACK = re.compile(r"localhost|127(?:\.\d{1,3}){3}|::1")
_DEFAULT_PORTS = {"http": 80, "https": 443}

Reach: TypeAlias = Literal["public", "private", "loopback", "nowhere"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A registry's API: its host, and what comes before every repository's name.

    Attributes:
        name: the registry as people name it; logins are looked up by it.
        url: scheme and host, without a path.
        prefix: path before the repository, empty or ending in ``/``.
    """

    name: str
    url: str
    prefix: str = ""

    @classmethod
    def parse(cls, registry: str, insecure: tuple[str, ...] = ()) -> Endpoint:
        """Return the endpoint of *registry*, ``host[:port][/path]``.

        Hosts of *insecure* and this machine itself are spoken to without TLS.
        """
        host, _, path = registry.partition("/")
        bare = hostname(host)
        plain = is_loopback(bare) or host in insecure or bare in insecure
        address = _DOCKER_HUB_API if host == DOCKER_HUB else host
        return cls(
            name=host,
            url=f"{'http' if plain else 'https'}://{address}",
            prefix=f"{path}/" if path else "",
        )


def hostname(host: str) -> str:
    """Return *host* without its port, and without brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def is_loopback(host: str) -> bool:
    """Return whether *host* names this machine, as Docker decides it."""
    return _LOOPBACK.fullmatch(host) is not None


def origin(url: str) -> tuple[str, str, int | None]:
    """Return the scheme, host and port of *url*: who gets to see what is sent."""
    parts = urlsplit(url)
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    return parts.scheme, parts.hostname or "", port


def redact(url: str) -> str:
    """Return *url* without user info and without parameters that may be secret."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    query = [(key, value) for key, value in parse_qsl(parts.query) if key in _HARMLESS]
    return SplitResult(
        parts.scheme, host, parts.path, urlencode(query, safe=":/,"), ""
    ).geturl()


def follow(base: str, location: str | None, *, method: str) -> str:
    """Return the address that *location*, in a reply from *base*, stands for.

    A registry can be hostile, or its reply can be. It must not make this machine talk
    to services that only this machine can reach, nor without TLS.

    Raises:
        RegistryError: there is no location, or it is one that is not followed.
    """
    if not location:
        raise RegistryError(
            "wanted a Location in the registry's reply, found none",
            method=method,
            url=redact(base),
        )
    here = urlsplit(base)
    there = urlsplit(urljoin(base, location))
    if here.scheme == "https" and there.scheme == "http":
        # Registries behind a proxy that ends TLS often name themselves this way.
        if there.hostname != here.hostname:
            raise _refused(base, location, "it leaves TLS", method)
        there = there._replace(scheme="https", netloc=here.netloc)
    if there.scheme not in _DEFAULT_PORTS or not there.hostname:
        raise _refused(base, location, "it is no web address", method)
    if there.hostname != here.hostname:
        target, source = reach(there.hostname), reach(here.hostname or "")
        if target == "nowhere" or target not in ("public", source):
            raise _refused(base, location, "it is on a private host", method)
    return there.geturl()


def reach(host: str) -> Reach:
    """Return from where *host* can be reached; names count as public."""
    import socket  # noqa: PLC0415
    from ipaddress import IPv6Address, ip_address  # noqa: PLC0415

    if host == "localhost" or host.endswith(".localhost"):
        return "loopback"
    try:
        # Also what only the C library takes for an address: 2130706433, 0x7f.1
        packed: bytes | str = host if ":" in host else socket.inet_aton(host)
        address = ip_address(packed)
    except (OSError, ValueError):
        return "public"
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_loopback:
        return "loopback"
    if address.is_link_local or address.is_unspecified or address.is_multicast:
        return "nowhere"
    return "public" if address.is_global else "private"


def _refused(base: str, location: str, why: str, method: str) -> RegistryError:
    return RegistryError(
        f"the registry sent the client to {redact(urljoin(base, location))!r}, "
        f"which is not followed: {why}",
        method=method,
        url=redact(base),
        hint="check the registry's own address (its host, X-Forwarded-Proto and "
        "redirect settings)",
    )
