"""``imagekit cache`` and ``imagekit doctor``: what is kept, and what is found."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagekit.cli import main
from imagekit.cli.checks import CHECKS
from imagekit.digest import Digest
from imagekit.settings import load_settings
from imagekit.store import Store


@pytest.fixture
def filled(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Return a store with a wheel of 3000 bytes and a layer of 2000, in use by us."""
    monkeypatch.setenv("IMAGEKIT_CACHE_DIR", str(store.root))
    digest = store.add_blob(b"l" * 2000)
    store.write_record("layers", "key", {"digest": str(digest), "title": "numpy 2"})
    wheel = store.temporary() / "wheel"
    wheel.write_bytes(b"w" * 3000)
    store.add_wheel(wheel, Digest.of(b"w" * 3000).hex, "numpy-2-py3-none-any.whl")
    return store


def test_ls(filled: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "ls"]) == 0
    out = capsys.readouterr().out

    assert out.splitlines()[0] == str(filled.root)
    assert "     3.0 kB       1  wheels\n" in out
    assert "     2.0 kB       1  layers that were made\n" in out
    assert out.endswith("of 21.5 GB\n")


def test_ls_files(filled: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "ls", "--files"]) == 0
    first, second, *_ = capsys.readouterr().out.splitlines()

    assert first.split(maxsplit=5)[4:] == ["wheel", "numpy-2-py3-none-any.whl"]
    assert second.split(maxsplit=5)[4:] == ["layer", "numpy 2"]
    assert main(["cache", "ls", "--files", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["path"] == str(filled.root)
    assert document["size"] == sum(item["size"] for item in document["files"])
    assert {item["kind"] for item in document["files"]} == {"wheel", "layer", "record"}


def test_gc_layers(filled: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "gc", "--layers", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "would remove 1 layers that were made (2.0 kB)\n" in out
    assert filled.read_record("layers", "key") is not None

    assert main(["cache", "gc", "--layers"]) == 0
    assert filled.read_record("layers", "key") is None
    assert "removed 1 layers that were made" in capsys.readouterr().out
    assert any((filled.root / "wheels").rglob("*.whl"))


def test_gc_goes_down_to_the_setting(
    filled: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cache", "gc", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["freed"] == 0

    monkeypatch.setenv("IMAGEKIT_CACHE_CAP", "3.5kB")
    assert main(["cache", "gc", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kept"] <= 3500
    assert document["freed"] >= 2000


def test_gc_all(filled: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "gc", "--all"]) == 0
    assert capsys.readouterr().out.endswith("; 0 B stay\n")


def test_gc_says_that_it_waits(filled: Store) -> None:
    command = [sys.executable, "-m", "imagekit", "cache", "gc", "--all"]
    with filled.in_use():
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr
        assert process.stderr.readline() == "waiting for a running build to end\n"
        assert process.poll() is None
        assert filled.read_record("layers", "key") is not None
    with process:
        assert process.wait(10) == 0
    assert filled.read_record("layers", "key") is None


def found(title: str) -> tuple[str, str, str | None]:
    (check,) = (check for name, check in CHECKS if name == title)
    finding = check(load_settings())
    return finding.state, finding.text, finding.hint


class TestDoctor:
    def test_all_checks(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["doctor", "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)["checks"]

        assert [row["check"] for row in rows] == [title for title, _ in CHECKS]
        assert {row["state"] for row in rows} <= {"ok", "warning"}

    def test_text(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["doctor"]) == 0
        out = capsys.readouterr().out
        assert "ok       builders     buildkit, embedded, remote\n" in out
        assert "\x1b" not in out

    def test_looking_makes_no_store(self, tmp_path: Path) -> None:
        assert main(["doctor"]) == 0
        assert not load_settings().cache_dir.exists()

    def test_a_fault_fails(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
        assert main(["doctor"]) == 1
        out = capsys.readouterr().out
        assert "fault    CA bundle    no /nowhere.pem (SSL_CERT_FILE)\n" in out
        assert "hint: unset SSL_CERT_FILE\n" in out

    def test_whose_flyte(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert found("flyte")[0] == "ok"

        (tmp_path / "flyte").mkdir()
        (tmp_path / "flyte" / "__init__.py").write_text('"""Flyte SDK."""\n')
        monkeypatch.delitem(sys.modules, "flyte", raising=False)
        monkeypatch.syspath_prepend(str(tmp_path))
        state, text, hint = found("flyte")
        assert state == "warning"
        assert str(tmp_path) in text
        assert hint
        assert "import imagekit" in hint

    def test_logins_are_hosts_only(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        assert found("logins")[:2] == ("ok", f"none (no {tmp_path}/config.json)")

        config = {
            "auths": {"ghcr.io": {"auth": "aHVudGVyMg=="}},
            "credHelpers": {"a.lan": "of-no-one"},
        }
        (tmp_path / "config.json").write_text(json.dumps(config))
        state, text, _ = found("logins")
        assert state == "warning"
        assert text.splitlines() == [
            "ghcr.io",
            "a.lan, by docker-credential-of-no-one",
            "not on PATH: docker-credential-of-no-one",
        ]

        (tmp_path / "config.json").write_text("[]")
        assert found("logins")[0] == "warning"

    def test_engine(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert found("engine")[1].startswith("no docker on PATH")

        # The way docker answers without an engine: client only, and exit status 1.
        program = tmp_path / "docker"
        program.write_text(
            '#!/bin/sh\necho \'{"Client": {}, "Server": null}\'\n'
            "echo 'Cannot connect to the Docker daemon' >&2\nexit 1\n"
        )
        program.chmod(0o755)
        state, text, _ = found("engine")
        assert state == "warning"
        assert text == f"{program} has no engine: Cannot connect to the Docker daemon"

    def test_ca_bundle(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "ca.pem"
        path.write_text("no certificates")
        monkeypatch.setenv("IMAGEKIT_CA_BUNDLE", str(path))
        state, text, _ = found("CA bundle")
        assert state == "fault"
        assert "IMAGEKIT_CA_BUNDLE" in text

    def test_mirrors(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("IMAGEKIT_REGISTRY_MIRRORS", "docker.io=127.0.0.1:5000")
        assert found("mirrors")[1] == "docker.io is read from 127.0.0.1:5000"

    def test_a_full_cache(self, filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("IMAGEKIT_CACHE_CAP", "1kB")
        state, text, hint = found("cache")
        assert state == "warning"
        assert str(filled.root) in text
        assert hint == "run 'imagekit cache gc'"

    def test_a_cache_that_cannot_be_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("IMAGEKIT_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
        assert found("cache")[0] == "fault"
