"""Small OCI images, made of a few files, with their blobs in memory."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faulty_registry import FaultyRegistry

from imagekit.digest import Digest
from imagekit.oci import model
from imagekit.oci.layout import Layout, write_layout
from imagekit.oci.model import Descriptor
from imagekit.platform import Platform

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")

GLIBC = b"GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\n"
MUSL = b"musl libc\0\x001.2.5\0Version %s\n"
PROGRAM = b"\x7fELF" + bytes(60) + b"/lib64/ld-linux-x86-64.so.2\0"
MUSL_PROGRAM = b"\x7fELF" + bytes(60) + b"/lib/ld-musl-x86_64.so.1\0"


@dataclass(frozen=True)
class Link:
    target: str


@dataclass(frozen=True)
class HardLink:
    target: str


class Folder:
    """A directory entry."""


File = bytes | Link | HardLink | Folder


def tar(files: dict[str, File]) -> bytes:
    """Return an uncompressed layer; files in a folder ``bin`` can be executed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, file in files.items():
            entry = tarfile.TarInfo(name)
            entry.mode = 0o755 if isinstance(file, Folder) or "bin/" in name else 0o644
            content = b""
            match file:
                case bytes():
                    content = file
                case Link():
                    entry.type, entry.linkname = tarfile.SYMTYPE, file.target
                case HardLink():
                    entry.type, entry.linkname = tarfile.LNKTYPE, file.target
                case Folder():
                    entry.type = tarfile.DIRTYPE
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@dataclass
class Images:
    """Blobs by digest."""

    blobs: dict[Digest, bytes] = field(default_factory=dict)

    def add(
        self, content: bytes, media_type: str, platform: Platform | None = None
    ) -> Descriptor:
        descriptor = Descriptor.of(content, media_type, platform=platform)
        self.blobs[descriptor.digest] = content
        return descriptor

    def open(self, descriptor: Descriptor) -> Iterable[bytes]:
        return [self.blobs[descriptor.digest]]

    def image(
        self,
        *layers: dict[str, File],
        platform: Platform = AMD64,
        env: Sequence[str] = (),
        history: Sequence[str] = (),
        extra: dict[str, Any] | None = None,
        media_type: str = model.MANIFEST,
    ) -> Descriptor:
        """Add an image with gzip layers, and return its manifest's descriptor."""
        docker = media_type == model.DOCKER_MANIFEST
        tars = [tar(files) for files in layers]
        document = {
            "os": platform.os,
            "architecture": platform.architecture,
            "config": {"Env": list(env)},
            "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(t)) for t in tars]},
            "history": [{"created_by": step} for step in history],
            **(extra or {}),
        }
        layer_type = model.DOCKER_LAYER_GZIP if docker else model.LAYER_GZIP
        manifest = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": self.add(
                model.canonical_json(document),
                model.DOCKER_CONFIG if docker else model.CONFIG,
            ).to_json(),
            "layers": [
                self.add(gzip.compress(t, mtime=0), layer_type).to_json() for t in tars
            ],
        }
        return self.add(model.canonical_json(manifest), media_type, platform)

    def index(self, *images: Descriptor) -> Descriptor:
        return self.add(model.index(images), model.INDEX)

    def layout(self, path: Path, root: Descriptor, *tags: str) -> Layout:
        return write_layout(path, root, self.open, tags=tags)

    def push(
        self, registry: FaultyRegistry, repository: str, tag: str, root: Descriptor
    ) -> None:
        """Put everything into the registry, with *root* under *tag*."""
        for content in self.blobs.values():
            registry.add_blob(repository, content)
            if content.startswith(b'{"') and b'"schemaVersion":2' in content:
                media_type = model.read_document(content).media_type
                registry.add_manifest(repository, content, media_type)
        content = self.blobs[root.digest]
        registry.add_manifest(repository, content, root.media_type, tag)


def python_files(minor: int = 11) -> dict[str, File]:
    """Return a layer like Debian's: a merged /usr, a Python, glibc."""
    return {
        "bin": Link("usr/bin"),
        "lib": Link("usr/lib"),
        "usr/": Folder(),
        "usr/bin/": Folder(),
        "usr/lib/": Folder(),
        f"usr/bin/python3.{minor}": PROGRAM,
        "usr/bin/python3": Link(f"python3.{minor}"),
        "usr/lib/x86_64-linux-gnu/libc.so.6": GLIBC,
    }
