"""From a definition to an image in a registry or on disk, with the embedded builder."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit import BuildResult, Image, build
from imagekit.building import BuildOptions, build_image
from imagekit.digest import Digest
from imagekit.errors import (
    BaseNotFoundError,
    DefinitionError,
    SourceChangedError,
    UnknownBuilderError,
    UnsupportedLayerError,
    ValidationError,
)
from imagekit.oci.layout import Layout
from imagekit.oci.registry import Registries
from imagekit.progress import Event, Note
from imagekit.reference import Reference
from imagekit.settings import Settings, load_settings

pytestmark = pytest.mark.engine


@pytest.fixture
def settings(registry: str, tmp_path: Path) -> Settings:
    return load_settings(
        arguments={
            "registry": registry,
            "mirrors": (("docker.io", registry),),
            "cache_dir": tmp_path / "store",
        }
    )


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "main.py").write_text("import six; print('six', six.__version__)\n")
    script = folder / "run.sh"
    script.write_text("#!/bin/sh\necho run\n")
    script.chmod(0o755)
    (folder / "link").symlink_to("main.py")
    (folder / "empty").mkdir()
    return folder


def definition(app: Path, name: str = "test-build") -> Image:
    return (
        Image.from_debian_base((3, 11), name=name)
        .with_env_vars({"GREETING": "a 'b' \"c\" $d\n\u00e9"})
        .with_workdir("/app")
        .with_source_folder(app)
    )


def test_build_pushes_both_platforms_and_is_reused(
    app: Path, settings: Settings
) -> None:
    image = definition(app)

    first = build_image(image, settings=settings)
    second = build_image(image, settings=settings)

    assert isinstance(first, BuildResult)
    assert first.platforms == ("linux/amd64", "linux/arm64")
    assert first.builder == "embedded"
    assert not first.reused
    assert second.reused
    assert second == first == image.clone(registry=settings.registry).uri
    assert second.digest == first.digest
    assert second.layers == ()


def test_the_same_inputs_give_the_same_digest_from_scratch(
    app: Path, settings: Settings, registry: str, tmp_path: Path
) -> None:
    digests = set()
    for place in ("one", "two/deeper"):
        copy = tmp_path / place / "app"
        shutil.copytree(app, copy, symlinks=True)
        os.utime(copy / "main.py", (1, 1))
        fresh = load_settings(
            arguments={
                "mirrors": settings.mirrors,
                "cache_dir": tmp_path / place / "store",
            }
        )
        out = f"oci:{tmp_path / place / 'layout'}"
        result = build_image(
            definition(copy), BuildOptions(outputs=(out,)), settings=fresh
        )
        digests.add(result.digest)

    assert len(digests) == 1


def test_changing_one_file_uploads_one_layer(app: Path, settings: Settings) -> None:
    build_image(definition(app, "test-one-file"), settings=settings)
    (app / "main.py").write_text("print('changed')\n")

    result = build_image(definition(app, "test-one-file"), settings=settings)

    made = {layer.digest for layer in result.layers if not layer.reused}
    assert len(made) == 1
    assert result.uploaded < 20_000


def test_outputs_are_reused_when_they_have_the_image(
    app: Path, settings: Settings, tmp_path: Path
) -> None:
    options = BuildOptions(outputs=(f"oci:{tmp_path / 'layout'}",), push=False)

    first = build_image(definition(app), options, settings=settings)
    second = build_image(definition(app), options, settings=settings)

    assert not first.reused
    assert second.reused
    assert second.digest == first.digest
    layout = Layout.open(tmp_path / "layout")
    assert str(layout.resolve(first.rpartition(":")[2]).digest) == first.digest


def test_a_further_tag_is_pushed_and_follows(app: Path, settings: Settings) -> None:
    options = BuildOptions(tag="stable")
    first = build_image(definition(app, "test-tag"), options, settings=settings)
    (app / "main.py").write_text("print(2)\n")
    second = build_image(definition(app, "test-tag"), options, settings=settings)
    (app / "main.py").write_text("import six; print('six', six.__version__)\n")
    third = build_image(definition(app, "test-tag"), options, settings=settings)

    with Registries() as registries:
        repository = registries.of(Reference.parse(first))
        head = repository.head_manifest("stable")
    assert first.digest != second.digest
    assert third.reused
    assert head is not None
    assert str(head.digest) == first.digest


def test_a_platform_that_the_registry_lacks_is_built(
    app: Path, settings: Settings
) -> None:
    one = build_image(
        definition(app, "test-platforms"),
        BuildOptions(platforms=("linux/amd64",)),
        settings=settings,
    )
    both = build_image(definition(app, "test-platforms"), settings=settings)

    assert one.platforms == ("linux/amd64",)
    assert both.platforms == ("linux/amd64", "linux/arm64")
    assert not both.reused


def test_force_builds_again_to_the_same_digest(app: Path, settings: Settings) -> None:
    first = build_image(definition(app, "test-force"), settings=settings)
    again = build_image(
        definition(app, "test-force"), BuildOptions(force=True), settings=settings
    )

    assert not again.reused
    assert again.digest == first.digest
    assert all(layer.reused for layer in again.layers)


def test_aio_does_not_block_the_loop(app: Path, settings: Settings) -> None:
    async def both() -> tuple[BuildResult, BuildResult]:
        values = {
            "registry": settings.registry,
            "mirrors": settings.mirrors,
            "cache_dir": settings.cache_dir,
        }
        one, two = await asyncio.gather(
            build.aio(definition(app, "test-aio"), settings=values),
            build.aio(definition(app, "test-aio"), settings=values),
        )
        return one, two

    one, two = asyncio.run(both())

    assert one == two
    assert one.digest == two.digest


def test_an_existing_image_is_not_built(settings: Settings) -> None:
    result = build_image(Image.from_base("ghcr.io/a/b:1"), settings=settings)

    assert result == "ghcr.io/a/b:1"
    assert result.reused
    assert result.builder is None


def test_unknown_existence_is_said_and_built(
    app: Path, tmp_path: Path, settings: Settings
) -> None:
    events: list[Event] = []
    nowhere = load_settings(
        arguments={
            "registry": "127.0.0.1:1",
            "mirrors": settings.mirrors,
            "cache_dir": settings.cache_dir,
        }
    )

    with pytest.raises(Exception, match=r"127\.0\.0\.1:1"):
        build_image(definition(app), settings=nowhere, progress=events.append)

    notes = [event.text for event in events if isinstance(event, Note)]
    assert any("can't tell whether" in note for note in notes)


def test_dry_run_touches_nothing(app: Path, tmp_path: Path) -> None:
    cache = tmp_path / "untouched"
    program = f"""
import socket, subprocess, os
def refuse(*args, **kwargs): raise AssertionError("a dry run touched the world")
socket.socket.connect = refuse
subprocess.Popen.__init__ = refuse
from pathlib import Path
from imagekit import Image, build
image = (
    Image.from_debian_base((3, 11), name="app", registry="registry.invalid")
    .with_pip_packages("six")
    .with_source_folder(Path({str(app)!r}))
)
print(build(image, dry_run=True))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "IMAGEKIT_CACHE_DIR": str(cache)},
    )

    assert done.stdout.startswith("registry.invalid/app:ik1-")
    assert not cache.exists()


BAD = {
    "apt": (
        lambda image: image.with_apt_packages("curl"),
        UnsupportedLayerError,
        "curl",
    ),
    "commands": (
        lambda image: image.with_commands(["make it"]),
        UnsupportedLayerError,
        "make it",
    ),
    "missing file": (
        lambda image: image.with_source_file("/nowhere/x"),
        ValidationError,
        "/nowhere/x",
    ),
}


@pytest.mark.parametrize(("change", "kind", "words"), BAD.values(), ids=BAD.keys())
def test_refusals_name_what_and_where(
    change: Callable[[Image], Image],
    kind: type[Exception],
    words: str,
    app: Path,
    settings: Settings,
) -> None:
    image = change(definition(app))

    with pytest.raises(kind, match=words) as caught:
        build_image(image, BuildOptions(builder="embedded"), settings=settings)

    assert f"{__file__}:" in str(caught.value)


def test_a_base_that_does_not_exist(settings: Settings) -> None:
    image = Image.from_base(f"{settings.registry}/library/nothing:1").clone(name="app")

    with pytest.raises(BaseNotFoundError, match="nothing"):
        build_image(image.with_workdir("/x"), settings=settings)


def test_an_unknown_builder_names_the_installed_ones(
    app: Path, settings: Settings
) -> None:
    with pytest.raises(UnknownBuilderError, match="embedded"):
        build_image(
            definition(app), BuildOptions(builder="nope", force=True), settings=settings
        )


def test_pushing_without_a_registry_says_how_to_name_one(
    app: Path, tmp_path: Path
) -> None:
    settings = load_settings(arguments={"cache_dir": tmp_path / "store"})

    with pytest.raises(DefinitionError, match="no registry") as caught:
        build_image(definition(app), BuildOptions(push=True), settings=settings)
    assert "--registry" in (caught.value.hint or "")


def test_a_file_that_changes_between_hashing_and_packing_fails_by_name(
    app: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imagekit.resolve import planning

    real = planning.make_plan

    def meddle(*args: object) -> object:
        (app / "main.py").write_text("print('other')\n")
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(planning, "make_plan", meddle)

    with pytest.raises(SourceChangedError, match=r"main\.py"):
        build_image(definition(app, "test-changes"), settings=settings)


def test_the_image_has_what_was_asked_for(
    app: Path, settings: Settings, tmp_path: Path
) -> None:
    out = tmp_path / "layout"
    options = BuildOptions(
        outputs=(f"oci:{out}",), platforms=("linux/amd64",), push=False
    )
    result = build_image(definition(app), options, settings=settings)

    def blob(digest: str) -> Path:
        return out / "blobs" / "sha256" / Digest.parse(digest).hex

    assert result.digest is not None
    manifest = json.loads(blob(result.digest).read_bytes())
    config = json.loads(blob(manifest["config"]["digest"]).read_bytes())
    environment = dict(item.split("=", 1) for item in config["config"]["Env"])
    names = subprocess.run(
        ["tar", "-tvzf", str(blob(manifest["layers"][-1]["digest"]))],
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    assert environment["GREETING"] == "a 'b' \"c\" $d\n\u00e9"
    assert environment["PATH"].startswith("/opt/venv/bin:/usr/local/bin")
    assert config["config"]["WorkingDir"] == "/app"
    assert "app/empty/" in names
    assert "app/link -> main.py" in names
    assert "-rwxr-xr-x" in next(line for line in names.splitlines() if "run.sh" in line)
    assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"])
