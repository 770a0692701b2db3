"""Arguments of the public methods, turned into the values that layers hold.

What users pass is checked here, whatever the annotations promise: a wrong type gets a
message that says what to write instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from imagekit.errors import DefinitionError, InvalidLayerError
from imagekit.layers import InstallOptions
from imagekit.origin import Origin, SourcePath
from imagekit.platform import Platform
from imagekit.reference import check_registry, check_repository
from imagekit.secret import SecretRequest, secrets_from_request


def registry(value: str | None) -> str | None:
    """Return *value* if it is a registry."""
    return check_registry(value.rstrip("/")) if value else None


def name(value: str | None) -> str | None:
    """Return *value* if it is a name."""
    return check_repository(value) if value else None


def platforms(
    platform: Iterable[str] | None, default: tuple[str, ...]
) -> tuple[str, ...]:
    """Return platforms sorted, each once; *default* where none are given."""
    if platform is None:
        return default
    if isinstance(platform, str):
        platform = (platform,)
    found = sorted({Platform.parse(item) for item in platform})
    if not found:
        raise DefinitionError("an image needs a platform, found none")
    return tuple(str(item) for item in found)


def python_version(version: object) -> tuple[int, int] | None:
    """Return *version* if it is a minor version of Python 3."""
    if version is None:
        return None
    match version:
        case (int(major), int(minor)) if major == 3 and minor >= 0:  # noqa: PLR2004
            return (major, minor)
        case _:
            raise DefinitionError(
                f"wanted python_version as two numbers like (3, 12), found {version!r}",
                hint="write python_version=(3, 12)",
            )


def text(wanted: str, value: Any) -> str:
    """Return *value* if it is a text that holds something; *wanted* says what."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise InvalidLayerError(f"wanted {wanted}, found {value!r}")
    return value


def texts(method: str, values: Iterable[Any]) -> tuple[str, ...]:
    """Return *values* if all of them are texts that hold something."""
    if isinstance(values, str):
        raise TypeError(
            f"{method}() takes a list of texts, found the text {values!r}; "
            f"hint: {method}([...])"
        )
    found = tuple(values)
    for value in found:
        if not isinstance(value, str):
            raise TypeError(
                f"{method}() takes texts, found {type(value).__name__}: {value!r}; "
                "hint: pass the items as separate arguments, like "
                f"{method}(*items)"
            )
        if not value.strip() or "\0" in value:
            raise InvalidLayerError(f"{method}() got an empty text: {value!r}")
    return found


def options(
    index_url: str | None,
    extra_index_urls: str | Sequence[str] | None,
    pre: bool,
    extra_args: str | None,
    secret_mounts: SecretRequest | None,
) -> InstallOptions:
    """Return the options; one extra index may be given as a text."""
    if isinstance(extra_index_urls, str):
        extra_index_urls = (extra_index_urls,)
    return InstallOptions(
        index_url=index_url or None,
        extra_index_urls=tuple(extra_index_urls or ()),
        pre=bool(pre),
        extra_args=extra_args or None,
        secret_mounts=secrets_from_request(secret_mounts),
    )


def path(argument: str, value: Any, origin: Origin) -> SourcePath:
    """Return *value* as a path that is written at *origin*."""
    if not isinstance(value, str | PurePath) or not os.fspath(value):
        raise TypeError(f"{argument} must be a path, found {value!r}")
    if "\0" in os.fspath(value):
        raise InvalidLayerError(f"{argument} has a NUL: {value!r}", origin=str(origin))
    return SourcePath.of(value, origin)


def variables(values: Mapping[Any, Any], origin: Origin) -> tuple[tuple[str, str], ...]:
    """Return environment variables sorted by name."""
    return _pairs("environment variable", values, origin)


def build_args(
    values: Mapping[Any, Any], origin: Origin
) -> tuple[tuple[str, str], ...]:
    """Return build arguments sorted by name."""
    return _pairs("build argument", values, origin)


def _pairs(
    what: str, values: Mapping[Any, Any], origin: Origin
) -> tuple[tuple[str, str], ...]:
    article = "an" if what[0] in "aeiou" else "a"
    for key, value in values.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise InvalidLayerError(
                f"{article} {what} is a text, found {key!r}: {value!r}",
                hint="write the value as a text",
                origin=str(origin),
            )
        if not key or "=" in key or "\0" in key or "\0" in value:
            raise InvalidLayerError(
                f"invalid {what} {key!r}",
                hint="a name is not empty and has no '='; neither has a NUL",
                origin=str(origin),
            )
    return tuple(sorted(values.items()))


def layout_reference(text: str) -> tuple[str, str | None]:
    """Return the path, and the tag or digest, of ``PATH[:TAG][@DIGEST]``."""
    path, at, digest = text.partition("@")
    if at:
        return path, digest
    head, colon, tag = path.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (path, None)
