"""``imagekit build`` and ``plan``, as a person runs them, against a real registry."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from machine.engine import Engine

from imagekit.cli import main
from imagekit.cli.checks import CHECKS
from imagekit.settings import load_settings

_IMAGES = """\
from imagekit import Image

base = Image.from_debian_base(name="cli-base", platform=("linux/amd64",))
web = base.with_source_file("main.py").clone(name="cli-web")
"""


@pytest.fixture
def project(tmp_path: Path, registry: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a definition, and with settings for the registry."""
    (tmp_path / "images.py").write_text(_IMAGES)
    (tmp_path / "main.py").write_text("print('hello')\n")
    (tmp_path / "imagekit.toml").write_text(
        f'registry = "{registry}"\n'
        f'name-prefix = "{tmp_path.name.replace("_", "-")}/"\n'
        f'registry-mirrors = {{ "docker.io" = "{registry}" }}\n'
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "imagekit", *words], capture_output=True, text=True
    )


@pytest.mark.engine
class TestBuild:
    def test_a_person_builds_twice(self, project: Path, registry: str) -> None:
        first = run("build", "images.py:web")
        assert first.returncode == 0, first.stderr
        uri = rf"{re.escape(registry)}/{project.name.replace('_', '-')}/cli-web:ik1-[0-9a-f]{{64}}\n"
        assert re.fullmatch(uri, first.stdout)
        assert "\nbuilt in " in first.stderr
        assert "\x1b" not in first.stderr

        second = run("build", "images.py:web")
        assert second.stdout == first.stdout
        assert "nothing to build: it is there already" in second.stderr

        quiet = run("build", "images.py:web", "--quiet", "--force")
        assert (quiet.stdout, quiet.stderr) == (first.stdout, "")

    def test_all_images_as_json(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["build", "images.py", "--json", "--tag", "one"]) == 0
        out, err = capsys.readouterr()
        base, web = json.loads(out)["images"]

        assert err == ""
        assert (base["name"], web["name"]) == ("base", "web")
        assert web["builder"] == "embedded"
        assert web["platforms"] == ["linux/amd64"]
        assert [reference.rpartition(":")[2] for reference in web["pushed"]] == [
            web["content_id"],
            "one",
        ]
        assert main(["inspect", web["pushed"][1], "--json"]) == 0
        seen = json.loads(capsys.readouterr().out)
        assert seen["digest"] == web["digest"]
        assert seen["content_id"] == web["content_id"]
        assert [layer["digest"] for layer in seen["images"][0]["layers"]] == [
            layer["digest"] for layer in web["layers"]
        ]

    def test_output_without_push(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["build", "images.py", "web", "--no-push", "--output", "oci:out"]
        assert main([*words, "--json"]) == 0
        (web,) = json.loads(capsys.readouterr().out)["images"]
        assert web["pushed"] == []
        assert main(["inspect", "oci:out", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["digest"] == web["digest"]

    def test_images_before_an_error_are_in_the_document(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (project / "images.py").write_text(
            f"{_IMAGES}\nbad = base.with_commands(['make']).clone(name='cli-bad')\n"
        )
        words = ["build", "images.py", "base", "bad", "--builder", "embedded"]
        assert main([*words, "--json"]) == 1
        document = json.loads(capsys.readouterr().out)

        assert [image["name"] for image in document["images"]] == ["base"]
        assert document["error"]["kind"] == "UnsupportedLayerError"
        assert "images.py:6" in json.dumps(document["error"])

    def test_plan_says_what_build_does(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["plan", "images.py:web", "--json"]) == 0
        (plan,) = json.loads(capsys.readouterr().out)["images"]
        assert plan["exists"] is False
        assert main(["build", "images.py:web", "--json"]) == 0
        (built,) = json.loads(capsys.readouterr().out)["images"]

        assert built["uri"] == plan["uri"]
        assert built["content_id"] == plan["content_id"]
        assert [layer["title"] for layer in plan["layers"]] == [
            layer["title"] for layer in built["layers"]
        ][-len(plan["layers"]) :]
        assert main(["plan", "images.py:web", "--json"]) == 0
        (again,) = json.loads(capsys.readouterr().out)["images"]
        assert again["exists"] is True
        assert {layer["action"] for layer in again["layers"]} == {"reuse"}

    def test_plan_builds_nothing(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for _ in range(2):
            assert main(["plan", "images.py:web"]) == 0
            out = capsys.readouterr().out
            assert "  registry    lacks it\n" in out
            assert re.search(r"^linux/amd64$", out, re.MULTILINE)
            assert re.search(
                r"^  base +[0-9.]+ MB  docker\.io/library/python", out, re.MULTILINE
            )
            assert re.search(
                r"^  build +[0-9.]+ k?B  files in /root", out, re.MULTILINE
            )

    def test_dry_run_shows_what_is_known_and_touches_nothing(
        self,
        project: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        cache = tmp_path / "untouched"
        monkeypatch.setenv("IMAGEKIT_CACHE_DIR", str(cache))
        monkeypatch.setenv("IMAGEKIT_REGISTRY", "registry.invalid")

        assert main(["build", "--dry-run", "images.py:web"]) == 0

        out = capsys.readouterr().out
        assert re.search(r"^registry\.invalid/.*cli-web:ik1-", out)
        assert re.search(
            r"^  layer +source-f\w+ \(.*images\.py:\d+\)", out, re.MULTILINE
        )
        assert not cache.exists()

    def test_upgrade_takes_no_other_argument(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["build", "--no-push", "--upgrade", "images.py:web", "--upgrade=six"]
        assert main([*words, "--quiet"]) == 0
        assert "cli-web:ik1-" in capsys.readouterr().out


@pytest.mark.engine
def test_doctor_finds_the_engine(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in engine.environment.items():
        monkeypatch.setenv(name, value)
    (check,) = (check for title, check in CHECKS if title == "engine")
    finding = check(load_settings())

    assert finding.state == "ok"
    assert re.match(r"\d+\.\d+.* \(linux/\w+\), ", finding.text)
    assert os.environ["DOCKER_HOST"]
