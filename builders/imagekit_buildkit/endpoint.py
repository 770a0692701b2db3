"""Where BuildKit is: the endpoints that users name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from imagekit.builder import Execution
from imagekit.errors import BuilderUnavailableError, SettingsError
from imagekit.records import dataclass

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_FORMS = (
    "tcp://HOST:PORT, ssh://HOST, docker-context://NAME, kubernetes://[NAMESPACE] or "
    "buildx://INSTANCE"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineEndpoint:
    """A Docker engine, whose BuildKit is used.

    Attributes:
        host: value for ``DOCKER_HOST``; None for what the environment says.
        context: name of a Docker context, which then goes before the environment.
    """

    host: str | None = None
    context: str | None = None

    def __str__(self) -> str:
        if self.context is not None:
            return f"docker-context://{self.context}"
        return self.host or "the local Docker engine"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteEndpoint:
    """A BuildKit that listens on TCP, with certificates where it wants some.

    Attributes:
        ca: absolute path of the certificates that its own is checked against.
        cert: absolute path of the client certificate.
        key: absolute path of its key.
    """

    host: str
    port: int
    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    @property
    def tls(self) -> bool:
        """Return whether TLS is spoken."""
        return bool(self.ca or self.cert)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesEndpoint:
    """A BuildKit that buildx runs in the cluster of the user's kubeconfig."""

    namespace: str | None = None

    def __str__(self) -> str:
        return f"kubernetes://{self.namespace or ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceEndpoint:
    """A buildx instance that the user made, and that is never changed."""

    name: str

    def __str__(self) -> str:
        return f"buildx://{self.name}"


Endpoint: TypeAlias = (
    EngineEndpoint | RemoteEndpoint | KubernetesEndpoint | InstanceEndpoint
)


def remote_endpoint(execution: Execution) -> Endpoint:
    """Return the endpoint that *execution* names.

    Raises:
        BuilderUnavailableError: it names none.
        SettingsError: it is not an endpoint, or a certificate is missing.
    """
    text = execution.remote
    if not text:
        raise BuilderUnavailableError(
            "no endpoint is known for the builder 'remote'",
            hint=f"set IMAGEKIT_REMOTE to {_FORMS}",
        )
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise _invalid(text)
    if scheme != "tcp":
        _refuse_certificates(execution, text)
    match scheme:
        case "tcp":
            return _tcp(text, execution)
        case "ssh" if rest and not rest.startswith("-"):
            return EngineEndpoint(host=text)
        case "docker-context" if _NAME.fullmatch(rest):
            return EngineEndpoint(context=rest)
        case "kubernetes" if not rest or _NAMESPACE.fullmatch(rest):
            return KubernetesEndpoint(namespace=rest or None)
        case "buildx" if _NAME.fullmatch(rest):
            return InstanceEndpoint(name=rest)
        case _:
            raise _invalid(text)


def _tcp(text: str, execution: Execution) -> RemoteEndpoint:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _invalid(text) from error
    if not host or not port or parts.path or parts.query or parts.username:
        raise _invalid(text)
    if bool(execution.remote_cert) != bool(execution.remote_key):
        raise SettingsError(
            "a client certificate needs its key, and a key its certificate; found "
            f"remote_cert={execution.remote_cert!r} and "
            f"remote_key={execution.remote_key!r}",
            hint="set both, or neither",
        )
    return RemoteEndpoint(
        host=host,
        port=port,
        ca=_file("remote_ca", execution.remote_ca),
        cert=_file("remote_cert", execution.remote_cert),
        key=_file("remote_key", execution.remote_key),
    )


def _refuse_certificates(execution: Execution, text: str) -> None:
    if execution.remote_ca or execution.remote_cert or execution.remote_key:
        raise SettingsError(
            f"certificates are for endpoints like 'tcp://HOST:PORT', found {text!r}",
            hint="leave out remote_ca, remote_cert and remote_key",
        )


def _file(setting: str, path: str | None) -> str | None:
    if not path:
        return None
    found = Path(path).expanduser().absolute()
    try:
        with found.open("rb"):
            return str(found)
    except OSError as error:
        raise SettingsError(
            f"can't read the file {path!r} that {setting!r} names: {error.strerror}",
            hint="give the path of a PEM file",
        ) from error


def _invalid(text: str) -> SettingsError:
    return SettingsError(
        f"wanted the endpoint of a BuildKit, found {text!r}", hint=f"write {_FORMS}"
    )
