"""Authorization at one registry: challenges, access tokens, basic logins.

Follows the distribution project's "Token Authentication Specification" and its OAuth2
variant for identity tokens.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from math import inf
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from imagekit.errors import AuthenticationError, RegistryError
from imagekit.oci.address import Endpoint, follow, hostname, is_loopback, redact
from imagekit.oci.credentials import Credential, IdentityToken, Password, RegistryToken
from imagekit.oci.refusal import refusal, surprise
from imagekit.records import dataclass

if TYPE_CHECKING:
    from imagekit.oci.transport import Reply, Transport

#: What a request needs: ``repository:<name>:pull``, one action each.
Scopes = frozenset[str]

_CLIENT_ID = "imagekit"
_SHORTEST_LIFE = 60.0
_OK = 200
# RFC 9110, 11.6.1; a parameter's value is a token or a quoted string.
_CHALLENGE = re.compile(
    r"(?:^|,)\s*(?P<scheme>[A-Za-z]+)\s+(?=[A-Za-z_]+\s*=)"
    r"|(?P<key>[A-Za-z_]+)\s*=\s*(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<plain>[^\s,]+))"
)


def pull(repository: str) -> Scopes:
    """Return the scope for reading *repository*."""
    return frozenset({f"repository:{repository}:pull"})


def push(repository: str) -> Scopes:
    """Return the scope for reading and writing *repository*."""
    return pull(repository) | {f"repository:{repository}:push"}


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge of a WWW-Authenticate header; names are lower case."""

    scheme: str
    parameters: Mapping[str, str]

    @classmethod
    def parse(cls, lines: Iterable[str]) -> tuple[Challenge, ...]:
        """Return the challenges in the header's *lines*."""
        found: list[tuple[str, dict[str, str]]] = []
        for line in lines:
            for part in _CHALLENGE.finditer(line):
                if scheme := part["scheme"]:
                    found.append((scheme.lower(), {}))
                elif found:
                    value = part["plain"] or re.sub(r"\\(.)", r"\1", part["quoted"])
                    found[-1][1][part["key"].lower()] = value
            if line.strip().lower() == "basic":
                found.append(("basic", {}))
        return tuple(cls(*item) for item in found)


@dataclass(frozen=True, slots=True)
class _Grant:
    """A header that opens *scopes*, or everything where they are None."""

    scopes: Scopes | None
    header: str
    expires: float = inf


class Authorizer:
    """Gives the Authorization header for requests to one repository's registry.

    Nothing is sent unasked: the first request has no authorization, and a registry
    that wants one says so, and how.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        find: Callable[[], Credential | None],
        transport: Transport,
        *,
        insecure: tuple[str, ...] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoint = endpoint
        self._find = find
        self._transport = transport
        self._insecure = insecure
        self._clock = clock
        self._lock = Lock()
        self._challenge: Challenge | None = None
        self._grants: list[_Grant] = []

    def header(self, scopes: Scopes) -> str | None:
        """Return the header for a request, or None while none was asked for.

        Raises:
            RegistryError: the token server refuses or does not answer.
        """
        with self._lock:
            if self._challenge is None:
                return None
            return self._current(scopes) or self._authorize(self._challenge, scopes)

    def renewed(self, refused: Reply, scopes: Scopes, used: str | None) -> str | None:
        """Return a header other than *used*, which was *refused* with 401.

        None if there is no other.

        Raises:
            RegistryError: the token server refuses or does not answer.
        """
        challenges = Challenge.parse(refused.headers("WWW-Authenticate"))
        by_scheme = {challenge.scheme: challenge for challenge in challenges}
        challenge = by_scheme.get("bearer") or by_scheme.get("basic")
        if challenge is None:
            return None
        with self._lock:
            current = self._current(scopes)
            if current is not None and current != used:
                return current  # another thread was faster
            self._challenge = challenge
            self._grants = [grant for grant in self._grants if grant.header != used]
            header = self._authorize(challenge, scopes)
            return header if header != used else None

    def _current(self, scopes: Scopes) -> str | None:
        now = self._clock()
        for grant in self._grants:
            enough = grant.scopes is None or scopes <= grant.scopes
            if enough and now < grant.expires:
                return grant.header
        return None

    def _authorize(self, challenge: Challenge, scopes: Scopes) -> str | None:
        grant = self._grant(challenge, scopes)
        if grant is None:
            return None
        self._grants.append(grant)
        return grant.header

    def _grant(self, challenge: Challenge, scopes: Scopes) -> _Grant | None:
        credential = self._find()
        if isinstance(credential, RegistryToken):
            return _Grant(None, f"Bearer {credential.token}")
        if challenge.scheme == "basic":
            if not isinstance(credential, Password):
                return None
            return _Grant(None, _basic(credential))
        wanted = scopes | _atoms(challenge.parameters.get("scope", ""))
        return self._fetch(challenge, wanted, credential)

    def _fetch(
        self, challenge: Challenge, scopes: Scopes, credential: Credential | None
    ) -> _Grant:
        realm = self._realm(challenge, secret=credential is not None)
        service = challenge.parameters.get("service")
        parameters = [("service", service)] if service else []
        began = self._clock()
        if isinstance(credential, IdentityToken):
            parameters += [
                ("scope", " ".join(_grouped(scopes))),
                ("client_id", _CLIENT_ID),
                ("grant_type", "refresh_token"),
                ("refresh_token", credential.token),
            ]
            reply = self._transport.send(
                "POST",
                realm,
                headers={"Content-Type": "application/x-www-form-urlencoded"},
                body=urlencode(parameters).encode(),
            )
        else:
            parameters += [("scope", scope) for scope in _grouped(scopes)]
            headers = {}
            if isinstance(credential, Password):
                headers["Authorization"] = _basic(credential)
            joint = "&" if urlsplit(realm).query else "?"
            url = f"{realm}{joint}{urlencode(parameters)}"
            reply = self._transport.send("GET", url, headers=headers)
        return self._granted(reply, scopes, began, known=credential is not None)

    def _granted(
        self, reply: Reply, scopes: Scopes, began: float, *, known: bool
    ) -> _Grant:
        if reply.status != _OK:
            raise _not_granted(refusal(reply), self._endpoint.name, known=known)
        try:
            answer = json.loads(reply.content)
            value = answer.get("token") or answer["access_token"]
            life = float(answer.get("expires_in") or _SHORTEST_LIFE)
        except (ValueError, LookupError, TypeError, AttributeError):
            raise surprise(reply, "an access token") from None
        # A margin: the token has to be valid still when it arrives.
        return _Grant(scopes, f"Bearer {value}", began + life * 0.9)

    def _realm(self, challenge: Challenge, *, secret: bool) -> str:
        """Return the token server's address, if credentials may be sent there."""
        base = self._endpoint.url
        realm = follow(base, challenge.parameters.get("realm"), method="GET")
        parts = urlsplit(realm)
        host = parts.hostname or ""
        plain_allowed = is_loopback(host) or host in map(hostname, self._insecure)
        if secret and parts.scheme != "https" and not plain_allowed:
            raise AuthenticationError(
                f"{self._endpoint.name!r} wants its login sent to {redact(realm)!r}, "
                "without TLS",
                method="GET",
                url=redact(realm),
                hint="list the token server's host as insecure if this is meant",
            )
        return realm


def _basic(credential: Password) -> str:
    pair = f"{credential.username}:{credential.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _atoms(scope: str) -> Scopes:
    """Split ``repository:a:pull,push registry:catalog:*`` into one action each."""
    parts = (item.rpartition(":") for item in scope.split())
    return frozenset(
        f"{resource}:{action}"
        for resource, _, actions in parts
        for action in actions.split(",")
        if resource and action
    )


def _grouped(scopes: Scopes) -> list[str]:
    grouped: dict[str, list[str]] = {}
    for scope in sorted(scopes):
        resource, _, action = scope.rpartition(":")
        grouped.setdefault(resource, []).append(action)
    return [f"{resource}:{','.join(actions)}" for resource, actions in grouped.items()]


def _not_granted(error: RegistryError, registry: str, *, known: bool) -> RegistryError:
    if isinstance(error, AuthenticationError):
        error.hint = (
            f"the login for {registry!r} was refused: log in again ('docker login')"
            if known
            else f"no login for {registry!r} was found: log in ('docker login')"
        )
    return error
