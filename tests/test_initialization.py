"""``init()`` and ``init_from_config()``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import imagekit
from imagekit import initialization
from imagekit.errors import SettingsError, UnknownBuilderError
from imagekit.initialization import Configuration, configuration


@pytest.fixture(autouse=True)
def nothing_set() -> Iterator[None]:
    before = initialization._current[:]
    yield
    initialization._current[:] = before


def test_nothing_has_to_be_set() -> None:
    assert configuration().settings().builder == "auto"


def test_what_is_set_holds(tmp_path: Path) -> None:
    imagekit.init(
        org="o", project="p", domain="d", root_dir=tmp_path, image_builder="embedded"
    )

    found = configuration()
    assert (found.org, found.project, found.domain) == ("o", "p", "d")
    assert found.root_dir == tmp_path
    assert found.settings().builder == "embedded"
    assert found.settings(builder="remote").builder == "remote"


def test_the_reference_s_own_builder_is_auto() -> None:
    asyncio.run(imagekit.init.aio(image_builder="local"))

    assert configuration().settings().builder == "auto"


def test_settings_come_before_files_and_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEKIT_MODE", "local")

    imagekit.init(settings={"mode": "container", "record_dir": str(tmp_path)})

    found = configuration().settings()
    assert (found.mode, found.record_dir) == ("container", tmp_path)
    with pytest.raises(SettingsError, match="'moed'"):
        imagekit.init(settings={"moed": "local"})
    assert configuration().settings().mode == "container"


def test_builds_are_made_as_set(tmp_path: Path) -> None:
    base = imagekit.Image.from_base("python:3.12").clone(name="app")
    image = base.with_env_vars({"A": "1"})
    imagekit.init(image_builder="nobody", settings={"registry": "ghcr.io/team"})

    found = imagekit.build(image, dry_run=True)

    assert found.startswith("ghcr.io/team/app:")
    with pytest.raises(UnknownBuilderError, match="'nobody'"):
        imagekit.build(image, push=False, outputs=(f"oci:{tmp_path / 'out'}",))


def test_secrets_of_connections_are_not_kept() -> None:
    imagekit.init(api_key="s3cr3t-key", client_credentials_secret="s3cr3t-too")

    assert "s3cr3t" not in repr(configuration())


def test_the_level_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("imagekit")
    before = logger.level
    try:
        imagekit.init(log_level=logging.DEBUG)
        assert logger.level == logging.DEBUG
    finally:
        logger.setLevel(before)


def test_a_root_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="root_dir"):
        imagekit.init(root_dir=tmp_path / "nowhere")


def test_a_file_with_settings(tmp_path: Path) -> None:
    file = tmp_path / "imagekit.toml"
    file.write_text('registry = "ghcr.io/team"\nmode = "container"\n')

    imagekit.init_from_config(str(file))

    found = configuration().settings()
    assert (found.registry, found.mode) == ("ghcr.io/team", "container")


@pytest.mark.parametrize("text", ["mode = 'nowhere'", "moed = 'local'", "="])
def test_a_wrong_file_is_an_error_at_once(tmp_path: Path, text: str) -> None:
    file = tmp_path / "imagekit.toml"
    file.write_text(text)

    with pytest.raises(SettingsError):
        imagekit.init_from_config(file)

    assert configuration().settings_file is None


@pytest.mark.parametrize("name", ["nowhere.toml", "other.toml", "."])
def test_what_is_no_file_with_settings(tmp_path: Path, name: str) -> None:
    (tmp_path / "other.toml").write_text("")

    with pytest.raises(SettingsError):
        imagekit.init_from_config(tmp_path / name)


def test_a_configuration_is_taken_as_it_is() -> None:
    given = Configuration(project="p")

    imagekit.init_from_config(given)

    assert configuration() is given


@pytest.mark.parametrize("mode", ["local", "container"])
def test_the_mode_is_a_setting(monkeypatch: pytest.MonkeyPatch, mode: Any) -> None:
    from imagekit.run import place_of

    monkeypatch.setenv("IMAGEKIT_MODE", mode)

    assert place_of(None) == mode
    assert place_of("local") == "local"
