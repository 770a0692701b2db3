"""What BuildKit made, before it is an image of ours: its config and its layers."""

from __future__ import annotations

import json
from typing import Any

from imagekit.digest import Digest
from imagekit.errors import BuildFailedError
from imagekit.oci.config import read_config
from imagekit.plan import BaseImage, LayerDescriptor
from imagekit.records import dataclass

_REPORT = "report it, with the versions that 'docker version' prints"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What one solve gave. The blobs of layers above the base are in the store.

    Attributes:
        config: the image config as BuildKit wrote it.
        base: layers of the base, as the plan names them.
        layers: the layers above it.
        reused: digests of the layers that the store had before.
    """

    config: bytes
    base: tuple[LayerDescriptor, ...]
    layers: tuple[LayerDescriptor, ...]
    reused: frozenset[Digest]

    @property
    def history(self) -> tuple[dict[str, Any], ...]:
        """Return the history in the config."""
        return tuple(json.loads(self.config).get("history") or ())


def diff_ids_above(config: bytes, base: BaseImage | None) -> tuple[Digest, ...]:
    """Return the diff ids of the layers above *base*.

    Raises:
        BuildFailedError: the image is not on top of *base*.
    """
    found = read_config(config).diff_ids
    below = tuple(layer.diff_id for layer in base.layers) if base else ()
    if found[: len(below)] != below:
        raise BuildFailedError(
            f"wanted an image on top of the layers {_text(below)}, "
            f"found {_text(found)}",
            hint=_REPORT,
        )
    return found[len(below) :]


def _text(digests: tuple[Digest, ...]) -> str:
    return ", ".join(map(str, digests)) or "none"
