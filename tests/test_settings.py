"""Where settings come from, and what is wrong with them."""

import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from imagekit.errors import SettingsError
from imagekit.settings import Settings, load_settings
from imagekit.settings_page import page
from imagekit.settings_table import SETTINGS

_ROOT = Path(__file__).parent.parent

#: A value for each setting: as a variable, as TOML, and as it is in the end.
VALUES: Mapping[str, tuple[str, str, object]] = {
    "builder": ("embedded", '"embedded"', "embedded"),
    "registry": ("ghcr.io/team", '"ghcr.io/team"', "ghcr.io/team"),
    "name_prefix": ("research/", '"research/"', "research/"),
    "platforms": (
        "linux/arm64, linux/x86_64",
        '["linux/arm64", "linux/amd64"]',
        ("linux/arm64", "linux/amd64"),
    ),
    "mirrors": (
        "docker.io=127.0.0.1:5000, docker.io=m.lan/hub",
        '{ "docker.io" = ["127.0.0.1:5000", "m.lan/hub"] }',
        (("docker.io", "127.0.0.1:5000"), ("docker.io", "m.lan/hub")),
    ),
    "insecure_registries": (
        "a.lan,b.lan:1",
        '["a.lan", "b.lan:1"]',
        ("a.lan", "b.lan:1"),
    ),
    "remote": ("tcp://b:1", '"tcp://b:1"', "tcp://b:1"),
    "cache_from": (
        "type=gha type=local,src=c",
        '["type=gha", "type=local,src=c"]',
        ("type=gha", "type=local,src=c"),
    ),
    "cache_to": ("type=inline", '["type=inline"]', ("type=inline",)),
    "network": ("host", '"host"', "host"),
    "cache_dir": ("/var/tmp/ik", '"/var/tmp/ik"', Path("/var/tmp/ik")),
    "cache_cap": ("10GB", '"10 GB"', 10 * 10**9),
    "jobs": ("3", "3", 3),
    "mode": ("container", '"container"', "container"),
    "environment": ("training", '"training"', "training"),
    "record_dir": ("/var/tmp/runs", '"/var/tmp/runs"', Path("/var/tmp/runs")),
    "containers": ("5", "5", 5),
    "kube_context": ("staging", '"staging"', "staging"),
    "namespace": ("research", '"research"', "research"),
    "service_account": ("runner", '"runner"', "runner"),
    "pull_secrets": ("one,two", '["one", "two"]', ("one", "two")),
    "secret_name": ("team", '"team"', "team"),
    "pod_labels": (
        "team=research,tier=",
        '{ tier = "", team = "research" }',
        (("team", "research"), ("tier", "")),
    ),
    "pod_annotations": (
        "x.lan/query=a=b",
        '{ "x.lan/query" = "a=b" }',
        (("x.lan/query", "a=b"),),
    ),
    "gpu_label": ("none", '"none"', ""),
    "gpu_products": (
        "T4=tesla-t4,T4=t4,A100 80G=a100",
        '{ T4 = ["tesla-t4", "t4"], "A100 80G" = "a100" }',
        (("T4", "tesla-t4"), ("T4", "t4"), ("A100 80G", "a100")),
    ),
    "spot": ("x.lan/spot=true", '"x.lan/spot=true"', "x.lan/spot=true"),
    "raw_data_path": ("s3://b/data", '"s3://b/data"', "s3://b/data"),
    "max_pods": ("20", "20", 20),
    "secrets_dir": ("/run/secrets", '"/run/secrets"', "/run/secrets"),
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    (folder / ".config" / "imagekit").mkdir(parents=True)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project" / "deep"
    folder.mkdir(parents=True)
    return folder


def load(project: Path, home: Path, **environ: str) -> Settings:
    return load_settings(start=project, environ={"HOME": str(home), **environ})


def by_field(field: str) -> tuple[str, str]:
    (setting,) = (item for item in SETTINGS if item.field == field)
    return setting.key, setting.variable


def test_every_setting_has_a_value_in_these_tests() -> None:
    assert {item.field for item in SETTINGS} == {
        *VALUES,
        "ca_bundle",
        "kubeconfig",
        "remote_ca",
        "remote_cert",
        "remote_key",
    }


def test_defaults(project: Path, home: Path) -> None:
    found = load(project, home)

    assert found.builder == "auto"
    assert found.platforms is None
    assert found.cache_dir == home / ".cache" / "imagekit"
    assert found.cache_cap == 20 * 2**30
    assert 2 <= found.jobs <= 16
    assert set(found.sources.values()) == {"default"}
    assert found.files == ()


@pytest.mark.parametrize("field", VALUES)
def test_variable(field: str, project: Path, home: Path) -> None:
    text, _, value = VALUES[field]
    _, variable = by_field(field)
    found = load(project, home, **{variable: text})

    assert getattr(found, field) == value
    assert found.sources[field] == f"environment {variable}"


@pytest.mark.parametrize("field", VALUES)
def test_file(field: str, project: Path, home: Path) -> None:
    _, toml, value = VALUES[field]
    key, _ = by_field(field)
    path = project.parent / "imagekit.toml"
    path.write_text(f"{key} = {toml}\n")
    found = load(project, home)

    assert getattr(found, field) == value
    assert found.sources[field] == str(path)
    assert found.files == (path,)


@pytest.mark.parametrize("field", VALUES)
def test_argument(field: str, project: Path, home: Path) -> None:
    _, _, value = VALUES[field]
    found = load_settings(
        start=project, arguments={field: value}, environ={"HOME": str(home)}
    )

    assert getattr(found, field) == value
    assert found.sources[field] == "argument"


def test_order_of_sources(project: Path, home: Path) -> None:
    user = home / ".config" / "imagekit" / "config.toml"
    user.write_text(
        "jobs = 5\nregistry = 'user.lan'\nbuilder = 'user'\nremote = 'u:1'\n"
    )
    own = project / "imagekit.toml"
    own.write_text("jobs = 6\nregistry = 'file.lan'\nbuilder = 'file'\n")
    environ = {"HOME": str(home), "IMAGEKIT_JOBS": "7", "IMAGEKIT_REGISTRY": "env.lan"}
    found = load_settings(start=project, arguments={"jobs": 8}, environ=environ)

    assert (found.jobs, found.registry, found.builder, found.remote) == (
        8,
        "env.lan",
        "file",
        "u:1",
    )
    assert [
        found.sources[name] for name in ("jobs", "registry", "builder", "remote")
    ] == [
        "argument",
        "environment IMAGEKIT_REGISTRY",
        str(own),
        str(user),
    ]
    assert found.files == (own, user)


def test_no_value_is_no_value(project: Path, home: Path) -> None:
    found = load_settings(
        start=project,
        arguments={"registry": None},
        environ={"HOME": str(home), "IMAGEKIT_REGISTRY": " "},
    )

    assert found.registry is None
    assert found.sources["registry"] == "default"


@pytest.mark.parametrize(
    "text",
    [
        "[tool.imagekit]\njobs = 9\n",
        "[tool]\nimagekit = { jobs = 9 }\n",
        "[tool]\nimagekit.jobs = 9\n",
        "tool.imagekit.jobs = 9\n",
        '[ tool . "imagekit" ]\njobs = 9\n',
    ],
)
def test_pyproject(text: str, project: Path, home: Path) -> None:
    (project / "pyproject.toml").write_text(text)

    assert load(project, home).jobs == 9


def test_nearest_file_wins(project: Path, home: Path) -> None:
    (project.parent / "pyproject.toml").write_text("[tool.imagekit]\njobs = 4\n")
    (project / "pyproject.toml").write_text('[project]\nname = "x"\n')
    assert load(project, home).jobs == 4

    (project / "imagekit.toml").write_text("jobs = 5\n")
    assert load(project, home).jobs == 5


def test_a_pyproject_of_others_is_not_parsed(project: Path, home: Path) -> None:
    (project / "pyproject.toml").write_text('[project\ndependencies = ["imagekit"]\n')

    assert load(project, home).files == ()


def test_two_files_in_a_folder_are_refused(project: Path, home: Path) -> None:
    (project / "imagekit.toml").write_text("jobs = 5\n")
    (project / "pyproject.toml").write_text("[tool.imagekit]\njobs = 4\n")

    with pytest.raises(SettingsError, match=r"in imagekit\.toml and in"):
        load(project, home)


def test_relative_paths_start_at_the_file(project: Path, home: Path) -> None:
    (project.parent / "ca.pem").write_text("x")
    (project.parent / "imagekit.toml").write_text(
        'ca-bundle = "ca.pem"\ncache-dir = "../cache"\n'
    )
    found = load(project, home)

    assert found.ca_bundle == str(project.parent / "ca.pem")
    assert found.cache_dir == project.parent.parent / "cache"


def test_xdg_folders(project: Path, home: Path, tmp_path: Path) -> None:
    config = tmp_path / "config"
    (config / "imagekit").mkdir(parents=True)
    (config / "imagekit" / "config.toml").write_text("jobs = 2\n")
    found = load(
        project, home, XDG_CONFIG_HOME=str(config), XDG_CACHE_HOME="not/absolute"
    )

    assert found.jobs == 2
    assert found.cache_dir == home / ".cache" / "imagekit"


def test_unknown_key_names_the_nearest(project: Path, home: Path) -> None:
    path = project / "imagekit.toml"
    path.write_text("# settings\n\nregistry_mirrors = {}\n")

    with pytest.raises(
        SettingsError, match=r"unknown setting 'registry_mirrors' in"
    ) as caught:
        load(project, home)
    assert caught.value.hint == "did you mean 'registry-mirrors'?"
    assert caught.value.origin == f"{path}:3"


def test_position_in_pyproject(project: Path, home: Path) -> None:
    path = project / "pyproject.toml"
    path.write_text("[tool.other]\njobz = 1\n[tool.imagekit]\njobz = 2\n")

    with pytest.raises(SettingsError) as caught:
        load(project, home)
    assert caught.value.origin == f"{path}:4"


def test_unknown_variable_names_the_nearest(project: Path, home: Path) -> None:
    with pytest.raises(SettingsError, match="'IMAGEKIT_PLATFORM'") as caught:
        load(project, home, IMAGEKIT_PLATFORM="linux/amd64")
    assert caught.value.hint == "did you mean 'IMAGEKIT_PLATFORMS'?"


def test_unknown_variable_that_is_near_to_none(project: Path, home: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(project, home, IMAGEKIT_QQQ="1")
    assert caught.value.hint
    assert caught.value.hint.startswith("known: IMAGEKIT_BUILDER, ")


def test_variables_that_are_no_settings(project: Path, home: Path) -> None:
    found = load(project, home, IMAGEKIT_MACHINE_DIR="/x")

    assert set(found.sources.values()) == {"default"}


def test_unknown_argument() -> None:
    with pytest.raises(SettingsError, match="unknown setting 'platform'"):
        load_settings(arguments={"platform": ("linux/amd64",)})


@pytest.mark.parametrize(
    ("key", "toml", "message"),
    [
        ("jobs", '"many"', "wants a whole number from 1, found 'many'"),
        ("jobs", "true", "wants a whole number from 1, found True"),
        ("jobs", "0", "wants a whole number from 1, found 0"),
        ("cache-cap", '"10 Gb/s"', "wants a size like '20GB' or '20GiB'"),
        ("builder", "1", "wants a text, found 1"),
        ("platforms", "3", "wants a list of platforms, found 3"),
        ("platforms", "[]", r"wants a list of platforms, found \[\]"),
        ("platforms", '["windows/amd64"]', "unknown platform 'windows/amd64'"),
        ("registry", '"HTTP://x"', "invalid registry 'HTTP://x'"),
        ("name-prefix", '"UP/"', "invalid image name 'UP/name'"),
        ("registry-mirrors", '["docker.io"]', "wants a table of registries"),
        ("registry-mirrors", '{ "docker.io" = 1 }', "wants a table of registries"),
        ("ca-bundle", '"nowhere.pem"', "wants the path of a file, found no file '/"),
        ("remote", "3", "wants a text, found int"),
    ],
)
def test_wrong_value(
    key: str, toml: str, message: str, project: Path, home: Path
) -> None:
    path = project / "imagekit.toml"
    path.write_text(f"\n{key} = {toml}\n")

    with pytest.raises(SettingsError, match=message) as caught:
        load(project, home)
    assert str(path) in caught.value.message
    assert repr(key) in caught.value.message
    assert caught.value.origin == f"{path}:2"
    assert caught.value.hint


def test_wrong_variable_is_named(project: Path, home: Path) -> None:
    with pytest.raises(SettingsError, match="environment IMAGEKIT_REGISTRY_MIRRORS: "):
        load(project, home, IMAGEKIT_REGISTRY_MIRRORS="docker.io")


def test_a_password_in_the_endpoint_is_not_shown(project: Path, home: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(
            start=project,
            arguments={"remote": ("tcp://u:hunter2@b",)},
            environ={"HOME": str(home)},
        )
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"jobs = \n", "is not TOML"),
        (b"jobs = 1 # \xff\n", "it is not UTF-8"),
    ],
)
def test_damaged_file(content: bytes, message: str, project: Path, home: Path) -> None:
    (project / "imagekit.toml").write_bytes(content)

    with pytest.raises(SettingsError, match=message):
        load(project, home)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("7", 7),
        ("1kB", 1000),
        ("1 KiB", 1024),
        ("1.5 MB", 1_500_000),
        ("2gib", 2 << 30),
        ("1TB", 10**12),
    ],
)
def test_sizes(text: str, size: int, project: Path, home: Path) -> None:
    assert load(project, home, IMAGEKIT_CACHE_CAP=text).cache_cap == size


def test_page_is_made_from_the_table() -> None:
    assert (_ROOT / "docs" / "settings.md").read_text() == page()


def test_example_of_the_page_can_be_loaded(project: Path, home: Path) -> None:
    example = page().partition("```toml\n")[2].partition("```")[0]
    assert set(tomllib.loads(example)) == {item.key for item in SETTINGS}
    (project / "certs").mkdir()
    for name in ("company", "builder-ca", "client", "client-key"):
        (project / "certs" / f"{name}.pem").write_text("x")
    (project / "clusters").mkdir()
    (project / "clusters" / "team.yaml").write_text("x")
    (project / "imagekit.toml").write_text(example)

    assert "default" not in load(project, home).sources.values()


def test_no_toml_parser_without_a_file(project: Path, home: Path) -> None:
    code = (
        "import sys; from imagekit.settings import load_settings; load_settings(); "
        "sys.exit('tomllib' in sys.modules or 'difflib' in sys.modules)"
    )
    environ = {"HOME": str(home), "PYTHONPATH": str(_ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=project, env=environ)

    assert done.returncode == 0
