"""From an endpoint to something that buildx can build on.

Instances that buildx has to know are made in a folder of our own, so the user's
``buildx ls`` stays as it is, and nobody else's instance is ever touched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, assert_never

from imagekit.canonical import fingerprint
from imagekit.errors import BuilderUnavailableError
from imagekit.records import dataclass
from imagekit_buildkit.docker_cli import DockerCLI, csv_line, raise_without_buildx
from imagekit_buildkit.endpoint import (
    Endpoint,
    EngineEndpoint,
    InstanceEndpoint,
    KubernetesEndpoint,
    RemoteEndpoint,
)
from imagekit_buildkit.reachable import unreachable

#: Everything that only finds out is done after so many seconds.
_PATIENCE = 8
#: What would change what we ask for: other builders, other output.
_UNWANTED = (
    "BUILDX_BUILDER",
    "BUILDKIT_PROGRESS",
    "BUILDX_CONFIG",
    "DOCKER_DEFAULT_PLATFORM",
    "SOURCE_DATE_EPOCH",
)
#: Engines with a BuildKit that rewrites time stamps (0.13); with the classic store,
#: where that is done here, those that write OCI layouts.
_OLDEST = {True: 26, False: 25}
_OLDEST_BUILDX = (0, 13)
_VERSION = re.compile(r"v?(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A BuildKit that answered.

    Attributes:
        endpoint: where it is.
        docker: the command that reaches it.
        instance: the buildx instance; None for the engine's own BuildKit.
        exports: whether it gives OCI layouts; the classic image store does not.
    """

    endpoint: Endpoint
    docker: DockerCLI
    instance: str | None = None
    exports: bool = True

    def lost(self, *, seconds: float) -> str | None:
        """Return why it can't be reached any more, or None where it can."""
        if isinstance(self.endpoint, RemoteEndpoint):
            return unreachable(self.endpoint, seconds=seconds)
        return None


def connect(
    endpoint: Endpoint, *, folder: Path, environ: Mapping[str, str]
) -> Connection:
    """Return a connection to *endpoint*, which answered within 10 s.

    Args:
        endpoint: where BuildKit is.
        folder: where buildx keeps the instances that are made here.
        environ: the environment, in which Docker finds its settings.

    Raises:
        BuilderUnavailableError: docker or buildx is missing or too old, or nothing
            answers; says what was tried.
    """
    clean = {name: text for name, text in environ.items() if name not in _UNWANTED}
    match endpoint:
        case EngineEndpoint():
            return _engine(endpoint, clean)
        case RemoteEndpoint():
            _check_reachable(endpoint)
            options = {
                "cacert": endpoint.ca,
                "cert": endpoint.cert,
                "key": endpoint.key,
                "servername": endpoint.host if endpoint.tls else None,
            }
            return _instance(
                endpoint, "remote", options, (str(endpoint),), folder, clean
            )
        case KubernetesEndpoint():
            options = {"namespace": endpoint.namespace}
            return _instance(endpoint, "kubernetes", options, (), folder, clean)
        case InstanceEndpoint():
            return _users_instance(endpoint, environ, clean)
        case _:
            assert_never(endpoint)


def _engine(endpoint: EngineEndpoint, clean: dict[str, str]) -> Connection:
    environment = dict(clean)
    if endpoint.host is not None:
        environment["DOCKER_HOST"] = endpoint.host
    if endpoint.context is not None:
        environment["DOCKER_CONTEXT"] = endpoint.context
        # It would go before the context.
        environment.pop("DOCKER_HOST", None)
    docker = DockerCLI(environment)
    info = _info(endpoint, docker)
    containerd = _has_containerd_store(info)
    _check_engine(endpoint, info, containerd=containerd)
    _check_buildx(info)
    return Connection(endpoint=endpoint, docker=docker, exports=containerd)


def _info(endpoint: EngineEndpoint, docker: DockerCLI) -> dict[str, Any]:
    tried = docker.environment.get("DOCKER_HOST")
    where = f"{endpoint} (DOCKER_HOST={tried})" if tried else str(endpoint)
    try:
        done = docker.run("info", "--format", "{{json .}}", seconds=_PATIENCE)
    except BuilderUnavailableError as error:
        if error.hint is not None:
            raise
        raise _silent_engine(where, error.message) from error
    try:
        info: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        info = {}
    faults = info.get("ServerErrors") or []
    if done.returncode or faults or not info.get("ServerVersion"):
        reason = " ".join([*faults, done.stderr.strip()]).strip()
        raise _silent_engine(where, reason or f"exit code {done.returncode}")
    return info


def _silent_engine(where: str, reason: str) -> BuilderUnavailableError:
    return BuilderUnavailableError(
        f"no Docker engine answers at {where}: {reason}",
        hint="start Docker, or set DOCKER_HOST or the Docker context to an engine that "
        "runs, or use the builder 'remote'",
    )


def _has_containerd_store(info: dict[str, Any]) -> bool:
    status = dict(info.get("DriverStatus") or ())
    return status.get("driver-type") == "io.containerd.snapshotter.v1"


def _check_engine(
    endpoint: EngineEndpoint, info: dict[str, Any], *, containerd: bool
) -> None:
    version = str(info["ServerVersion"])
    found = _VERSION.match(version)
    # A version that can't be read is that of a development build.
    if found and 0 < int(found[1]) < _OLDEST[containerd]:
        raise BuilderUnavailableError(
            f"the Docker engine at {endpoint} is too old: wanted "
            f"{_OLDEST[containerd]}.0 or newer, found {version}",
            hint="update Docker, or use the builder 'remote'. Podman's API has no "
            "BuildKit: run buildkitd beside it, and use 'remote'",
        )


def _check_buildx(info: dict[str, Any]) -> None:
    plugins = (info.get("ClientInfo") or {}).get("Plugins") or []
    found = next((item for item in plugins if item.get("Name") == "buildx"), None)
    if found is None:
        raise_without_buildx("unknown command: docker buildx")
        return
    version = _VERSION.match(str(found.get("Version")))
    if version and (0, 0) < (int(version[1]), int(version[2])) < _OLDEST_BUILDX:
        raise BuilderUnavailableError(
            f"buildx is too old: wanted 0.13 or newer, found {found['Version']}",
            hint="update the package docker-buildx-plugin (docker-buildx on Debian)",
        )


def _check_reachable(endpoint: RemoteEndpoint) -> None:
    reason = unreachable(endpoint, seconds=_PATIENCE)
    if reason is not None:
        raise BuilderUnavailableError(
            f"can't use the BuildKit at {endpoint}: {reason}",
            hint="check IMAGEKIT_REMOTE and that buildkitd runs there"
            + (
                "; check the certificates in IMAGEKIT_REMOTE_CA, _CERT and _KEY"
                if endpoint.tls
                else "; if it wants TLS, set IMAGEKIT_REMOTE_CA, _CERT and _KEY"
            ),
        )


def _instance(
    endpoint: Endpoint,
    driver: str,
    options: Mapping[str, str | None],
    addresses: Sequence[str],
    folder: Path,
    clean: dict[str, str],
) -> Connection:
    """Make sure that there is an instance of ours, which may be made twice at once."""
    given = {name: value for name, value in options.items() if value is not None}
    identity = (driver, tuple(sorted(given.items())), tuple(addresses))
    name = f"imagekit-{fingerprint('buildx-instance', identity)[:16]}"
    docker = DockerCLI({**clean, "BUILDX_CONFIG": str(folder)})
    connection = Connection(endpoint=endpoint, docker=docker, instance=name)
    if (folder / "instances" / name).exists():
        return connection
    flags = [
        flag
        for item in given.items()
        for flag in ("--driver-opt", csv_line(["=".join(item)]))
    ]
    done = docker.run(
        *("buildx", "create", "--name", name, "--driver", driver, *flags, *addresses),
        seconds=_PATIENCE,
    )
    if done.returncode and "existing instance" not in done.stderr:
        raise BuilderUnavailableError(
            f"buildx can't use {endpoint}: {done.stderr.strip()}",
            hint="check IMAGEKIT_REMOTE, and that buildx is 0.13 or newer",
        )
    return connection


def _users_instance(
    endpoint: InstanceEndpoint, environ: Mapping[str, str], clean: dict[str, str]
) -> Connection:
    if "BUILDX_CONFIG" in environ:
        clean["BUILDX_CONFIG"] = environ["BUILDX_CONFIG"]
    docker = DockerCLI(clean)
    done = docker.run("buildx", "inspect", endpoint.name, seconds=_PATIENCE)
    if done.returncode:
        raise BuilderUnavailableError(
            f"there is no buildx instance {endpoint.name!r}: {done.stderr.strip()}",
            hint="'docker buildx ls' lists them",
        )
    driver = re.search(r"^Driver:\s*(\S+)", done.stdout, re.MULTILINE)
    if driver and driver[1] == "docker":
        # The BuildKit of an engine, whose image store decides what it can do.
        context = re.search(r"^Endpoint:\s*(\S+)", done.stdout, re.MULTILINE)
        name = context[1] if context else endpoint.name
        return _engine(
            EngineEndpoint(context=None if name == "default" else name), clean
        )
    return Connection(endpoint=endpoint, docker=docker, instance=endpoint.name)
