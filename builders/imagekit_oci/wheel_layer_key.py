"""Keys of layers of wheels, without what makes the layers: it is seldom needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from imagekit.base_paths import Links
from imagekit.canonical import fingerprint
from imagekit.plan import Distribution, Interpreter
from imagekit.records import dataclass
from imagekit_oci.layer_writer import FORMAT


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
    value = _Inputs(
        format=FORMAT,
        wheels=_wheels(distributions),
        python=interpreter.version,
        prefix=prefix,
        root=Links(links).folder(prefix),
        mtime=mtime,
    )
    return fingerprint("wheel-layer", value)


def removal_layer_key(
    gone: Iterable[Distribution],
    kept: Iterable[Distribution],
    *,
    interpreter: Interpreter,
    prefix: str,
    mtime: int,
    links: Mapping[str, str] | Iterable[tuple[str, str]] = (),
) -> str:
    """Return the key of what ``write_removal_layer`` makes of these inputs."""
    value = _Inputs(
        format=FORMAT,
        wheels=_wheels(kept),
        gone=_wheels(gone),
        python=interpreter.version,
        prefix=prefix,
        root=Links(links).folder(prefix),
        mtime=mtime,
    )
    return fingerprint("removal-layer", value)


def _wheels(
    distributions: Iterable[Distribution],
) -> tuple[tuple[str, str, bool, str | None], ...]:
    return tuple(
        sorted(
            (item.name, item.sha256, item.requested, item.direct_url)
            for item in distributions
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inputs:
    """What decides the bytes of a layer of wheels."""

    kind: ClassVar[str] = "wheel-layer"

    format: int
    wheels: tuple[tuple[str, str, bool, str | None], ...]
    gone: tuple[tuple[str, str, bool, str | None], ...] = ()
    python: tuple[int, int]
    prefix: str
    root: str
    mtime: int
