"""Base images to build on: a tiny one of our own, or the caller's, both dressed up.

Dressing changes the config only: a base whose user, labels or working directory are
empty could not show that a builder drops them.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imagekit.digest import Digest
from imagekit.errors import BaseNotFoundError, BaseUnsuitableError
from imagekit.layers import LayoutBase
from imagekit.oci import model
from imagekit.oci.closure import Content
from imagekit.oci.document import canonical_json, read_json
from imagekit.oci.layout import Layout, write_layout
from imagekit.oci.registry import Registries
from imagekit.oci.select import find_image
from imagekit.origin import SourcePath
from imagekit.plan import BaseImage
from imagekit.platform import Platform
from imagekit.resolve.base import resolve_base
from imagekit.store import Store

_LOADERS = {"amd64": "ld-linux-x86-64.so.2", "arm64": "ld-linux-aarch64.so.1"}
_GLIBC = b"GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\n"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: What the config of a base may say, and every image built on it has to say too.
_DRESS: dict[str, Any] = {
    "User": "65534:65534",
    "WorkingDir": "/tmp",  # noqa: S108  (a path of the image)
    "Labels": {"org.example.conformance": 'kept, with "quotes" and $signs'},
    "ExposedPorts": {"8080/tcp": {}},
    "Entrypoint": ["/bin/sh", "-c"],
    "Cmd": ["echo 'kept'"],
    "StopSignal": "SIGUSR1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """An entry of a layer of the tiny base."""

    content: bytes = b""
    mode: int = 0o644
    type: bytes = tarfile.REGTYPE
    target: str = ""
    owner: int = 0


def tiny_layout(folder: Path, platforms: Iterable[Platform]) -> Path:
    """Write a base image for each platform, in which nothing can be executed.

    It looks like a Debian with a merged ``/usr`` and a Python: enough for builders that
    execute nothing.
    """
    images = [_tiny_image(platform) for platform in platforms]
    blobs = {key: blob for _, found in images for key, blob in found.items()}
    index = model.index([descriptor for descriptor, _ in images])
    root = model.Descriptor.of(index, model.INDEX)
    blobs[root.digest] = index
    write_layout(folder, root, lambda item: [blobs[item.digest]])
    return folder


def dressed_layout(source: Path, folder: Path, platforms: Iterable[Platform]) -> Path:
    """Write the images of the layout *source*, with configs that say a lot."""
    layout = Layout.open(source)
    changed: dict[Digest, bytes] = {}
    manifests = []
    for platform in platforms:
        found = find_image(layout.resolve(), platform, layout.read)
        if found is None:
            continue
        document = read_json(found.config_bytes, "image config")
        document["config"] = {**(document.get("config") or {}), **_DRESS}
        config = canonical_json(document)
        manifest = model.manifest(
            model.Descriptor.of(config, model.CONFIG), found.manifest.layers
        )
        descriptor = model.Descriptor.of(manifest, model.MANIFEST, platform=platform)
        changed |= {Digest.of(config): config, descriptor.digest: manifest}
        manifests.append(descriptor)
    index = model.index(manifests)
    root = model.Descriptor.of(index, model.INDEX)
    changed[root.digest] = index

    def content(descriptor: model.Descriptor) -> Content:
        known = changed.get(descriptor.digest)
        return layout.blob_path(descriptor.digest) if known is None else [known]

    write_layout(folder, root, content)
    return folder


def pinned_bases(
    layout: Path, platforms: Sequence[Platform], store: Store
) -> dict[Platform, BaseImage]:
    """Return the image of *layout* for each of *platforms* that it is for."""
    base = LayoutBase(path=SourcePath(name="conformance", location=str(layout)))
    found = {}
    with Registries() as registries:
        for platform in platforms:
            try:
                found[platform] = _pinned(base, platform, registries, store)
            except BaseNotFoundError:
                continue
    return found


def _pinned(
    base: LayoutBase, platform: Platform, registries: Registries, store: Store
) -> BaseImage:
    def resolve(*, python: bool, links: bool = True) -> BaseImage:
        return resolve_base(
            base,
            platform,
            registries=registries,
            store=store,
            need_python=python,
            need_links=links,
        )

    here = resolve(python=False, links=False)
    # Its layers are read once a process: that takes longer than most laws.
    if here.manifest not in _PINNED:
        try:
            _PINNED[here.manifest] = resolve(python=True)
        except BaseUnsuitableError:  # it has no Python; what needs one is left out
            _PINNED[here.manifest] = resolve(python=False)
    return replace(_PINNED[here.manifest], source=here.source)


_PINNED: dict[Digest, BaseImage] = {}


def _tiny_image(
    platform: Platform,
) -> tuple[model.Descriptor, dict[Digest, bytes]]:
    tars = [_tar(_lower(platform)), _tar(_upper())]
    layers = [gzip.compress(tar, 6, mtime=0) for tar in tars]
    config = canonical_json(
        {
            "os": platform.os,
            "architecture": platform.architecture,
            "created": "2020-01-01T00:00:00Z",
            "config": {"Env": [f"PATH={_PATH}", "PYTHON_VERSION=3.11.9", "KEPT=a b"]},
            "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(t)) for t in tars]},
            "history": [{"created_by": "lower"}, {"created_by": "upper"}],
        }
    )
    descriptors = [model.Descriptor.of(layer, model.LAYER_GZIP) for layer in layers]
    manifest = model.manifest(model.Descriptor.of(config, model.CONFIG), descriptors)
    blobs = {Digest.of(blob): blob for blob in (*layers, config, manifest)}
    return model.Descriptor.of(manifest, model.MANIFEST, platform=platform), blobs


def _lower(platform: Platform) -> dict[str, _File]:
    folders = """
        etc home opt root run srv tmp usr usr/bin usr/lib usr/local usr/local/bin
        usr/sbin var var/lib
    """.split()  # noqa: SIM905  (a name a line would be a page)
    triple = f"{platform.machine}-linux-gnu"
    program = (
        b"\x7fELF" + bytes(60) + b"/lib/" + _LOADERS[platform.architecture].encode()
    )
    return {
        **{name: _File(type=tarfile.DIRTYPE, mode=0o755) for name in folders},
        "root": _File(type=tarfile.DIRTYPE, mode=0o700),
        "tmp": _File(type=tarfile.DIRTYPE, mode=0o1777),
        "home/user": _File(type=tarfile.DIRTYPE, mode=0o750, owner=1000),
        "bin": _File(type=tarfile.SYMTYPE, target="usr/bin"),
        "lib": _File(type=tarfile.SYMTYPE, target="usr/lib"),
        "sbin": _File(type=tarfile.SYMTYPE, target="usr/sbin"),
        "var/run": _File(type=tarfile.SYMTYPE, target="/run"),
        "usr/bin/python3.11": _File(content=program, mode=0o755),
        "usr/bin/python3": _File(type=tarfile.SYMTYPE, target="python3.11"),
        "usr/bin/same": _File(type=tarfile.LNKTYPE, target="usr/bin/python3.11"),
        "usr/bin/setuid": _File(content=b"#!", mode=0o4755),
        f"usr/lib/{triple}/libc.so.6": _File(content=_GLIBC, mode=0o755),
        "etc/changed": _File(content=b"lower\n"),
        "etc/deleted": _File(content=b"deleted above\n"),
        "etc/owned": _File(content=b"owned\n", mode=0o640, owner=1000),
    }


def _upper() -> dict[str, _File]:
    return {
        "etc/.wh.deleted": _File(),
        "etc/changed": _File(content=b"upper\n"),
    }


def _tar(files: dict[str, _File]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, file in files.items():
            entry = tarfile.TarInfo(name)
            entry.mode, entry.type, entry.linkname = file.mode, file.type, file.target
            entry.uid = entry.gid = file.owner
            entry.size = len(file.content)
            archive.addfile(entry, io.BytesIO(file.content))
    return buffer.getvalue()
