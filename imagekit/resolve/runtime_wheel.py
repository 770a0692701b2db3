"""The running installation as a wheel, so that it installs like any distribution."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from imagekit import __version__
from imagekit.canonical import fingerprint
from imagekit.digest import Digest
from imagekit.errors import SourceChangedError
from imagekit.plan import Distribution
from imagekit.sources import Entry, Tree
from imagekit.store import Store

_NAME = f"imagekit-{__version__}"
_FILENAME = f"{_NAME}-py3-none-any.whl"

# No requirements: what runs tasks in an image needs the standard library only.
_METADATA = f"""\
Metadata-Version: 2.4
Name: imagekit
Version: {__version__}
Summary: The imagekit runtime
"""
_WHEEL = """\
Wheel-Version: 1.0
Generator: imagekit
Root-Is-Purelib: true
Tag: py3-none-any
"""


def runtime_wheel(tree: Tree, store: Store) -> Distribution:
    """Return the wheel of *tree*, made on first use and kept in the store."""
    key = fingerprint("runtime-wheel", (tree.digest, __version__))
    known = store.read_record("runtime", key)
    if known is None or not store.wheel_path(known["sha256"], _FILENAME).exists():
        known = _make(tree, store)
        store.write_record("runtime", key, known)
    return Distribution(
        name="imagekit",
        version=__version__,
        filename=_FILENAME,
        sha256=known["sha256"],
        size=known["size"],
        requested=True,
    )


def _make(tree: Tree, store: Store) -> dict[str, Any]:
    import zipfile  # noqa: PLC0415  (only when the runtime has changed)

    members = [(entry.path, _read(entry)) for entry in tree.entries if entry.sha256]
    members += [
        (f"{_NAME}.dist-info/METADATA", _METADATA.encode()),
        (f"{_NAME}.dist-info/WHEEL", _WHEEL.encode()),
    ]
    record = "".join(f"{path},{_hash(data)},{len(data)}\n" for path, data in members)
    record += f"{_NAME}.dist-info/RECORD,,\n"
    members.append((f"{_NAME}.dist-info/RECORD", record.encode()))
    import tempfile  # noqa: PLC0415  (slow to import)

    with tempfile.TemporaryDirectory(dir=store.temporary(), prefix="runtime-") as name:
        whole = Path(name) / _FILENAME
        # Stored, not deflated: the bytes must not depend on a zlib.
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive:
            for path, data in members:
                info = zipfile.ZipInfo(path)
                info.external_attr = 0o100644 << 16
                archive.writestr(info, data)
        data = whole.read_bytes()
        digest = Digest.of(data).hex
        store.add_wheel(whole, digest, _FILENAME)
    return {"sha256": digest, "size": len(data)}


def _read(entry: Entry) -> bytes:
    data = Path(entry.location).read_bytes()
    if Digest.of(data).hex != entry.sha256:
        raise SourceChangedError(f"{entry.location!r} changed while it was read")
    return data


def _hash(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
    return f"sha256={digest.rstrip(b'=').decode()}"
