"""Logins for registries, from where ``docker login`` and ``podman login`` keep them."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from imagekit.errors import SettingsError
from imagekit.progress import Note, Progress, silent
from imagekit.records import dataclass, field
from imagekit.reference import DOCKER_HUB

#: Docker Hub's name in configuration files, older than registries' API.
_DOCKER_HUB_KEY = "https://index.docker.io/v1/"
_DOCKER_HUB_NAMES = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io")
_HELPER = re.compile(r"[A-Za-z0-9._-]+")
_HELPER_SECONDS = 60
#: The user name with which helpers and files mark an identity token.
_TOKEN_USER = "<token>"  # noqa: S105  (marks a token, is none)


@dataclass(frozen=True, slots=True)
class Password:
    """A user name and password."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class IdentityToken:
    """A refresh token, exchanged for access tokens at the registry's token server."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RegistryToken:
    """An access token, sent to the registry as it is."""

    token: str = field(repr=False)


Credential: TypeAlias = Password | IdentityToken | RegistryToken


class Credentials:
    """The logins of a user. Files are read, and helpers run, when asked for one.

    Args:
        docker_config: the only file to read, or its folder; by default Docker's, then
            podman's.
        progress: hears about credential helpers that do not work.
    """

    def __init__(
        self, docker_config: Path | None = None, progress: Progress = silent
    ) -> None:
        self._docker_config = docker_config
        self._progress = progress

    def find(self, registry: str, repository: str) -> Credential | None:
        """Return the login for *repository* of *registry*, or None if there is none.

        Raises:
            SettingsError: a file with logins is damaged.
        """
        for path in self._files():
            found = self._in_file(_read(path), path, registry, repository)
            if found is not None:
                return found
        return None

    def _files(self) -> Iterator[Path]:
        if self._docker_config is not None:
            path = self._docker_config
            yield path / "config.json" if path.is_dir() else path
            return
        docker = os.environ.get("DOCKER_CONFIG")
        yield Path(docker or Path.home() / ".docker") / "config.json"
        if podman := os.environ.get("REGISTRY_AUTH_FILE"):
            yield Path(podman)
        if runtime := os.environ.get("XDG_RUNTIME_DIR"):
            yield Path(runtime) / "containers" / "auth.json"
        config = os.environ.get("XDG_CONFIG_HOME")
        yield Path(config or Path.home() / ".config") / "containers" / "auth.json"

    def _in_file(
        self, config: dict[str, Any], path: Path, registry: str, repository: str
    ) -> Credential | None:
        names = _DOCKER_HUB_NAMES if registry == DOCKER_HUB else (registry,)
        helpers = {_bare(key): name for key, name in _table(config, "credHelpers")}
        chosen = [helpers[name] for name in names if name in helpers]
        for helper in (*chosen[:1], config.get("credsStore")):
            if helper and (found := self._from_helper(str(helper), registry)):
                return found
        logins = {_bare(key): entry for key, entry in _table(config, "auths")}
        for name in names:
            for key in _keys(name, repository):
                if found := _from_entry(logins.get(key), path):
                    return found
        return None

    def _from_helper(self, name: str, registry: str) -> Credential | None:
        """Ask a credential helper (docker/docker-credential-helpers, "get").

        A helper that does not work is no reason to fail: the registry may not want a
        login. If it does, the note says why there was none.
        """
        server = _DOCKER_HUB_KEY if registry == DOCKER_HUB else registry
        try:
            answer = _run_helper(name, server)
            if answer is None:
                return None
            user, secret = str(answer["Username"]), str(answer["Secret"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            # A ValueError of a JSON parser would quote the helper's output.
            why = (
                error if isinstance(error, OSError) else "its answer is not understood"
            )
            text = f"the credential helper {name!r} gave no login for {registry}: {why}"
            self._progress(Note(text, "warning"))
            return None
        if not secret:
            return None
        return IdentityToken(secret) if user == _TOKEN_USER else Password(user, secret)


def _run_helper(name: str, server: str) -> Any:
    """Return what the helper knows about *server*; None where it has no login."""
    import subprocess  # noqa: PLC0415
    from shutil import which  # noqa: PLC0415

    program = which(f"docker-credential-{name}") if _HELPER.fullmatch(name) else None
    if program is None:
        raise FileNotFoundError(f"no program docker-credential-{name} on PATH")
    try:
        done = subprocess.run(
            [program, "get"],
            input=server,
            capture_output=True,
            text=True,
            timeout=_HELPER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"no answer after {_HELPER_SECONDS} s") from None
    if done.returncode == 0:
        return json.loads(done.stdout)
    if "not found" in done.stdout:
        return None
    raise OSError(f"it ended with exit status {done.returncode}")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes() or b"{}")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise SettingsError(
            f"can't read the registry logins in '{path}': {error.strerror}",
            hint="make it readable, or name another folder with DOCKER_CONFIG",
        ) from error
    except ValueError:
        raise _damaged(path, "it is not JSON") from None
    if not isinstance(content, dict):
        raise _damaged(path, "it is not a JSON object")
    return content


def _table(config: dict[str, Any], key: str) -> list[tuple[str, Any]]:
    table = config.get(key)
    return list(table.items()) if isinstance(table, dict) else []


def _bare(key: str) -> str:
    """Return the ``host[/path]`` that a key like ``https://host/v1/`` is about."""
    address = key.partition("://")[2] or key
    for suffix in ("/", "/v1", "/v2"):
        address = address.removesuffix(suffix)
    return address


def _keys(name: str, repository: str) -> Iterator[str]:
    """Give podman's keys for a repository, the closest first; Docker has the last."""
    path = f"{name}/{repository}"
    while path:
        yield path
        path = path.rpartition("/")[0]


def _from_entry(entry: Any, path: Path) -> Credential | None:
    if not isinstance(entry, dict):
        return None
    if token := entry.get("registrytoken"):
        return RegistryToken(str(token))
    if token := entry.get("identitytoken"):
        return IdentityToken(str(token))
    username, password = entry.get("username", ""), entry.get("password", "")
    if auth := entry.get("auth"):
        try:
            text = base64.b64decode(auth, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, TypeError):
            raise _damaged(path, "a login in it is not base64") from None
        username, _, password = text.rstrip("\0").partition(":")
    if not username or not password:
        return None
    if username == _TOKEN_USER:
        return IdentityToken(str(password))
    return Password(str(username), str(password))


def _damaged(path: Path, why: str) -> SettingsError:
    return SettingsError(
        f"the registry logins in '{path}' can't be used: {why}",
        hint="repair the file, or remove it and log in again ('docker login')",
    )
