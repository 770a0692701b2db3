"""Image configs (config.md): what an image runs, and the history of its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imagekit.digest import Digest
from imagekit.errors import InvalidDigestError, LayoutError
from imagekit.oci.document import canonical_json, read_json
from imagekit.platform import Platform
from imagekit.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """A view of an image config.

    Attributes:
        platform: what the image is for; None where the config does not say.
        env: environment variables in order, the last of a name wins.
        diff_ids: digests of the uncompressed layers, bottom first.
        history: texts that say how each step was made.
    """

    platform: Platform | None
    variant: str | None
    env: tuple[tuple[str, str], ...]
    workdir: str
    user: str
    diff_ids: tuple[Digest, ...]
    history: tuple[str, ...]


def read_config(content: bytes) -> ImageConfig:
    """Return a view of an image config.

    Raises:
        LayoutError: the bytes are not an image config.
    """
    document = read_json(content, "image config")
    runtime = document.get("config") or {}
    os, architecture = document.get("os"), document.get("architecture")
    try:
        return ImageConfig(
            platform=Platform(os, architecture) if os and architecture else None,
            variant=document.get("variant") or None,
            env=tuple(_pair(item) for item in runtime.get("Env") or ()),
            workdir=runtime.get("WorkingDir") or "",
            user=runtime.get("User") or "",
            diff_ids=tuple(Digest.parse(text) for text in _diff_ids(document)),
            history=tuple(
                str(step.get("created_by") or "")
                for step in document.get("history") or ()
            ),
        )
    except (AttributeError, TypeError, InvalidDigestError) as error:
        raise LayoutError(f"invalid image config: {error}") from error


def image_config(
    base_config: bytes,
    *,
    diff_ids: Sequence[Digest],
    history: Sequence[Mapping[str, Any]],
    created: str,
    env: Sequence[tuple[str, str]] = (),
    workdir: str | None = None,
    user: str | None = None,
    entrypoint: Sequence[str] | None = None,
    cmd: Sequence[str] | None = None,
    labels: Sequence[tuple[str, str]] = (),
) -> bytes:
    """Return the base's config with what is asked changed, and all else kept.

    Args:
        base_config: config of the base, as JSON.
        diff_ids: uncompressed digests of the layers on top of the base's.
        history: how they were made (config.md, "history"); one entry that is not
            ``empty_layer`` for each of them.
        created: time stamp (RFC 3339).
        env: variables that are added or replaced, where the base has them.
        workdir: working directory; None keeps it.
        user: user that the image runs as; None keeps it.
        entrypoint: program that is run; None keeps it.
        cmd: its default arguments; None keeps them.
        labels: labels that are added or replaced.

    Raises:
        LayoutError: *base_config* is not an image config.
    """
    document = read_json(base_config, "image config")
    runtime = dict(document.get("config") or {})
    if env:
        runtime["Env"] = _merged_env(runtime.get("Env") or (), env)
    if labels:
        runtime["Labels"] = (runtime.get("Labels") or {}) | dict(labels)
    changes = {
        "WorkingDir": workdir,
        "User": user,
        "Entrypoint": None if entrypoint is None else list(entrypoint),
        "Cmd": None if cmd is None else list(cmd),
    }
    runtime.update(
        (name, value) for name, value in changes.items() if value is not None
    )
    below = _diff_ids(document)
    document["config"] = runtime
    document["created"] = created
    document["rootfs"] = {"type": "layers", "diff_ids": [*below, *map(str, diff_ids)]}
    document["history"] = [
        *_history_of_base(document.get("history") or [], len(below)),
        *map(dict, history),
    ]
    return canonical_json(document)


def scratch_config(platform: Platform) -> bytes:
    """Return the config of an image without layers, to start from."""
    return canonical_json(
        {
            "os": platform.os,
            "architecture": platform.architecture,
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": []},
        }
    )


def _pair(item: str) -> tuple[str, str]:
    name, _, value = item.partition("=")
    return name, value


def _diff_ids(document: dict[str, Any]) -> list[str]:
    rootfs = document.get("rootfs") or {}
    diff_ids = rootfs.get("diff_ids") or []
    if not isinstance(diff_ids, list):
        raise LayoutError(f"wanted a list of diff_ids, found {diff_ids!r}")
    return diff_ids


def _merged_env(old: Sequence[str], new: Sequence[tuple[str, str]]) -> list[str]:
    """Replace variables where they stand, and append new ones."""
    variables = dict(_pair(item) for item in old)
    variables.update(new)
    return [f"{name}={value}" for name, value in variables.items()]


def _history_of_base(steps: list[Any], layers: int) -> list[Any]:
    """Return the base's history with one entry a layer.

    Images that were imported or squashed have none or too few, and tools that match
    history to layers would then show ours beside the wrong layers.
    """
    known = sum(1 for step in steps if not step.get("empty_layer"))
    if known > layers:
        steps, known = [], 0
    missing = {"created_by": "layer of the base image"}
    return [*steps, *(dict(missing) for _ in range(layers - known))]
