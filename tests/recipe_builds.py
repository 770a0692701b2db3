"""Builds recipes with a real engine, and reads what came out, byte by byte."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine.engine import Engine
from wheel_maker import PYTHON

from imagekit.builder import WheelSource
from imagekit.digest import Digest
from imagekit.layers import LayoutBase
from imagekit.oci.registry import Registries
from imagekit.origin import Origin, SourcePath
from imagekit.plan import (
    BaseImage,
    Distribution,
    LayoutSource,
    Plan,
    PlatformPlan,
    RegistrySource,
    Step,
)
from imagekit.platform import Platform
from imagekit.resolve.base import resolve_bases
from imagekit.store import Store
from imagekit_buildkit.context import dockerfile_name, write_context
from imagekit_buildkit.lowering import lower
from imagekit_buildkit.recipe import Recipe

CREATED = 315619200


@dataclass(frozen=True)
class File:
    """An entry of a file tree; equal files have equal modes, owners and bytes."""

    kind: str
    mode: int
    owner: tuple[int, int]
    content: bytes = b""


@dataclass(frozen=True)
class Result:
    """What a build gave.

    Attributes:
        layers: the layers above the base, as tars.
    """

    config: dict[str, Any]
    layers: tuple[bytes, ...]
    log: str

    @property
    def env(self) -> dict[str, str]:
        return dict(item.partition("=")[::2] for item in self.config["config"]["Env"])

    @property
    def files(self) -> dict[str, File]:
        return flattened(self.layers)


class NoWheels:
    """For plans that install nothing."""

    def path(self, distribution: Distribution) -> Path:
        raise AssertionError(distribution)

    def measure(self, distribution: Distribution) -> int:
        raise AssertionError(distribution)


def plan_of(
    base: BaseImage, *steps: Step, installer: Distribution | None = None
) -> tuple[Plan, PlatformPlan]:
    platform = PlatformPlan(
        platform=base.platform, base=base, steps=steps, installer=installer
    )
    plan = Plan(
        identifier="ik1-x", content_id="ik1-y", platforms=(platform,), created=CREATED
    )
    return plan, platform


def recipe_of(
    base: BaseImage,
    *steps: Step,
    installer: Distribution | None = None,
    standalone: bool = False,
) -> Recipe:
    return lower(*plan_of(base, *steps, installer=installer), standalone=standalone)


def solve(
    engine: Engine,
    recipe: Recipe,
    folder: Path,
    *arguments: str,
    wheels: WheelSource | None = None,
    environ: Mapping[str, str] | None = None,
) -> Result:
    """Build *recipe*; its base is in an OCI layout."""
    context = folder / "context"
    write_context(recipe, context, wheels or NoWheels())
    done = docker_build(
        engine,
        context,
        *("--file", str(context / dockerfile_name(recipe))),
        *(f"--build-arg={name}={value}" for name, value in recipe.build_args),
        *_base(recipe),
        *arguments,
        output=folder / "image.tar",
        environ=environ or {},
    )
    assert done.returncode == 0, done.stderr
    return read_image(folder / "image.tar", recipe.base, done.stderr)


def docker_build(
    engine: Engine,
    context: Path,
    *arguments: str,
    output: Path,
    environ: Mapping[str, str] = {},
) -> subprocess.CompletedProcess[str]:
    exported = f"type=oci,dest={output},rewrite-timestamp=true"
    return subprocess.run(
        [
            *(engine.client, "buildx", "build", "--progress=plain"),
            *("--provenance=false", f"--build-arg=SOURCE_DATE_EPOCH={CREATED}"),
            *("--output", exported, *arguments, str(context)),
        ],
        env={**engine.environment, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def _base(recipe: Recipe) -> list[str]:
    if recipe.base is None:
        return []
    source = recipe.base.source
    assert isinstance(source, LayoutSource)
    place = f"oci-layout://{source.path}@{recipe.base.manifest}"
    return ["--build-context", f"base={place}"]


def read_image(path: Path, base: BaseImage | None, log: str = "") -> Result:
    """Return the image in an OCI archive, and delete the archive."""
    with tarfile.open(path) as archive:
        names = {item.name: item for item in archive}

        def blob(digest: str) -> bytes:
            file = archive.extractfile(names[f"blobs/sha256/{digest[7:]}"])
            assert file is not None
            return file.read()

        file = archive.extractfile(names["index.json"])
        assert file is not None
        document = json.loads(file.read())
        while "manifests" in document:
            document = json.loads(blob(document["manifests"][0]["digest"]))
        below = len(base.layers) if base else 0
        result = Result(
            config=json.loads(blob(document["config"]["digest"])),
            layers=tuple(
                gzip.decompress(blob(layer["digest"]))
                for layer in document["layers"][below:]
            ),
            log=log,
        )
    path.unlink()
    return result


def flattened(layers: Iterable[bytes]) -> dict[str, File]:
    """Return the files of *layers*, the upper ones in place of the lower ones.

    A whiteout stays, as an entry, where it may hide something of the base.
    """
    found: dict[str, File] = {}
    for layer in layers:
        with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
            for item in archive:
                folder, _, name = item.name.rstrip("/").rpartition("/")
                if name.startswith(".wh."):
                    hidden = f"{folder}/{name[4:]}" if folder else name[4:]
                    for path in [*found]:
                        if f"{path}/".startswith(f"{hidden}/"):
                            del found[path]
                found[item.name.rstrip("/")] = _file(archive, item)
    return found


def _file(archive: tarfile.TarFile, item: tarfile.TarInfo) -> File:
    owner = (item.uid, item.gid)
    if item.isdir():
        return File("folder", item.mode, owner)
    if item.issym():
        return File("link", 0o777, owner, item.linkname.encode())
    content = archive.extractfile(item)
    assert content is not None, item.name
    return File("file", item.mode, owner, content.read())


def host_base(layout: Path, store: Store) -> BaseImage:
    """Return the base of the fixture *base_layout* for this machine's platform."""
    origin = Origin(file="test.py", line=1, folder=str(layout.parent))
    with Registries() as registries:
        (base,) = resolve_bases(
            LayoutBase(path=SourcePath.of(str(layout), origin), origin=origin),
            (Platform.host(),),
            registries=registries,
            store=store,
            need_python=True,
            python=None,
            need_links=True,
            origin=None,
        )
    return base


def bare(
    config: Mapping[str, Any] = {"Env": ["PATH=/usr/bin:/bin"]},
    links: tuple[tuple[str, str], ...] = (),
) -> BaseImage:
    """Return a base that no registry has, for what is only lowered."""
    document = {"os": "linux", "architecture": "amd64", "config": dict(config)}
    return BaseImage(
        name="python:3.11",
        platform=Platform("linux", "amd64"),
        manifest=Digest("1" * 64),
        config=json.dumps(document).encode(),
        layers=(),
        source=RegistrySource(registry="docker.io", repository="library/python"),
        interpreter=PYTHON,
        links=links,
    )
