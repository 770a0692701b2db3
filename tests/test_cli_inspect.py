"""``imagekit inspect``: images in registries and OCI layouts."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from machine.push import push_layout
from machine.registry import Registry

from imagekit.cli import main
from imagekit.digest import Digest
from imagekit.oci import annotations, model
from imagekit.oci.layout import write_layout
from imagekit.platform import Platform

_AMD64, _ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


class Blobs(dict[Digest, bytes]):
    def add(self, content: bytes, media_type: str) -> model.Descriptor:
        descriptor = model.Descriptor.of(content, media_type)
        self[descriptor.digest] = content
        return descriptor

    def image(self, platform: Platform, user: str = "") -> model.Descriptor:
        base = self.add(b"base" * 1000, model.LAYER_GZIP)
        numpy = self.add(f"numpy {platform}".encode() * 100, model.LAYER_GZIP)
        titled = model.Descriptor(
            media_type=numpy.media_type,
            digest=numpy.digest,
            size=numpy.size,
            annotations=(
                (annotations.KEY, "ab12"),
                (annotations.TITLE, "numpy 2.4.6"),
                (annotations.DIFF_ID, str(numpy.digest)),
            ),
        )
        config = {
            "os": platform.os,
            "architecture": platform.architecture,
            "config": {"Env": ["A=1", "PATH=/bin"], "WorkingDir": "/app", "User": user},
            "rootfs": {"type": "layers", "diff_ids": [str(base.digest)] * 2},
        }
        content = model.manifest(
            self.add(json.dumps(config).encode(), model.CONFIG),
            [base, titled],
            {
                annotations.CONTENT_ID: "ik1-feed",
                annotations.BASE_NAME: "docker.io/library/python:3.11",
                annotations.BASE_DIGEST: str(base.digest),
            },
        )
        return self.add(content, model.MANIFEST)

    def index(self) -> model.Descriptor:
        images = [
            model.Descriptor(
                media_type=found.media_type,
                digest=found.digest,
                size=found.size,
                platform=platform,
            )
            for platform in (_AMD64, _ARM64)
            for found in [self.image(platform)]
        ]
        attestation = self.image(Platform("unknown", "unknown"))
        images.append(
            model.Descriptor(
                media_type=attestation.media_type,
                digest=attestation.digest,
                size=attestation.size,
                annotations=(("vnd.docker.reference.type", "attestation-manifest"),),
                platform=Platform("unknown", "unknown"),
            )
        )
        content = model.index(images, {annotations.CONTENT_ID: "ik1-feed"})
        return self.add(content, model.INDEX)

    def write(self, path: Path, root: model.Descriptor, *tags: str) -> None:
        write_layout(path, root, lambda found: [self[found.digest]], tags=tags)


@pytest.fixture
def blobs() -> Blobs:
    return Blobs()


@pytest.fixture
def layout(tmp_path: Path, blobs: Blobs) -> Path:
    blobs.write(tmp_path / "out", blobs.index(), "one")
    return tmp_path / "out"


def test_text(layout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", f"oci:{layout}"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()

    assert err == ""
    assert lines[0] == f"oci:{layout}"
    assert "  content id  ik1-feed" in lines
    assert "linux/amd64  5.7 kB in 2 layers" in lines
    assert "linux/arm64  5.7 kB in 2 layers" in lines
    assert "  base     docker.io/library/python:3.11" in lines
    assert "  workdir  /app" in lines
    assert "  env      A=1" in lines
    assert sum(line.endswith("  numpy 2.4.6") for line in lines) == 2
    assert sum(line.endswith("  (from the base)") for line in lines) == 2
    assert "unknown" not in out


def test_json(layout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--json", f"oci:{layout}:one"]) == 0
    found = json.loads(capsys.readouterr().out)

    assert found["media_type"] == model.INDEX
    assert found["content_id"] == "ik1-feed"
    assert [image["platform"] for image in found["images"]] == [
        "linux/amd64",
        "linux/arm64",
    ]
    base, numpy = found["images"][0]["layers"]
    assert base["title"] is None
    assert (numpy["title"], numpy["key"]) == ("numpy 2.4.6", "ab12")
    assert found["images"][0]["env"] == {"A": "1", "PATH": "/bin"}


def test_one_platform(layout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["inspect", "--json", f"oci:{layout}", "--platform", "linux/aarch64"]
    assert main(words) == 0
    (image,) = json.loads(capsys.readouterr().out)["images"]
    assert image["platform"] == "linux/arm64"


def test_one_manifest(
    tmp_path: Path, blobs: Blobs, capsys: pytest.CaptureFixture[str]
) -> None:
    root = blobs.image(_AMD64, user="app")
    blobs.write(tmp_path / "out", root)
    assert main(["inspect", f"oci:{tmp_path / 'out'}"]) == 0
    out = capsys.readouterr().out

    assert f"  digest      {root.digest}" in out
    assert "  content id  ik1-feed" in out
    assert "linux/amd64  5.7 kB in 2 layers" in out
    assert "  user     app" in out

    assert (
        main(["inspect", f"oci:{tmp_path / 'out'}", "--platform", "linux/arm64"]) == 1
    )
    err = capsys.readouterr().err
    assert "wanted an image for 'linux/arm64', found: linux/amd64" in err


def test_faults(layout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", f"oci:{layout}:two"]) == 1
    assert "wanted an image named 'two'" in capsys.readouterr().err

    assert main(["inspect", "oci:nowhere"]) == 1
    assert "no OCI image layout at 'nowhere'" in capsys.readouterr().err

    assert main(["inspect", "Not A Reference"]) == 1
    assert "invalid image reference" in capsys.readouterr().err


def test_damage_is_found(
    layout: Path, blobs: Blobs, capsys: pytest.CaptureFixture[str]
) -> None:
    image = blobs.image(_AMD64)
    path = layout / "blobs" / "sha256" / image.digest.hex
    path.write_bytes(path.read_bytes().replace(b"ik1-feed", b"ik1-dead"))

    assert main(["inspect", f"oci:{layout}"]) == 1
    assert "damaged" in capsys.readouterr().err


@pytest.mark.engine
def test_in_a_registry(
    layout: Path,
    empty_registry: Callable[..., Registry],
    capsys: pytest.CaptureFixture[str],
) -> None:
    registry = empty_registry()
    push_layout(layout, registry.address, "team/app", "one")
    reference = f"{registry.address}/team/app:one"
    assert main(["inspect", reference, "--json"]) == 0
    pushed = json.loads(capsys.readouterr().out)
    assert main(["inspect", f"oci:{layout}", "--json"]) == 0
    written = json.loads(capsys.readouterr().out)

    assert pushed["images"] == written["images"]
    assert pushed["digest"] == written["digest"]
    assert main(["inspect", f"{registry.address}/team/app@{pushed['digest']}"]) == 0
    assert "numpy 2.4.6" in capsys.readouterr().out

    assert main(["inspect", f"{registry.address}/team/app:two"]) == 1
    err = capsys.readouterr().err
    assert f"no image '{registry.address}/team/app:two' in" in err
