"""How secrets are given to buildx: by name, never by value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import assert_never
from urllib.parse import urlsplit

from imagekit.builder import Execution
from imagekit.errors import PlanError
from imagekit.secret_values import (
    SecretFile,
    SecretSource,
    SecretVariable,
    secret_source,
)
from imagekit_buildkit.certificates import CA_PATH, CA_VARIABLES
from imagekit_buildkit.docker_cli import csv_line
from imagekit_buildkit.recipe import CA_SECRET, Recipe, SecretUse

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
_PROXY_VARIABLES = (*_PROXIES, *(name.lower() for name in _PROXIES))
_LOOPBACK = ("localhost", "127.", "::1")


def secret_flags(
    recipe: Recipe, execution: Execution, environ: Mapping[str, str]
) -> list[str]:
    """Return the flags with which buildx finds the secrets of *recipe*.

    Raises:
        PlanError: a secret has no value.
    """
    flags: list[str] = []
    for use in recipe.secrets:
        match _source(use, environ):
            case SecretVariable(name=name):
                fields = [f"id={use.id}", f"env={name}"]
            case SecretFile(path=path):
                fields = [f"id={use.id}", f"src={path.absolute()}"]
            case source:
                assert_never(source)
        flags += ["--secret", csv_line(fields)]
    if recipe.downloads and execution.ca_bundle:
        path = Path(execution.ca_bundle).expanduser().absolute()
        fields = [f"id={CA_SECRET}", f"src={path}"]
        flags += ["--secret", csv_line(fields)]
        if recipe.base is not None:  # a Dockerfile of the user's has its own ways
            for name in CA_VARIABLES:
                flags += ["--build-arg", f"{name}={CA_PATH}"]
    return flags


def proxy_flags(execution: Execution, environ: Mapping[str, str]) -> list[str]:
    """Return the flags that make this machine's proxies those of the steps.

    The values are taken from the environment of buildx: they may hold passwords. A
    proxy that listens on this machine only is of no use in a container's network.
    """
    given = []
    for name in _PROXY_VARIABLES:
        text = environ.get(name)
        if not text:
            continue
        host = urlsplit(text if "://" in text else f"//{text}").hostname or ""
        if execution.network != "host" and host.startswith(_LOOPBACK):
            continue
        given += ["--build-arg", name]
    return given


def secret_texts(
    recipes: Iterable[Recipe], environ: Mapping[str, str]
) -> tuple[str, ...]:
    """Return all that must not be shown: values of secrets, passwords of proxies.

    Raises:
        PlanError: a secret has no value, or can't be read.
    """
    uses = [use for recipe in recipes for use in recipe.secrets]
    found = [_text(use, environ) for use in uses]
    for name in _PROXY_VARIABLES:
        password = urlsplit(environ.get(name, "")).password
        if password:
            found.append(password)
    return tuple(dict.fromkeys(found))


def _source(use: SecretUse, environ: Mapping[str, str]) -> SecretSource:
    origin = str(use.origin) if use.origin else None
    return secret_source(use.secret, environ=environ, origin=origin)


def _text(use: SecretUse, environ: Mapping[str, str]) -> str:
    match _source(use, environ):
        case SecretVariable(name=name):
            return environ[name]
        case SecretFile(path=path):
            try:
                data = path.read_bytes()
            except OSError as error:
                raise PlanError(
                    f"can't read the secret {use.secret.key!r} from {str(path)!r}: "
                    f"{error.strerror}",
                    hint="check the permissions of the file",
                    origin=str(use.origin) if use.origin else None,
                ) from error
            return data.decode("utf-8", "surrogateescape")
        case source:
            assert_never(source)
