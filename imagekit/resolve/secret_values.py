"""The values of secrets, looked up where they are used and kept nowhere."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from imagekit.errors import PlanError
from imagekit.secret import Secret

#: Where secrets are mounted by platforms that run tasks.
_FOLDER = "/etc/secrets"


def secret_value(
    secret: Secret,
    *,
    environ: Mapping[str, str] | None = None,
    origin: str | None = None,
) -> str:
    """Return the value of *secret*.

    It is taken from the environment variable ``GROUP_KEY``, else from the file
    ``<group>_<key>`` in ``$IMAGEKIT_SECRETS_DIR``, else from that file in
    ``/etc/secrets``. Without a group, the names are ``KEY`` and ``<key>``.

    Raises:
        PlanError: it is in none of these places.
    """
    environ = os.environ if environ is None else environ
    value = environ.get(secret.lookup_name)
    if value is not None:
        return value
    folder = environ.get("IMAGEKIT_SECRETS_DIR")
    name = f"{secret.group}_{secret.key}" if secret.group else secret.key
    places = [Path(item) / name for item in (folder, _FOLDER) if item]
    for place in places:
        try:
            return place.read_text(encoding="utf-8").removesuffix("\n")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise PlanError(
                f"can't read the secret {secret.key!r} from {str(place)!r}",
                hint="check the permissions and the encoding of the file",
                origin=origin,
            ) from error
    where = " and ".join(repr(str(place)) for place in places)
    raise PlanError(
        f"no value for the secret {secret.key!r}: wanted the environment variable "
        f"{secret.lookup_name!r} or a file, looked for {where}",
        hint=f"set {secret.lookup_name}, or write the file {str(places[-1])!r}",
        origin=origin,
    )


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
