"""The demo's image, end to end: pushed, run by engines, judged by other people's tools."""

from __future__ import annotations

import gzip
import io
import json
import re
import runpy
import tarfile
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from csv import reader
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from machine import debian_base
from machine.engine import Engine
from machine.judges import Judges
from machine.push import push_layout
from machine.registry import Registry
from machine.state import UnsupportedMachineError
from test_oci_model import schema_faults

from imagekit import BuildResult, Image
from imagekit.building import BuildOptions, build_image
from imagekit.digest import Digest
from imagekit.oci.layout import Layout
from imagekit.oci.model import Descriptor, Index, read_document
from imagekit.oci.validate import check_layout
from imagekit.platform import Platform
from imagekit.progress import Event, TaskStarted
from imagekit.settings import Settings, load_settings
from imagekit.store import Store

pytestmark = [pytest.mark.engine, pytest.mark.index]

HOST = Platform.host()
PLATFORMS = ("linux/amd64", "linux/arm64")
#: e_machine of ELF files, and how wheels name the machine.
MACHINES = {"linux/amd64": (62, "x86_64"), "linux/arm64": (183, "aarch64")}
DEMO = Path(__file__).parents[1] / "examples" / "demo"
STACK = ("numpy", "pandas", "scikit-learn", "pyarrow", "fastapi", "httpx")
PYTHON = "/opt/venv/bin/python"
#: A layer of a big wheel has at least so many bytes; small ones may share a layer.
BIG = 5_000_000

PROGRAM = """
import json, os, runpy, subprocess, sys
import fastapi, httpx, numpy, pandas, pyarrow, sklearn
runpy.run_path("main.py", run_name="__main__")
pip = [sys.executable, "-m", "pip", "check"]
print(subprocess.run(pip, capture_output=True, text=True, check=True).stdout)
print(json.dumps({
    "folder": os.getcwd(),
    "greeting": os.environ["GREETING"],
    "path": os.environ["PATH"].split(":")[0],
    "user": os.getuid(),
    "prefix": sys.prefix,
}))
"""


SHORT = "import os, numpy; print(os.environ['WAY'], numpy.arange(10).sum())"


def definition() -> Image:
    """Return the demo's own image, with pip so that ``pip check`` can run in it."""
    image = runpy.run_path(str(DEMO / "images.py"))["image"]
    assert isinstance(image, Image)
    return image.with_pip_packages("pip")


# One build for all ----------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A request as the registry's log has it."""

    method: str
    path: str
    status: int


@dataclass
class Hub:
    """A registry with the base image, and what it was asked."""

    registry: Registry
    settings: Settings

    def build(self, image: Image, **options: Any) -> Build:
        log = self.registry.log
        start = log.stat().st_size
        events: list[Event] = []
        result = build_image(
            image,
            BuildOptions(platforms=PLATFORMS, **options),
            settings=self.settings,
            progress=events.append,
        )
        lines = log.read_bytes()[start:].decode()
        asked = [
            Asked(method, path, int(status))
            for method, path, status in re.findall(
                r'"([A-Z]+) (\S+) HTTP/1\.1" (\d+)', lines
            )
        ]
        return Build(result, asked, events)


@dataclass(frozen=True)
class Build:
    result: BuildResult
    asked: list[Asked]
    events: list[Event] = field(repr=False)

    def uploads(self) -> list[Asked]:
        """Return the requests that ended the upload of a blob."""
        return [
            item
            for item in self.asked
            if item.method == "PUT" and "/blobs/uploads/" in item.path
        ]

    def mounts(self) -> list[Asked]:
        return [item for item in self.asked if "mount=" in item.path]


@pytest.fixture(scope="module")
def hub(
    base_layout: Path, warm_store: Store, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hub]:
    try:
        running = Registry()
    except UnsupportedMachineError as error:
        pytest.skip(f"this machine can't be set up: {error}")
    home = tmp_path_factory.mktemp("home")
    with running:
        address = running.address
        push_layout(base_layout, address, debian_base.NAME, debian_base.TAG)
        settings = load_settings(
            start=home,
            environ={"HOME": str(home)},
            arguments={
                "registry": address,
                "mirrors": (("docker.io", address),),
                "cache_dir": warm_store.root,
            },
        )
        yield Hub(running, settings)


@pytest.fixture(scope="module")
def demo(hub: Hub) -> Build:
    """Return the push of the demo's image."""
    return hub.build(definition())


@dataclass(frozen=True)
class OnDisk:
    """The demo's image as files."""

    layout: Layout
    tar: Path
    tag: str

    @property
    def root(self) -> Descriptor:
        return self.layout.resolve(self.tag)

    def document(self, descriptor: Descriptor | dict[str, Any]) -> Any:
        return json.loads(self.blob(descriptor))

    def blob(self, descriptor: Descriptor | dict[str, Any]) -> bytes:
        if isinstance(descriptor, dict):
            descriptor = Descriptor.from_json(descriptor)
        return self.layout.blob_path(descriptor.digest).read_bytes()

    def manifest(self, platform: str) -> dict[str, Any]:
        view = read_document(self.blob(self.root))
        assert isinstance(view, Index)
        (found,) = [item for item in view.manifests if str(item.platform) == platform]
        document: dict[str, Any] = self.document(found)
        return document


@pytest.fixture(scope="module")
def on_disk(hub: Hub, demo: Build, tmp_path_factory: pytest.TempPathFactory) -> OnDisk:
    folder = tmp_path_factory.mktemp("outputs")
    outputs = (f"oci:{folder / 'layout'}", f"tar:{folder / 'image.tar'}")
    build = hub.build(definition(), outputs=outputs, push=False)
    assert build.result.digest == demo.result.digest
    tag = build.result.rpartition(":")[2]
    return OnDisk(Layout.open(folder / "layout"), folder / "image.tar", tag)


# Engines --------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["containerd", "classic"])
def running(request: pytest.FixtureRequest, hub: Hub) -> Iterator[Engine]:
    """Return an engine with one image store, then one with the other."""
    name = "engine" if request.param == "containerd" else "classic_engine"
    engine: Engine = request.getfixturevalue(name)
    yield engine
    ours = f"reference={hub.registry.address}/demo"
    ids = engine.docker("image", "ls", "--quiet", "--filter", ours).split()
    if ids:
        engine.docker("image", "rm", "--force", *dict.fromkeys(ids))


@pytest.fixture
def run(running: Engine) -> Callable[..., str]:
    """Return what runs a command in an image that the engine has.

    The image stays, so that what is loaded next needs no layers of it unpacked again.
    """

    def run(name: str, *command: str) -> str:
        options = ("--rm", "--pull", "never", "--network", "none")
        return running.docker("run", *options, name, *command)

    return run


def test_docker_pulls_and_runs_it(
    running: Engine, run: Callable[..., str], demo: Build
) -> None:
    name = f"{demo.result.rpartition(':')[0]}@{demo.result.digest}"
    running.docker("pull", "--quiet", name)

    *told, last = run(name, PYTHON, "-c", PROGRAM).strip().splitlines()

    assert "slope 3.0 rows 10" in told
    assert "No broken requirements found." in told
    assert json.loads(last) == {
        "folder": "/app",
        "greeting": "hello from imagekit",
        "path": "/opt/venv/bin",
        "user": 0,
        "prefix": "/opt/venv",
    }


def test_docker_runs_what_was_loaded_into_it(
    hub: Hub,
    running: Engine,
    run: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = definition().with_env_vars({"WAY": "docker"})
    for variable in ("PATH", "DOCKER_HOST", "DOCKER_CONFIG"):
        if variable in running.environment:
            monkeypatch.setenv(variable, running.environment[variable])

    name = str(hub.build(image, outputs=("docker",), push=False).result)

    assert run(name, "python", "-c", SHORT) == "docker 45\n"


def test_docker_runs_what_was_loaded_from_a_file(
    hub: Hub, running: Engine, run: Callable[..., str], tmp_path: Path
) -> None:
    image = definition().with_env_vars({"WAY": "tar"})
    name = str(hub.build(image, outputs=(f"tar:{tmp_path}/x.tar",), push=False).result)

    running.docker("load", "--quiet", "--input", str(tmp_path / "x.tar"))

    assert run(name, "python", "-c", SHORT) == "tar 45\n"


# Other people's tools -------------------------------------------------------------


def test_crane_finds_it_valid(demo: Build, judges: Judges) -> None:
    said = judges.run(judges.crane, "validate", "--remote", str(demo.result))

    assert said == f"PASS: {demo.result}\n"


@pytest.mark.parametrize("platform", PLATFORMS)
def test_skopeo_inspects_it(
    platform: str, demo: Build, on_disk: OnDisk, judges: Judges
) -> None:
    architecture = platform.partition("/")[2]
    reference = f"docker://{demo.result}"
    words = ("inspect", "--tls-verify=false", "--override-arch", architecture)
    found = json.loads(judges.run(judges.skopeo, *words, reference))
    layers = [item["digest"] for item in on_disk.manifest(platform)["layers"]]

    assert found["Digest"] == demo.result.digest
    assert found["Architecture"] == architecture
    assert found["Layers"] == layers
    assert "GREETING=hello from imagekit" in found["Env"]


@pytest.fixture(scope="module")
def bundle(hub: Hub, judges: Judges, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what umoci makes of the image for this machine."""
    folder = tmp_path_factory.mktemp("umoci")
    options = BuildOptions(
        platforms=(str(HOST),), outputs=(f"oci:{folder / 'layout'}",), push=False
    )
    result = build_image(definition(), options, settings=hub.settings)
    tag = result.rpartition(":")[2]
    image = ("--image", f"{folder / 'layout'}:{tag}")
    judges.run(judges.umoci, "unpack", "--rootless", *image, str(folder / "bundle"))
    return folder / "bundle"


def test_umoci_reads_the_settings(bundle: Path) -> None:
    process = json.loads((bundle / "config.json").read_text())["process"]
    environment = dict(item.split("=", 1) for item in process["env"])

    assert process["cwd"] == "/app"
    assert process["user"]["uid"] == process["user"]["gid"] == 0
    assert environment["GREETING"] == "hello from imagekit"
    assert environment["VIRTUAL_ENV"] == "/opt/venv"
    assert environment["PATH"].startswith("/opt/venv/bin:/usr/local/bin:")


def test_umoci_unpacks_what_was_installed(bundle: Path) -> None:
    root = bundle / "rootfs"
    site = root / "opt/venv/lib/python3.11/site-packages"
    programs = ("fastapi", "httpx", "pip", "f2py")

    for name in programs:
        program = root / "opt/venv/bin" / name
        assert program.stat().st_mode & 0o777 == 0o755
        assert program.read_text().startswith(f"#!{PYTHON}\n")
    assert (root / "opt/venv/bin/python").is_symlink()
    assert (root / "app/main.py").read_bytes() == (DEMO / "app/main.py").read_bytes()
    infos = sorted(site.glob("*.dist-info"))
    assert {info.name.partition("-")[0] for info in infos} >= {
        name.replace("-", "_") for name in (*STACK, "pip")
    }
    for info in infos:
        assert (info / "INSTALLER").read_text().strip() == "imagekit"
        assert wrong_in_record(site, info) == []


def wrong_in_record(site: Path, info: Path) -> list[str]:
    """Return the files that are not as the distribution's RECORD says."""
    wrong = []
    text = (info / "RECORD").read_text("utf-8")
    for name, wanted, _size in reader(io.StringIO(text, newline="")):
        path = site / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif wanted:
            digest = urlsafe_b64encode(sha256(path.read_bytes()).digest())
            if wanted != f"sha256={digest.rstrip(b'=').decode()}":
                wrong.append(f"{name} is another")
    return wrong


# Documents and layers -------------------------------------------------------------


def test_every_document_follows_its_schema(on_disk: OnDisk) -> None:
    root = on_disk.layout.root
    documents = [
        ("image-layout-schema", (root / "oci-layout").read_bytes()),
        ("image-index-schema", (root / "index.json").read_bytes()),
        ("image-index-schema", on_disk.blob(on_disk.root)),
    ]
    for entry in on_disk.document(on_disk.root)["manifests"]:
        manifest = on_disk.document(entry)
        documents.append(("image-manifest-schema", on_disk.blob(entry)))
        documents.append(("config-schema", on_disk.blob(manifest["config"])))

    assert len(documents) == 3 + 2 * len(PLATFORMS)
    for schema, content in documents:
        assert schema_faults(schema, content) == [], content


def test_it_is_whole_and_consistent(on_disk: OnDisk, demo: Build) -> None:
    layout = check_layout(on_disk.layout.root, layers=False)

    assert str(layout.resolve(on_disk.tag).digest) == demo.result.digest
    for platform in PLATFORMS:
        manifest = on_disk.manifest(platform)
        config = on_disk.document(manifest["config"])
        made = [item for item in config["history"] if not item.get("empty_layer")]
        assert f"{config['os']}/{config['architecture']}" == platform
        assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"])
        assert len(made) == len(manifest["layers"])


@pytest.mark.parametrize("platform", PLATFORMS)
def test_wheels_are_for_the_platform(platform: str, on_disk: OnDisk) -> None:
    machine, name = MACHINES[platform]
    wheels: dict[str, list[str]] = {}
    programs: dict[str, int] = {}
    for path, content in own_files(on_disk, on_disk.manifest(platform)["layers"]):
        if path.endswith(".dist-info/WHEEL"):
            wheels[path] = re.findall(r"(?m)^Tag: (\S+)$", content.decode())
        elif content.startswith(b"\x7fELF"):
            programs[path] = int.from_bytes(content[18:20], "little")

    native = {path for path, tags in wheels.items() if not pure(tags)}
    assert {
        path.rpartition("/")[0].rpartition("/")[2].partition("-")[0] for path in native
    } >= {
        "numpy",
        "pandas",
        "scikit_learn",
        "scipy",
        "pyarrow",
        "pydantic_core",
    }
    for path in native:
        assert all(tag.endswith(f"_{name}") for tag in wheels[path]), wheels[path]
    assert len(programs) > 200
    assert set(programs.values()) == {machine}


def pure(tags: Sequence[str]) -> bool:
    return bool(tags) and all(tag.endswith("-any") for tag in tags)


def own_files(
    on_disk: OnDisk, layers: Sequence[dict[str, Any]]
) -> Iterator[tuple[str, bytes]]:
    """Yield the files of the layers that a build made."""
    for layer in layers:
        if "annotations" not in layer:
            continue  # of the base
        path = on_disk.layout.blob_path(Digest.parse(layer["digest"]))
        with gzip.open(path) as content, tarfile.open(fileobj=content) as archive:
            for info in archive:
                if info.isfile() and (file := archive.extractfile(info)) is not None:
                    yield info.name, file.read()


# What is sent ---------------------------------------------------------------------


def test_base_layers_are_mounted_and_never_read(demo: Build, on_disk: OnDisk) -> None:
    bases = {
        on_disk.manifest(platform)["layers"][0]["digest"] for platform in PLATFORMS
    }
    mounted = {item.path for item in demo.mounts() if item.status == 201}
    read = {item.path for item in demo.asked if item.method == "GET"}

    assert len(bases) == len(PLATFORMS)
    for digest in bases:
        assert any(digest in path for path in mounted)
        assert not any(digest in path for path in read)
    assert not any(digest in item.path for item in demo.uploads() for digest in bases)


def test_an_image_with_the_same_wheels_sends_no_layer(hub: Hub, demo: Build) -> None:
    image = definition().clone(name="demo-other").with_env_vars({"MORE": "1"})

    other = hub.build(image)

    layers = {layer.digest for layer in other.result.layers}
    mounted = [item for item in other.mounts() if item.status == 201]
    assert all(layer.reused for layer in other.result.layers)
    assert layers == {layer.digest for layer in demo.result.layers}
    assert len(mounted) == len(layers)
    assert len(other.uploads()) == len(PLATFORMS)  # the configs
    assert other.result.uploaded < 50_000


def test_one_more_package_makes_and_sends_one_small_layer(
    hub: Hub, demo: Build
) -> None:
    image = definition().clone(name="demo-more").with_pip_packages("six")

    more = hub.build(image)

    made = [layer for layer in more.result.layers if not layer.reused]
    fetched = {
        event.title
        for event in more.events
        if isinstance(event, TaskStarted) and event.phase == "fetch"
    }
    assert all("six " in layer.title for layer in made)
    assert sum({layer.digest: layer.size for layer in made}.values()) < BIG
    assert more.result.uploaded < BIG
    assert all(title.startswith("six ") for title in fetched)
    big = {layer.digest for layer in demo.result.layers if layer.size > BIG}
    assert big <= {layer.digest for layer in more.result.layers}
    assert not any(digest in item.path for item in more.uploads() for digest in big)


def test_the_second_build_asks_one_question(hub: Hub, demo: Build) -> None:
    again = hub.build(definition())

    assert again.result.reused
    assert again.result.digest == demo.result.digest
    assert [item.method for item in again.asked] == ["GET"]
