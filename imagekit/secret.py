"""Secrets: named, never held."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import ClassVar, TypeAlias

from imagekit.canonical import fingerprint
from imagekit.errors import DefinitionError
from imagekit.records import dataclass

_ENV_VAR = re.compile(r"[A-Z_][A-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Secret:
    """The name of a secret, and how it is given to a task or a build step.

    The value is looked up where it is used (``GROUP_KEY`` in the environment, else a
    file), and is never part of this object.

    Attributes:
        key: name of the secret in its store.
        group: optional group in the store.
        mount: absolute path at which the value appears as a file.
        as_env_var: environment variable that holds the value. Without *mount* it
            defaults to ``GROUP_KEY`` or ``KEY``, upper-cased, ``-`` as ``_``.
    """

    kind: ClassVar[str] = "secret"

    key: str
    group: str | None = None
    mount: PurePosixPath | str | None = None
    as_env_var: str | None = None

    def __post_init__(self) -> None:
        key: object = self.key  # users pass anything
        if not isinstance(key, str) or not key:
            raise DefinitionError(f"a secret needs a key, found {self.key!r}")
        if self.mount is not None:
            # Kept as text: it names a path in the container, and has a canonical form.
            object.__setattr__(self, "mount", str(self.mount))
            if not str(self.mount).startswith("/"):
                raise DefinitionError(
                    f"a secret's mount must be an absolute path, found {self.mount!r}"
                )
        if self.as_env_var is None and self.mount is None:
            name = f"{self.group}_{self.key}" if self.group else self.key
            object.__setattr__(self, "as_env_var", name.upper().replace("-", "_"))
        if self.as_env_var is not None and not _ENV_VAR.fullmatch(self.as_env_var):
            raise DefinitionError(
                f"invalid environment variable {self.as_env_var!r} for secret "
                f"{self.key!r}",
                hint="name one with as_env_var=, in upper-case letters, digits and '_'",
            )

    @property
    def lookup_name(self) -> str:
        """The environment variable in which the value is looked for."""
        name = f"{self.group}_{self.key}" if self.group else self.key
        return name.upper().replace("-", "_")

    def stable_hash(self) -> str:
        """Return a hash of the secret's *name*, equal in every process."""
        return fingerprint("secret", self)


SecretRequest: TypeAlias = str | Secret | list[str | Secret]


def secrets_from_request(request: SecretRequest | None) -> tuple[Secret, ...]:
    """Return the secrets that *request* names; a text is a key."""
    if request is None:
        return ()
    items = request if isinstance(request, list | tuple) else [request]
    found = (item if isinstance(item, Secret) else Secret(item) for item in items)
    return tuple(dict.fromkeys(found))
