"""The result by way of the classic image store, which gives no OCI layouts.

The image gets a name in the engine that nobody else uses, is read out, and loses the
name again. So does a base that is an OCI layout, which this BuildKit can't read.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from imagekit.builder import BuilderContext
from imagekit.digest import Digest
from imagekit.errors import BuilderError, LayoutError
from imagekit.oci.docker import Docker
from imagekit.oci.engine import load
from imagekit.oci.layout import Layout
from imagekit.oci.model import Descriptor, read_manifest
from imagekit.plan import BaseImage, LayerDescriptor
from imagekit.progress import Note
from imagekit.reference import Reference
from imagekit.store import Store
from imagekit_buildkit.clamped_layer import clamped_layer
from imagekit_buildkit.docker_cli import DockerCLI
from imagekit_buildkit.made import Made, diff_ids_above
from imagekit_buildkit.workspace import Workspace, is_abandoned, remove_abandoned

_REPOSITORY = "imagekit-build"
_BLOBS = "blobs/sha256/"
_LARGEST_CONFIG = 32 << 20
_SECONDS = 60


class TemporaryNames:
    """The names that one solve gives to images of an engine, and takes away again.

    Used as a context manager. Names of solves that were killed go with them.
    """

    def __init__(self, docker: DockerCLI, store: Store, place: Workspace) -> None:
        self._docker = docker
        self._store = store
        self._place = place

    @property
    def base(self) -> str:
        """The name of the base."""
        return f"{_REPOSITORY}/{self._place.id}:base"

    @property
    def result(self) -> str:
        """The name of the result."""
        return f"{_REPOSITORY}/{self._place.id}:result"

    def __enter__(self) -> Self:
        for name in self._names():
            identifier = name.removeprefix(f"{_REPOSITORY}/").partition(":")[0]
            if is_abandoned(self._store, identifier):
                self._remove([name])
                remove_abandoned(self._store, identifier)
        return self

    def __exit__(self, *_exc: object) -> None:
        own = f"{_REPOSITORY}/{self._place.id}:"
        self._remove([name for name in self._names() if name.startswith(own)])

    def _names(self) -> list[str]:
        form = "{{.Repository}}:{{.Tag}}"
        asked = ("image", "ls", "--format", form, f"{_REPOSITORY}/*")
        try:
            return self._docker.run(*asked, seconds=_SECONDS).stdout.split()
        except BuilderError:
            return []  # the engine is gone; the names go when it is back

    def _remove(self, names: list[str]) -> None:
        if names:
            self._docker.run("image", "rm", *names, seconds=_SECONDS)


def load_base(
    base: BaseImage, folder: Path, name: str, docker: DockerCLI, context: BuilderContext
) -> str:
    """Bring *base* out of the layout *folder* into the engine; return its context."""
    layout = Layout(folder)
    path = layout.blob_path(base.manifest)
    content = path.read_bytes()
    root = Descriptor.of(content, read_manifest(content).media_type)
    load(
        root,
        lambda descriptor: layout.blob_path(descriptor.digest),
        names=[Reference.parse(name)],
        platform=base.platform,
        docker=engine_of(docker),
    )
    context.progress(Note(f"gave the engine the base {base.name}"))
    return f"docker-image://{name}"


def engine_of(docker: DockerCLI) -> Docker:
    """Return the same command for images of the engine."""
    return Docker(environment=docker.environment)


def read_loaded(
    name: str, base: BaseImage | None, docker: DockerCLI, store: Store, created: int
) -> Made:
    """Bring the image *name* out of the engine into *store*.

    Its layers come as they are in the engine: not compressed, with the time stamps of
    the build. Here they get those of *created* at most, and are compressed.

    Raises:
        LayoutError: what the engine gave is invalid.
        BuildFailedError: it is not on top of *base*.
    """
    engine = engine_of(docker)
    image = engine.image_id(name)
    if image is None:
        raise LayoutError(f"the engine has no image {name!r}, which it has just built")
    found = _Archive(image, base, created, store)
    with (
        engine.save(name) as stream,
        tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 20) as archive,
    ):
        for member in archive:
            found.take(archive, member)
    return found.made()


class _Archive:
    """What is of use in an archive of the engine, in whatever order it comes."""

    def __init__(
        self, image: Digest, base: BaseImage | None, created: int, store: Store
    ) -> None:
        self._image = image
        self._base = base
        self._created = created
        self._store = store
        self._below = {layer.diff_id for layer in base.layers} if base else set()
        self._config: bytes | None = None
        self._layers: dict[Digest, LayerDescriptor] = {}
        self._reused: set[Digest] = set()

    def take(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        name = member.name.removeprefix(_BLOBS)
        if not member.isreg() or name == member.name:
            return
        digest = Digest.parse(f"sha256:{name}")
        file = archive.extractfile(member)
        assert file is not None
        if digest == self._image and member.size <= _LARGEST_CONFIG:
            self._config = file.read()
        elif digest not in self._below and _is_tar(member.size):
            # Layers are named by their diff id here, and documents are no tars.
            head = file.read(1)
            if head != b"{":
                layer, known = clamped_layer(head, file, self._created, self._store)
                self._layers[digest] = layer
                if known:
                    self._reused.add(layer.digest)

    def made(self) -> Made:
        if self._config is None or Digest.of(self._config) != self._image:
            raise LayoutError(f"no config {self._image} in the engine's archive")
        diff_ids = diff_ids_above(self._config, self._base)
        missing = [digest for digest in diff_ids if digest not in self._layers]
        if missing:
            raise LayoutError(f"no layers {_text(missing)} in the engine's archive")
        return Made(
            config=self._config,
            base=self._base.layers if self._base else (),
            layers=tuple(self._layers[digest] for digest in diff_ids),
            reused=frozenset(self._reused),
        )


def _is_tar(size: int) -> bool:
    return size > 0 and size % 512 == 0


def _text(digests: Iterable[Digest]) -> str:
    return ", ".join(map(str, digests))
