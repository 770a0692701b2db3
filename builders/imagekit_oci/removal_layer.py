"""Layers that take distributions away which layers below have installed.

This is only needed where something ran in between and may have seen them: otherwise
what is replaced is never installed in the first place.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence

from imagekit.base_paths import Links, folders_of, sort_key
from imagekit.oci import tar
from imagekit.plan import Interpreter, LayerDescriptor
from imagekit.store import Store
from imagekit_oci.install import Installation, venv_paths
from imagekit_oci.layer_writer import LayerWriter
from imagekit_oci.wheel import Wheel
from imagekit_oci.wheel_layer import WheelFile

_MODE = 0o644


def write_removal_layer(
    store: Store,
    gone: Sequence[WheelFile],
    kept: Sequence[WheelFile],
    *,
    interpreter: Interpreter,
    prefix: str,
    mtime: int,
    links: Mapping[str, str] | Iterable[tuple[str, str]] = (),
) -> LayerDescriptor:
    """Write a layer that deletes the files of *gone* (OCI layer.md, "Whiteouts").

    A folder that nothing of *kept* is in goes as a whole. In others, so does the
    bytecode that commands may have left: all files have one time stamp, so Python could
    take it for that of a new file of the same size.

    Args:
        store: where the blob goes.
        gone: wheels that are installed below, and must not be seen any more.
        kept: wheels that are installed in the end.
        interpreter: the Python of the environment.
        prefix: absolute path of the environment.
        mtime: time stamp of all entries, in seconds since the epoch.
        links: symbolic links of the base.

    Raises:
        BuildFailedError: a wheel is damaged.
        StoreError: the blob can't be written.
    """
    root = Links(links).folder(prefix)
    paths = _paths(gone, interpreter, prefix)
    stay = _paths(kept, interpreter, prefix) | set(venv_paths(interpreter))
    with LayerWriter(store) as layer:
        for path in sorted(_topmost(paths, stay), key=sort_key):
            folder, name = posixpath.split(f"{root}/{path}")
            marker = f"{folder}/.wh.{name}"
            layer.small(tar.header(marker, type="0", mode=_MODE, mtime=mtime))
        return layer.commit()


def _paths(
    wheels: Sequence[WheelFile], interpreter: Interpreter, prefix: str
) -> set[str]:
    found: set[str] = set()
    for location, distribution in wheels:
        with Wheel.open(location) as wheel:
            installation = Installation(
                wheel, distribution, interpreter=interpreter, prefix=prefix
            )
            found.update(file.path for file in installation.files)
    return found


def _topmost(gone: set[str], stay: set[str]) -> set[str]:
    """Return the fewest paths that stand for all of *gone* and for nothing else."""
    needed = folders_of(stay, below="")
    caches = {
        f"{posixpath.dirname(path)}/__pycache__"
        for path in gone
        if path.endswith(".py")
    }
    found = set()
    for path in (gone | caches) - stay - needed:
        top = path
        while (folder := posixpath.dirname(top)) and folder not in needed:
            top = folder
        found.add(top)
    return found
