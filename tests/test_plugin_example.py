"""The plugin of the documentation: installed, built with, and put through the laws."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from imagekit.digest import Digest
from imagekit.oci.layout import Layout
from imagekit.oci.registry import Registries
from imagekit.platform import Platform
from imagekit.testing import LAWS
from imagekit.testing.bases import tiny_layout

ROOT = Path(__file__).parent.parent
PLUGIN = ROOT / "examples" / "plugin"
DOCUMENT = ROOT / "docs" / "builders.md"

DEFINITION = """
from imagekit import Image

image = (
    Image.from_base("oci:base")
    .clone(name="with-sbom", platform=("linux/amd64", "linux/arm64"))
    .with_pip_packages("markupsafe", "six==1.16.0")
    .with_env_vars({"A": "b"})
)
"""
CONFORMANCE = """
from imagekit.testing import check_builder
from imagekit_sbom import SBOMBuilder

print(check_builder(SBOMBuilder))
"""


def run(
    words: list[str], folder: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Install the plugin into a folder, and return how Python finds it there."""
    folder = tmp_path_factory.mktemp("plugin") / "installed"
    words = ["pip", "install", "-q", "--no-deps", "--target", str(folder), str(PLUGIN)]
    run([sys.executable, "-m", "uv", *words], ROOT)
    return {"PYTHONPATH": str(folder)}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "images.py").write_text(DEFINITION)
    platforms = [Platform("linux", "amd64"), Platform("linux", "arm64")]
    tiny_layout(tmp_path / "base", platforms)
    return tmp_path


@pytest.mark.index
def test_the_plugin_is_found_by_its_name(plugin: dict[str, str], project: Path) -> None:
    doctor = run([sys.executable, "-m", "imagekit", "doctor"], project, **plugin)

    assert "sbom" in doctor.stdout


@pytest.mark.index
def test_the_image_is_the_embedded_builders(
    plugin: dict[str, str], project: Path
) -> None:
    digests = {}
    for builder in ("embedded", "sbom"):
        words = [
            "build",
            "images.py",
            "--builder",
            builder,
            "--output",
            f"oci:{builder}",
        ]
        store = {"IMAGEKIT_CACHE_DIR": str(project / f"store-{builder}")}
        done = run(
            [sys.executable, "-m", "imagekit", *words], project, **plugin, **store
        )
        digests[builder] = Layout.open(project / builder).resolve().digest
        assert ("SBOM of linux/arm64: 2 distributions" in done.stderr) == (
            builder == "sbom"
        )

    assert digests["sbom"] == digests["embedded"]


@pytest.mark.engine
@pytest.mark.index
def test_the_sbom_is_beside_the_image_in_the_registry(
    plugin: dict[str, str], project: Path, registry: str
) -> None:
    words = ["build", "images.py", "--builder", "sbom", "--push"]
    done = run(
        [sys.executable, "-m", "imagekit", *words],
        project,
        IMAGEKIT_REGISTRY=registry,
        **plugin,
    )

    with Registries() as registries:
        repository = registries.repository(registry, "with-sbom")
        found = repository.get_manifest(done.stdout.strip().rpartition(":")[2])
        assert found is not None
        for image in json.loads(found.content)["manifests"]:
            hexdigits = image["digest"].removeprefix("sha256:")
            artifact = repository.get_manifest(f"sha256-{hexdigits}.sbom")
            assert artifact is not None
            manifest = json.loads(artifact.content)
            assert manifest["subject"]["digest"] == image["digest"]
            assert manifest["artifactType"] == "application/spdx+json"
            layer = manifest["layers"][0]
            content = b"".join(repository.read_blob(Digest.parse(layer["digest"])))
            check_spdx(json.loads(content), image["digest"])


def check_spdx(document: dict[str, Any], image: str) -> None:
    """Check what SPDX 2.3 wants (clauses 6, 7 and 11), and what is listed."""
    assert document["spdxVersion"] == "SPDX-2.3"
    assert document["documentNamespace"].endswith(image)
    whole, *packages = document["packages"]
    assert [item["name"] for item in packages] == ["markupsafe", "six"]
    assert packages[1]["versionInfo"] == "1.16.0"
    for item in packages:
        assert item["packageFileName"].endswith(".whl")
        assert len(item["checksums"][0]["checksumValue"]) == sha256().digest_size * 2
    names = {item["SPDXID"] for item in document["packages"]}
    assert len(names) == 3
    related = {item["relatedSpdxElement"] for item in document["relationships"]}
    assert related == names
    assert f"sha256:{whole['checksums'][0]['checksumValue']}" == image


@pytest.mark.index
def test_the_plugin_conforms(plugin: dict[str, str], tmp_path: Path) -> None:
    done = run([sys.executable, "-c", CONFORMANCE], tmp_path, **plugin)

    assert done.stdout.startswith("builder 'sbom': ")
    assert " 0 failed" in done.stdout


def test_the_documentation_shows_the_files_that_are_tested() -> None:
    text = DOCUMENT.read_text()

    assert f"```python\n{(PLUGIN / 'imagekit_sbom.py').read_text()}```" in text
    assert f"```toml\n{(PLUGIN / 'pyproject.toml').read_text()}```" in text
    assert f"```python\n{CONFORMANCE.lstrip()}```" in text


def test_the_plugin_is_small() -> None:
    lines = (PLUGIN / "imagekit_sbom.py").read_text().splitlines()

    assert len([line for line in lines if line.strip()]) < 150


def test_the_documentation_lists_the_laws() -> None:
    text = DOCUMENT.read_text()

    for law in LAWS:
        assert f"| `{law.name}` | {law.statement} |" in text
    assert text.count("\n| `") >= len(LAWS)
