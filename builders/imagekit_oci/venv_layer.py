"""The layer of an empty virtual environment (PEP 405) on the base's own Python."""

from __future__ import annotations

from typing import ClassVar

from imagekit import venv
from imagekit.base_paths import BASE_FOLDERS, Links, folders_of, sort_key
from imagekit.canonical import fingerprint
from imagekit.oci import tar
from imagekit.plan import Interpreter, LayerDescriptor
from imagekit.records import dataclass
from imagekit.store import Store
from imagekit_oci.layer_writer import FORMAT, LayerWriter
from imagekit_oci.tree_layer import LinkTable

_FILE = 0o644
_FOLDER = 0o755
_LINK = 0o777


def write_venv_layer(
    store: Store,
    interpreter: Interpreter,
    prefix: str,
    *,
    mtime: int,
    links: LinkTable = (),
) -> LayerDescriptor:
    """Write a layer that holds an empty virtual environment.

    It is the only layer with entries for *prefix* and the folders above it; all others
    begin below.

    Args:
        store: where the blob goes.
        interpreter: the base's Python, which the environment uses.
        prefix: absolute path of the environment.
        mtime: time stamp of all entries, in seconds since the epoch.
        links: symbolic links of the base; entries go where they lead to.

    Raises:
        StoreError: the blob can't be written.
    """
    resolved = Links(links)
    root = resolved.folder(prefix)
    symlinks = {f"{root}/{path}": to for path, to in venv.symlinks(interpreter).items()}
    config = f"{root}/pyvenv.cfg"
    site = f"{root}/{venv.library(interpreter)}/site-packages"
    folders = folders_of((*symlinks, config, f"{site}/."), below="")
    # /opt is there for what is added to a system, so a base may lack it.
    folders -= BASE_FOLDERS - {"opt"}
    with LayerWriter(store) as layer:
        for path in sorted((*folders, *symlinks, config), key=sort_key):
            if path == config:
                text = venv.configuration(interpreter)
                layer.small(
                    tar.header(path, type="0", mode=_FILE, size=len(text), mtime=mtime)
                )
                layer.large((text,))
            elif path in folders:
                layer.small(tar.header(path, type="5", mode=_FOLDER, mtime=mtime))
            else:
                target = symlinks[path]
                layer.small(
                    tar.header(path, type="2", mode=_LINK, mtime=mtime, linkname=target)
                )
        return layer.commit()


def venv_layer_key(
    interpreter: Interpreter, prefix: str, *, mtime: int, links: LinkTable = ()
) -> str:
    """Return the key of what :func:`write_venv_layer` makes of these inputs."""
    value = _Inputs(
        format=FORMAT,
        python=interpreter.path,
        version=interpreter.version,
        full_version=interpreter.full_version,
        prefix=prefix,
        root=Links(links).folder(prefix),
        mtime=mtime,
    )
    return fingerprint("venv-layer", value)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inputs:
    """What decides the bytes of the layer."""

    kind: ClassVar[str] = "venv-layer"

    format: int
    python: str
    version: tuple[int, int]
    full_version: str
    prefix: str
    root: str
    mtime: int
