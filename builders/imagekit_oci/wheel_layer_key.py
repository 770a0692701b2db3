"""Keys of layers of wheels, without what makes the layers: it is seldom needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from imagekit.canonical import fingerprint
from imagekit.plan import Distribution, Interpreter
from imagekit_oci.layer_writer import FORMAT
from imagekit_oci.paths import Links


def wheel_layer_key(
    distributions: Sequence[Distribution],
    *,
    interpreter: Interpreter,
    prefix: str,
    mtime: int,
    links: Mapping[str, str] | Iterable[tuple[str, str]] = (),
) -> str:
    """Return the key of what ``write_wheel_layer`` makes of these inputs.

    It has nothing of the interpreter but its minor version: scripts begin with the
    environment's own ``bin/python``, so bases that have Python elsewhere share layers.
    """
    wheels = sorted(
        (item.name, item.sha256, item.requested, item.direct_url)
        for item in distributions
    )
    value = _Inputs(
        format=FORMAT,
        wheels=tuple(wheels),
        python=interpreter.version,
        prefix=prefix,
        root=Links(links).folder(prefix),
        mtime=mtime,
    )
    return fingerprint("wheel-layer", value)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inputs:
    """What decides the bytes of a layer of wheels."""

    kind: ClassVar[str] = "wheel-layer"

    format: int
    wheels: tuple[tuple[str, str, bool, str | None], ...]
    python: tuple[int, int]
    prefix: str
    root: str
    mtime: int
