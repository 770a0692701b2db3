"""Secrets on their way into a container: their values take no part in its command."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from imagekit.errors import DefinitionError
from imagekit.records import dataclass
from imagekit.secret import Secret
from imagekit.secret_values import secret_value

#: Folders that a container needs as they are.
# fmt: off
_TAKEN = frozenset({
    "/", "/bin", "/boot", "/etc", "/home", "/lib", "/lib32", "/lib64", "/libx32",
    "/media", "/mnt", "/opt", "/root", "/run", "/sbin", "/srv", "/tmp", "/usr",  # noqa: S108  (refused)
    "/usr/bin", "/usr/lib", "/usr/local", "/usr/local/bin", "/usr/local/lib",
    "/usr/sbin", "/usr/share", "/var", "/var/lib", "/var/run", "/var/tmp",  # noqa: S108  (refused)
})
# fmt: on
_KERNEL = ("/dev", "/proc", "/sys")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretGifts:
    """What a container is given.

    Attributes:
        variables: values by environment variable.
        files: values by path.
        folders: the folders of the files, which are kept in memory.
    """

    variables: dict[str, str]
    files: dict[str, str]
    folders: tuple[str, ...]


def secret_gifts(
    secrets: tuple[Secret, ...],
    *,
    code: str,
    environ: Mapping[str, str],
    origin: str | None,
) -> SecretGifts:
    """Return what *secrets* are in a container.

    Raises:
        DefinitionError: a file is to be where it would hide other files.
        PlanError: a secret has no value, or it can't be read.
    """
    variables, files = {}, {}
    for secret in secrets:
        if secret.mount is not None:
            _check_folder(secret, code, origin)
        value = secret_value(secret, environ=environ, origin=origin)
        if secret.as_env_var is not None:
            variables[secret.as_env_var] = value
        if secret.mount is not None:
            files[posixpath.normpath(str(secret.mount))] = value
    folders = sorted({posixpath.dirname(path) for path in files})
    return SecretGifts(variables=variables, files=files, folders=tuple(folders))


def _check_folder(secret: Secret, code: str, origin: str | None) -> None:
    """Refuse folders that hold something else: they are covered by an empty one."""
    path = posixpath.normpath(str(secret.mount))
    folder = posixpath.dirname(path)
    in_kernel = any(f"{folder}/".startswith(f"{place}/") for place in _KERNEL)
    if folder in _TAKEN or in_kernel or _is_above(folder, code):
        raise DefinitionError(
            f"the secret {secret.key!r} can't be the file {path!r}: secrets need a "
            f"folder of their own, and {folder!r} has other files",
            hint=f"mount it at '/run/secrets/{posixpath.basename(path)}'",
            origin=origin,
        )


def _is_above(folder: str, other: str) -> bool:
    return bool(other) and f"{posixpath.normpath(other)}/".startswith(f"{folder}/")
