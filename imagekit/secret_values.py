"""The values of secrets, looked up where they are used and kept nowhere."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

from imagekit.errors import PlanError
from imagekit.records import dataclass
from imagekit.secret import Secret

#: Where secrets are mounted by platforms that run tasks.
_FOLDER = "/etc/secrets"
_VARIABLE = "IMAGEKIT_SECRETS_DIR"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretVariable:
    """The value is in the environment variable *name*."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretFile:
    """The value is what the file *path* holds."""

    path: Path


SecretSource: TypeAlias = SecretVariable | SecretFile


def secret_environment(
    secrets_dir: str | None, environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return *environ* with the folder of secrets that the settings name.

    Args:
        secrets_dir: the folder; None leaves what *environ* says.
        environ: by default the environment of this process.
    """
    found = dict(os.environ if environ is None else environ)
    if secrets_dir is not None:
        found[_VARIABLE] = secrets_dir
    return found


def secret_source(
    secret: Secret,
    *,
    environ: Mapping[str, str] | None = None,
    origin: str | None = None,
) -> SecretSource:
    """Return where the value of *secret* is.

    That is the environment variable ``GROUP_KEY``, else the file ``<group>_<key>`` in
    ``$IMAGEKIT_SECRETS_DIR``, else that file in ``/etc/secrets``. Without a group, the
    names are ``KEY`` and ``<key>``.

    Raises:
        PlanError: it is in none of these places.
    """
    environ = os.environ if environ is None else environ
    if secret.lookup_name in environ:
        return SecretVariable(name=secret.lookup_name)
    folder = environ.get(_VARIABLE)
    name = f"{secret.group}_{secret.key}" if secret.group else secret.key
    places = [Path(item) / name for item in (folder, _FOLDER) if item]
    for place in places:
        if _is_there(place):
            return SecretFile(path=place)
    where = " and ".join(repr(str(place)) for place in places)
    raise PlanError(
        f"no value for the secret {secret.key!r}: wanted the environment variable "
        f"{secret.lookup_name!r} or a file, looked for {where}",
        hint=f"set {secret.lookup_name}, or write the file {str(places[-1])!r}",
        origin=origin,
    )


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # reading it will say why it can't be
    return True


def secret_value(
    secret: Secret,
    *,
    environ: Mapping[str, str] | None = None,
    origin: str | None = None,
) -> str:
    """Return the value of *secret*, without the newline at the end of a file.

    Raises:
        PlanError: there is none, or it can't be read.
    """
    environ = os.environ if environ is None else environ
    match secret_source(secret, environ=environ, origin=origin):
        case SecretVariable(name=name):
            return environ[name]
        case SecretFile(path=path):
            try:
                return path.read_text(encoding="utf-8").removesuffix("\n")
            except (OSError, UnicodeDecodeError) as error:
                raise PlanError(
                    f"can't read the secret {secret.key!r} from {str(path)!r}",
                    hint="check the permissions and the encoding of the file",
                    origin=origin,
                ) from error


def secret_variables(
    secrets: Iterable[Secret],
    *,
    environ: Mapping[str, str] | None = None,
    origin: str | None = None,
) -> dict[str, str]:
    """Return the environment variables that *secrets* are given as.

    A secret that is mounted as a file is checked for, and left out.

    Raises:
        PlanError: a secret has no value.
    """
    found = {}
    for secret in secrets:
        value = secret_value(secret, environ=environ, origin=origin)
        if secret.as_env_var is not None:
            found[secret.as_env_var] = value
    return found
