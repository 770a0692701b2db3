"""Logins for package indexes: the user's own, sent to their own host only."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterable, Mapping
from threading import Lock
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from imagekit.records import dataclass, field

_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^/\s'\"@`]*@")
_HELPER_SECONDS = 60
_DEFAULT_PORTS = {"https": 443, "http": 80}
#: Shorter texts are too likely to be part of something else.
_SHORTEST_SECRET = 4


@dataclass(frozen=True, slots=True)
class Login:
    """A user name and password for the URLs below *url*."""

    url: str
    username: str
    password: str | None = field(repr=False)

    @property
    def header(self) -> str:
        """The value of an ``Authorization`` header (RFC 7617)."""
        pair = f"{self.username}:{self.password or ''}".encode()
        return f"Basic {base64.b64encode(pair).decode('ascii')}"


def without_login(url: str) -> str:
    """Return *url* without user name and password.

    >>> without_login("https://bob:secret@example.org/simple")
    'https://example.org/simple'
    """
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def login_in(url: str) -> Login | None:
    """Return the login that *url* holds, or None."""
    parts = urlsplit(url)
    if not parts.username and not parts.password:
        return None
    password = None if parts.password is None else unquote(parts.password)
    return Login(without_login(url), unquote(parts.username or ""), password)


def redact(text: str) -> str:
    """Return *text* with the logins of all URLs in it hidden.

    >>> redact("asked https://bob:secret@example.org/simple twice")
    'asked https://****@example.org/simple twice'
    """
    return _USERINFO.sub(r"\g<scheme>****@", text)


class Credentials:
    """The logins for a build.

    Args:
        urls: index URLs, possibly with logins, the most specific first.
        named: names and URLs of indexes, whose logins are in
            ``UV_INDEX_<NAME>_USERNAME`` and ``UV_INDEX_<NAME>_PASSWORD``.
        secrets: values to hide, besides the logins.
        environ: the environment; by default the process's.
    """

    def __init__(
        self,
        urls: Iterable[str] = (),
        *,
        named: Iterable[tuple[str, str]] = (),
        secrets: Iterable[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._environ = dict(os.environ if environ is None else environ)
        named = tuple(named)
        found = [self._of_named(name, url) for name, url in named]
        found += [login_in(url) for url in (*urls, *(url for _, url in named))]
        self._logins = [login for login in found if login is not None]
        self._secrets = tuple(secrets)
        self._asked: dict[str, str | None] = {}
        self._lock = Lock()

    def header(self, url: str) -> str | None:
        """Return the ``Authorization`` for *url*, or None if no login is for it."""
        own = login_in(url)
        if own is not None:
            return own.header
        login = self._login(url)
        return login.header if login else self._netrc(url)

    def header_from_tools(self, url: str) -> str | None:
        """Return what uv's credential store or keyring has for *url*.

        Starts a process, so it is asked only after a host has refused.
        """
        realm = "/".join(map(str, _realm(url)))
        with self._lock:
            if realm not in self._asked:
                self._asked[realm] = self._ask_uv(url) or self._ask_keyring(url)
            return self._asked[realm]

    def with_login(self, url: str) -> str:
        """Return *url* with its login, for what can't be told in another way."""
        login = self._login(url)
        parts = urlsplit(url)
        if login is None or "@" in parts.netloc:
            return url
        pair = quote(login.username, safe="")
        if login.password is not None:
            pair += f":{quote(login.password, safe='')}"
        return urlunsplit(parts._replace(netloc=f"{pair}@{parts.netloc}"))

    def hide(self, text: str) -> str:
        """Return *text* with every known secret in it hidden."""
        text = redact(text)
        secrets = {*self._secrets, *(login.password or "" for login in self._logins)}
        for secret in sorted(secrets, key=len, reverse=True):
            for form in (secret, quote(secret, safe="")):
                if len(form) >= _SHORTEST_SECRET:
                    text = text.replace(form, "****")
        return text

    def _of_named(self, name: str, url: str) -> Login | None:
        # uv, "Environment variables": other characters become underscores.
        key = re.sub(r"[^A-Za-z0-9]", "_", name).upper()
        username = self._environ.get(f"UV_INDEX_{key}_USERNAME")
        password = self._environ.get(f"UV_INDEX_{key}_PASSWORD")
        if username is None and password is None:
            return None
        return Login(without_login(url), username or "", password)

    def _login(self, url: str) -> Login | None:
        realm, path = _realm(url), urlsplit(url).path
        here = [login for login in self._logins if _realm(login.url) == realm]
        below = [
            login for login in here if path.startswith(urlsplit(login.url).path or "/")
        ]
        if below:
            return max(below, key=lambda login: len(login.url))
        # Files often lie beside the index, not below it.
        return here[0] if here else None

    def _netrc(self, url: str) -> str | None:
        host = urlsplit(url).hostname
        path = os.path.expanduser(self._environ.get("NETRC") or "~/.netrc")
        if not host or not os.path.isfile(path):
            return None
        from netrc import NetrcParseError, netrc  # noqa: PLC0415  (rarely needed)

        try:
            found = netrc(path).authenticators(host)
        except (NetrcParseError, OSError):
            return None
        return Login(url, found[0], found[2]).header if found else None

    def _ask_uv(self, url: str) -> str | None:
        from uv import find_uv_bin  # noqa: PLC0415  (only after a host has refused)

        try:
            argv = [find_uv_bin(), "auth", "helper", "--protocol", "bazel", "get"]
        except FileNotFoundError:
            return None
        answer = self._run(argv, json.dumps({"uri": without_login(url)}))
        try:
            values = json.loads(answer or "{}")["headers"]["Authorization"]
        except (ValueError, KeyError, TypeError):
            return None
        return str(values[0]) if values else None

    def _ask_keyring(self, url: str) -> str | None:
        if self._environ.get("UV_KEYRING_PROVIDER") != "subprocess":
            return None
        login = self._login(url)
        username = login.username if login and login.username else "oauth2accesstoken"
        argv = ["keyring", "get", without_login(url), username]
        password = self._run(argv, "")
        if not password:
            return None
        return Login(url, username, password.strip()).header

    def _run(self, argv: list[str], given: str) -> str | None:
        import subprocess  # noqa: PLC0415  (only after a host has refused)

        try:
            done = subprocess.run(
                argv,
                input=given,
                env=self._environ,
                capture_output=True,
                text=True,
                timeout=_HELPER_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None


def _realm(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    return parts.scheme, (parts.hostname or "").lower(), port
