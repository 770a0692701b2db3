"""Layers of installed wheels, made without unpacking or compressing anything.

Two distributions should never install one path. Where they do with equal bytes (a
shared ``__init__.py``), nothing is lost. Where the bytes differ, an installer lets the
later one win, in whatever order it had; here the order is written down:

* inside a layer, the distribution whose name is later in the alphabet;
* between layers, the upper layer, as in every image.

:func:`overlaps` finds all of them, so that the build can say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

from imagekit.base_paths import Links, folders_of, sort_key
from imagekit.oci import tar
from imagekit.plan import Distribution, Interpreter, LayerDescriptor
from imagekit.records import dataclass
from imagekit.store import Store
from imagekit_oci.install import Installation, InstalledFile
from imagekit_oci.layer_writer import LayerWriter
from imagekit_oci.wheel import DEFLATED, Member, Wheel

_FILE = 0o644
_EXECUTABLE = 0o755

WheelFile: TypeAlias = tuple[Path, Distribution]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """A path that several distributions install.

    Attributes:
        path: relative to the environment.
        distributions: their names, sorted.
        equal: whether all of them install the same bytes.
    """

    path: str
    distributions: tuple[str, ...]
    equal: bool


def write_wheel_layer(
    store: Store,
    wheels: Sequence[WheelFile],
    *,
    interpreter: Interpreter,
    prefix: str,
    mtime: int,
    links: Mapping[str, str] | Iterable[tuple[str, str]] = (),
) -> LayerDescriptor:
    """Install *wheels* into one layer and return its descriptor.

    Memory stays flat whatever the size of the wheels.

    Args:
        store: where the blob goes.
        wheels: wheels that :func:`imagekit_oci.verify.verify_wheel` has accepted, and
            what they are; in any order.
        interpreter: the Python of the environment.
        prefix: absolute path of the environment.
        mtime: time stamp of all entries, in seconds since the epoch.
        links: symbolic links of the base.

    Raises:
        BuildFailedError: a wheel is damaged or can't be installed safely.
        StoreError: the blob can't be written.
    """
    root = Links(links).folder(prefix)
    with ExitStack() as stack:
        files: dict[str, tuple[InstalledFile, Installation, Wheel]] = {}
        for location, distribution in sorted(wheels, key=_name):
            wheel = stack.enter_context(Wheel.open(location))
            installation = Installation(
                wheel, distribution, interpreter=interpreter, prefix=prefix
            )
            for file in installation.files:
                files[f"{root}/{file.path}"] = file, installation, wheel
        layer = stack.enter_context(LayerWriter(store))
        folders = folders_of(files, below=root)
        for path in sorted((*files, *folders), key=sort_key):
            if path in folders:
                layer.small(tar.header(path, type="5", mode=_EXECUTABLE, mtime=mtime))
            else:
                _add(layer, path, *files[path], mtime)
        return layer.commit()


def overlaps(
    wheels: Sequence[WheelFile], *, interpreter: Interpreter, prefix: str
) -> tuple[Overlap, ...]:
    """Return the paths that more than one of *wheels* installs, sorted.

    Raises:
        BuildFailedError: a wheel can't be installed safely.
    """
    owners: dict[str, dict[str, tuple[str, bool]]] = {}
    for location, distribution in sorted(wheels, key=_name):
        with Wheel.open(location) as wheel:
            installation = Installation(
                wheel, distribution, interpreter=interpreter, prefix=prefix
            )
            for file in installation.files:
                found = owners.setdefault(file.path, {})
                found[distribution.name] = (file.line.hash, file.executable)
    return tuple(
        Overlap(
            path=path,
            distributions=tuple(found),
            equal=len(set(found.values())) == 1,
        )
        for path, found in sorted(owners.items())
        if len(found) > 1
    )


def _name(wheel: WheelFile) -> str:
    return wheel[1].name


def _add(
    layer: LayerWriter,
    path: str,
    file: InstalledFile,
    installation: Installation,
    wheel: Wheel,
    mtime: int,
) -> None:
    mode = _EXECUTABLE if file.executable else _FILE
    layer.small(tar.header(path, type="0", mode=mode, size=file.size, mtime=mtime))
    if not file.size:
        return
    content = file.content
    if isinstance(content, Member) and content.method == DEFLATED:
        layer.copy(wheel.deflated(content), crc=content.crc, size=content.size)
    else:
        layer.large(installation.chunks(content))
