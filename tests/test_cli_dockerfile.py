"""``imagekit dockerfile``: printed, and written with its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_images import AMD64, ARM64, Images, python_files

from imagekit.cli import main
from imagekit.platform import Platform

_DEFINITION = """\
from imagekit import Image, Secret

base = Image.from_base("oci:base").clone(name="base")
web = (
    base.with_env_vars({"GREETING": "it's $5"})
    .with_source_file("main.py", dst="/srv/app/")
    .with_commands(["make all"], secret_mounts=[Secret("TOKEN")])
)
foreign = web.clone(name="foreign", platform=("linux/arm64",))
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    images = Images()
    both = [images.image(python_files(), platform=item) for item in (AMD64, ARM64)]
    images.layout(tmp_path / "base", images.index(*both))
    (tmp_path / "images.py").write_text(_DEFINITION)
    (tmp_path / "main.py").write_text("print(1)\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_dockerfile_is_data(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dockerfile", "images.py:web"]) == 0

    printed = capsys.readouterr().out
    assert printed.startswith(f"# An image for {Platform.host()}, written by imagekit.")
    assert printed.endswith("    make all\n")
    assert 'ENV GREETING="it\'s \\$5"\n' in printed
    assert "COPY source-1/ /srv/app/\n" in printed
    assert "(TOKEN)." in printed
    assert str(project) not in printed
    assert main(["dockerfile", "images.py:web", "--quiet"]) == 0
    assert capsys.readouterr() == (printed, "")


def test_the_files_are_written_to_a_new_folder(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dockerfile", "images.py:web", "--output", "out"]) == 0

    assert capsys.readouterr().out == f"{project / 'out'}\n"
    found = {
        str(path.relative_to(project / "out"))
        for path in (project / "out").rglob("*")
        if path.is_file()
    }
    assert found == {"Dockerfile", "source-1/main.py"}
    assert main(["dockerfile", "images.py:web", "--output", "out"]) == 2
    assert "wanted an empty folder for --output" in capsys.readouterr().err
    assert main(["dockerfile", "images.py:web", "--output", "main.py"]) == 2
    assert "wanted a folder for --output" in capsys.readouterr().err


def test_it_is_for_one_platform(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, platform in (
        (["images.py:foreign"], "linux/arm64"),
        (["images.py:web", "--platform", "linux/arm64"], "linux/arm64"),
        (["images.py:foreign", "--platform", "linux/amd64"], "linux/amd64"),
    ):
        assert main(["dockerfile", *words, "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["platform"] == platform
        assert f"for {platform}," in document["dockerfile"]


def test_it_is_of_one_image(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dockerfile", "images.py"]) == 2
    assert "choose one: images.py:base" in capsys.readouterr().err
