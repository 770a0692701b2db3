"""The values of the secrets of this pod, which are kept out of all that it says."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator

from imagekit.secret import Secret


def values_here(secrets: Collection[Secret]) -> frozenset[str]:
    """Return the values of *secrets*, from the variables and files of this pod."""
    return frozenset(value for secret in secrets for value in _values(secret) if value)


def _values(secret: Secret) -> Iterator[str]:
    if secret.as_env_var is not None:
        yield os.environ.get(secret.as_env_var, "")
    if secret.mount is not None:
        try:
            with open(secret.mount, encoding="utf-8") as file:
                content = file.read()
        except (OSError, UnicodeDecodeError):
            return  # the task can't read it as a text either
        yield content
        yield content.rstrip("\n")
