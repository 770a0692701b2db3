"""Builds that are killed, builds side by side, and builds beside ``cache gc``.

What a store holds is whole at every moment, so whatever comes next works from it.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

import pytest
from whole_images import pulled

from imagekit.digest import Digest
from imagekit.oci.layout import Layout
from imagekit.oci.model import read_index, read_manifest
from imagekit.oci.registry import Registries
from imagekit.oci.validate import check_layout
from imagekit.reference import Reference
from imagekit.store import Store
from imagekit.store_gc import collect

pytestmark = [pytest.mark.engine, pytest.mark.index]

MOMENTS = 20
SEED = 20250102

# Without the runtime: it is this checkout, which somebody may be editing meanwhile.
DEFINITION = """
from pathlib import Path
from imagekit import Image

image = (
    {base}
    .with_pip_packages("numpy==2.2.6", "six==1.17.0", "attrs==25.3.0")
    .with_workdir("/app")
    .with_source_folder(Path("src"))
)
"""
BASES = {
    "pushed.py": 'Image.from_debian_base((3, 11), name="killed", install_flyte=False)',
    "written.py": 'Image.from_base("oci:{}").clone(name="killed")',
}


class Project:
    """Definitions, and a store with all downloads and without layers."""

    def __init__(self, folder: Path, registry: str, base: Path) -> None:
        self.folder = folder
        self.warm = folder / "warm"
        self.normal: dict[str, tuple[str, float]] = {}
        self.base = layers_of(Layout.open(base))
        self._registry = registry
        source = folder / "src"
        source.mkdir()
        for number in range(100):
            (source / f"module{number}.py").write_text(f"number = {number}\n" * 200)
        for file, text in BASES.items():
            (folder / file).write_text(DEFINITION.format(base=text.format(base)))

    def layout(self, name: str) -> Path:
        return self.folder / f"{name}-layout"

    def delivery(self, file: str, name: str) -> tuple[str, ...]:
        """Return the options that push ``pushed.py``, and write ``written.py``."""
        if file == "pushed.py":
            return ("--push", "--name", name)
        return ("--no-push", "--output", f"oci:{self.layout(name)}")

    def start(self, *arguments: str, store: Path) -> subprocess.Popen[str]:
        """Start ``imagekit`` with *arguments*."""
        variables = {
            "IMAGEKIT_CACHE_DIR": str(store),
            "IMAGEKIT_REGISTRY_MIRRORS": f"docker.io={self._registry}",
            "IMAGEKIT_REGISTRY": self._registry,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "imagekit", *arguments, "--json"],
            cwd=self.folder,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def build(self, *arguments: str, store: Path) -> dict[str, Any]:
        """Build, and return what was said of the image."""
        return image_of(self.start("build", *arguments, store=store))

    def fresh_store(self, name: str) -> Path:
        """Return a copy of the warm store."""
        store = self.folder / f"{name}-store"
        # Files of a store are replaced and never written to, so a link is a copy.
        ignore = shutil.ignore_patterns("lock")
        shutil.copytree(self.warm, store, copy_function=os.link, ignore=ignore)
        return store


def layers_of(layout: Layout) -> frozenset[Digest]:
    index = read_index(layout.read(layout.resolve()))
    manifests = [read_manifest(layout.read(item)) for item in index.manifests]
    return frozenset(layer.digest for item in manifests for layer in item.layers)


def output_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors + output
    document: dict[str, Any] = json.loads(output)
    return document


def image_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    (image,) = output_of(process)["images"]
    assert isinstance(image, dict)
    return image


@pytest.fixture(scope="module")
def project(
    tmp_path_factory: pytest.TempPathFactory, registry: str, base_layout: Path
) -> Project:
    return Project(tmp_path_factory.mktemp("killed"), registry, base_layout)


@pytest.fixture
def warm(project: Project) -> dict[str, tuple[str, float]]:
    """Fill the warm store; return digest and seconds of a build of each definition."""
    if not project.normal:
        for file in BASES:
            delivery = project.delivery(file, "reference")
            project.build(file, *delivery, store=project.warm)
            collect(Store(project.warm), "layers")
            began = monotonic()
            image = project.build(file, *delivery, "--force", store=project.warm)
            project.normal[file] = (image["digest"], monotonic() - began)
            collect(Store(project.warm), "layers")
    return project.normal


def unsound(root: Path) -> Iterator[str]:
    """Give every way in which a store is not whole."""
    files = {path: path.name for path in (root / "blobs" / "sha256").iterdir()}
    files |= {path: path.parent.name for path in (root / "wheels").glob("*/*")}
    for path, name in files.items():
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != name:
            yield f"{path} has the digest {found}"
    unfinished = [path.name for path in (root / "tmp").rglob("*")]
    for record in (root / "records").glob("*/*.json"):
        text = record.read_text()
        document = json.loads(text)
        if record.parent.name == "layers":
            blob = Store(root).blob_path(Digest.parse(document["digest"]))
            if blob not in files or blob.stat().st_size != document["size"]:
                yield f"{record} promises a blob that is not there"
        for name in unfinished:
            if name in text:
                yield f"{record} refers to the unfinished {name}"


def check_delivered(project: Project, file: str, name: str, image: Any) -> None:
    """Check that all of the image is where it should be."""
    reference = Reference.parse(image["uri"])
    assert reference.tag is not None
    if file == "written.py":
        layout = check_layout(project.layout(name), layers=False)
        assert str(layout.resolve(reference.tag).digest) == image["digest"]
        return
    with Registries() as registries:
        found = pulled(registries.of(reference), reference.tag, known=project.base)
    assert str(found) == image["digest"]


def test_a_build_killed_at_any_moment_leaves_a_store_that_builds_the_same(
    project: Project, warm: dict[str, tuple[str, float]]
) -> None:
    moments = random.Random(SEED)
    killed = 0
    for number in range(MOMENTS):
        file = ("pushed.py", "written.py")[number % 2]
        digest, seconds = warm[file]
        name = f"killed-{number}"
        delivery = project.delivery(file, name)
        store = project.fresh_store(name)
        assert list((store / "records" / "layers").iterdir()) == []
        moment = (number + moments.random()) / MOMENTS * seconds

        process = project.start("build", file, *delivery, store=store)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=moment)
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        after_kill = list(unsound(store))
        again = project.build(file, *delivery, store=store)

        context = f"killed after {moment:.3f} s of {seconds:.3f} s"
        assert after_kill == [], context
        assert again["digest"] == digest, context
        assert list(unsound(store)) == [], context
        check_delivered(project, file, name, again)
        collect(Store(store), cap=1 << 40)
        assert list((store / "tmp").iterdir()) == [], context
        shutil.rmtree(store)
    assert killed > MOMENTS / 2


def test_gc_removes_what_a_killed_build_left_and_nothing_that_is_needed(
    project: Project, warm: dict[str, tuple[str, float]]
) -> None:
    digest, _ = warm["pushed.py"]
    delivery = project.delivery("pushed.py", "collected")
    store = project.fresh_store("collected")
    temporary = store / "tmp"
    left: list[Path] = []
    # Killed as soon as it writes: what it leaves is what gc is for. A build may
    # have put its blob in place by then, and leave nothing: kill another one.
    for _ in range(MOMENTS):
        process = project.start("build", "pushed.py", *delivery, store=store)
        while not any(temporary.iterdir()) and process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.001)
        process.kill()
        process.communicate()
        left = list(temporary.iterdir())
        if left:
            break
        shutil.rmtree(store)
        project.fresh_store("collected")
    # What a build leaves that is killed before it has written its first question to uv.
    (temporary / "uv-left" / "0").mkdir(parents=True)

    project.build("pushed.py", *delivery, store=store)
    collected = output_of(project.start("cache", "gc", store=store))
    again = project.build("pushed.py", *delivery, "--force", store=store)

    assert left != []
    assert "unfinished" in json.dumps(collected["removed"])
    assert list(temporary.iterdir()) == []
    assert again["digest"] == digest
    assert all(layer["reused"] for layer in again["layers"])


def test_four_builds_at_once_into_one_empty_store(project: Project) -> None:
    store = project.folder / "empty-store"
    name = "at-once"
    files = ("pushed.py", "written.py", "pushed.py", "written.py")

    def build(file: str) -> dict[str, Any]:
        return project.build(file, *project.delivery(file, name), store=store)

    with ThreadPoolExecutor(len(files)) as pool:
        images = list(pool.map(build, files))

    digests = {
        (file, image["digest"]) for file, image in zip(files, images, strict=True)
    }
    assert len(digests) == len(BASES)
    for file, image in zip(files, images, strict=True):
        check_delivered(project, file, name, image)
    assert list(unsound(store)) == []
    assert list((store / "tmp").iterdir()) == []


def test_builds_beside_a_collector_of_layers_do_not_fail(
    project: Project, warm: dict[str, tuple[str, float]]
) -> None:
    store = project.fresh_store("beside")
    ended = Event()
    collected = []

    def collect_again_and_again() -> None:
        while not ended.is_set():
            process = project.start("cache", "gc", "--layers", store=store)
            collected.append(output_of(process)["freed"])

    def build(file: str) -> None:
        for number in range(4):
            delivery = project.delivery(file, f"beside-{number}")
            image = project.build(file, *delivery, "--force", store=store)
            check_delivered(project, file, f"beside-{number}", image)
            assert image["digest"] == warm[file][0]

    with ThreadPoolExecutor(3) as pool:
        collecting = pool.submit(collect_again_and_again)
        try:
            for _ in pool.map(build, BASES):
                pass
        finally:
            ended.set()
        collecting.result()

    assert sum(1 for freed in collected if freed) > 1
    assert list(unsound(store)) == []
