"""The algebra of images: what the constructors and methods promise."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from strategies import images, layers

import flyte
import imagekit
from imagekit import Image
from imagekit.errors import DefinitionError, ImageKitError, ValidationError
from imagekit.layers import Layer


@pytest.fixture(params=[imagekit, flyte], ids=["imagekit", "flyte"])
def api(request: pytest.FixtureRequest) -> ModuleType:
    module = request.param
    assert isinstance(module, ModuleType)
    return module


def base() -> Image:
    return Image.from_base("python:3.12").clone(name="app", registry="127.0.0.1:5000")


def test_both_names_give_the_same_objects() -> None:
    assert flyte.__all__ == imagekit.__all__
    for name in imagekit.__all__:
        assert getattr(flyte, name) is getattr(imagekit, name)


def test_direct_construction_is_refused(api: ModuleType) -> None:
    with pytest.raises(TypeError, match="from_debian_base"):
        api.Image("example")


@given(images, layers, layers)
def test_layers_append_and_nothing_changes_nothing(
    image: Image, a: Layer, b: Layer
) -> None:
    before = image.identifier

    assert image.with_layers() is image
    assert image.with_layers(a).with_layers(b) == image.with_layers(a, b)
    assert image.identifier == before


def test_adding_nothing_is_the_image_itself() -> None:
    image = base()

    assert image.with_pip_packages() is image
    assert image.with_apt_packages() is image
    assert image.with_commands([]) is image
    assert image.with_env_vars({}) is image


def test_images_are_immutable() -> None:
    with pytest.raises(AttributeError):
        base().name = "other"  # type: ignore[misc]


def test_an_existing_image_is_its_own_uri() -> None:
    assert Image.from_base("ghcr.io/a/b:1").uri == "ghcr.io/a/b:1"


def test_a_nameless_image_takes_no_layers(api: ModuleType) -> None:
    with pytest.raises(ValueError, match="no name") as caught:
        api.Image.from_base("a").with_pip_packages("x")

    assert "clone" in caught.value.hint  # type: ignore[attr-defined]
    assert caught.value.origin.startswith(__file__)  # type: ignore[attr-defined]


def test_a_named_clone_takes_layers_and_is_called_by_its_name() -> None:
    image = base().clone(extendable=True).with_workdir("/app")

    assert image.uri == f"127.0.0.1:5000/app:{image.content_id}"


def test_a_clone_with_extendable_false_takes_none() -> None:
    with pytest.raises(DefinitionError, match="extendable"):
        base().clone(extendable=False).with_workdir("/app")


def test_the_default_image_is_for_both_platforms_and_names_its_python() -> None:
    image = Image.from_debian_base()
    major, minor = sys.version_info[:2]

    assert image.platform == ("linux/amd64", "linux/arm64")
    assert image.python_version == (major, minor)
    assert image.base_image == (
        f"docker.io/library/python:{major}.{minor}-slim-bookworm"
    )
    assert f":py{major}.{minor}-v{imagekit.__version__}-ik1-" in image.uri


@pytest.mark.parametrize("version", ["2.0.7", "v2.0.7"])
def test_another_runtime_version_is_in_the_tag(version: str) -> None:
    image = Image.from_debian_base((3, 12), flyte_version=version, name="app")

    assert ":py3.12-v2.0.7-ik1-" in image.uri


def test_a_named_copy_of_the_default_image_has_another_uri() -> None:
    image = Image.from_debian_base()

    assert image.clone(name="app").uri != image.uri


def test_the_default_python_is_not_part_of_the_identifier() -> None:
    """Or the identifier would differ between the machine and the container."""
    assert Image.from_debian_base().requested_python is None
    assert Image.from_debian_base((3, 11)) != Image.from_debian_base()


def test_dockerfile_images(tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    image = Image.from_dockerfile(str(file), registry="r.example", name="app")

    assert image.platform == ("linux/amd64",)
    assert image.dockerfile == file
    with pytest.raises(ValueError, match="Dockerfile"):
        image.with_workdir("/x")
    with pytest.raises(ValidationError, match="no file"):
        image.validate()
    file.write_text("FROM scratch\n")
    image.validate()
    first = image.content_id
    (tmp_path / "context.txt").write_text("x")
    assert image.content_id != first


MISSING = {
    "requirements": lambda path: base().with_requirements(path / "no.txt"),
    "source file": lambda path: base().with_source_file(path / "no"),
    "source folder": lambda path: base().with_source_folder(path / "no"),
    "uv project": lambda path: base().with_uv_project(path / "pyproject.toml"),
    "dockerignore": lambda path: base().with_dockerignore(path / "no"),
    "uv script": lambda path: Image.from_uv_script(path / "no.py", name="app"),
    "dockerfile": lambda path: Image.from_dockerfile(path / "no", "r.example", "app"),
}


@pytest.mark.parametrize("make", MISSING.values(), ids=MISSING.keys())
def test_missing_files_matter_to_validate_only(
    make: Callable[[Path], Image], tmp_path: Path
) -> None:
    image = make(tmp_path)

    assert image.identifier.startswith("ik1-")
    with pytest.raises(ValueError, match="no") as caught:
        image.validate()
    assert isinstance(caught.value, ValidationError)
    assert f"{__file__}:" in str(caught.value)


def test_validate_reports_every_fault_at_once(tmp_path: Path) -> None:
    image = (
        Image.from_base("Not A Reference")
        .clone(name="app")
        .with_requirements(tmp_path / "no.txt")
        .with_source_folder(tmp_path / "nothing")
    )

    with pytest.raises(ValidationError) as caught:
        image.validate()

    assert len(caught.value.faults) == 3
    assert "3 faults" in str(caught.value)


BAD_CALLS = {
    "list of packages": (
        lambda: base().with_pip_packages(["a"]),  # type: ignore[arg-type]
        TypeError,
        "separate",
    ),
    "text of commands": (lambda: base().with_commands("ls"), TypeError, "list"),  # type: ignore[arg-type]
    "requirements ending": (
        lambda: base().with_requirements("reqs.in"),
        ValueError,
        r"\.txt",
    ),
    "platform": (
        lambda: base().clone(platform="windows/amd64"),  # type: ignore[arg-type]
        ValueError,
        "linux/amd64",
    ),
    "python version": (
        lambda: Image.from_debian_base("3.12"),  # type: ignore[arg-type]
        ValueError,
        r"\(3, 12\)",
    ),
    "name": (lambda: base().clone(name="Upper Case"), ValueError, "image name"),
    "registry": (lambda: base().clone(registry="http://x"), ValueError, "registry"),
    "same file name twice": (
        lambda: base().with_source_file(["a/x", "b/x"]),
        ValueError,
        "'x'",
    ),
    "env value": (lambda: base().with_env_vars({"A": 1}), ValueError, "text"),  # type: ignore[dict-item]
    "env name": (lambda: base().with_env_vars({"A=B": "1"}), ValueError, "A=B"),
    "empty package": (lambda: base().with_apt_packages(" "), ValueError, "empty"),
    "workdir": (lambda: base().with_workdir(""), ValueError, "folder"),
}


@pytest.mark.parametrize(
    ("call", "kind", "message"), BAD_CALLS.values(), ids=BAD_CALLS.keys()
)
def test_what_can_mean_nothing_is_refused_where_it_is_written(
    call: Callable[[], object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_a_platform_as_text_is_one_platform() -> None:
    image = Image.from_debian_base(platform="linux/arm64")  # type: ignore[arg-type]

    assert image.platform == ("linux/arm64",)


def test_source_content_decides_the_tag_and_its_place_does_not(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "src").mkdir(parents=True)
        (tmp_path / name / "src" / "a.py").write_text("1")
    one = base().with_source_folder(tmp_path / "one" / "src")
    two = base().with_source_folder(tmp_path / "two" / "src")

    assert one.content_id == two.content_id
    assert one.uri == two.uri
    (tmp_path / "two" / "src" / "a.py").write_text("2")
    assert one.content_id != two.content_id


def test_default_ignores_can_be_brought_back(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SECRET=1")
    (tmp_path / "a.py").write_text("1")
    image = base().with_source_folder(tmp_path)
    without = image.content_id
    (tmp_path / ".env").write_text("SECRET=2")
    assert image.content_id == without

    ignore = tmp_path.parent / "own.ignore"
    ignore.write_text("!.env\n")
    with_env = base().with_dockerignore(ignore).with_source_folder(tmp_path)
    first = with_env.content_id
    (tmp_path / ".env").write_text("SECRET=3")
    assert with_env.content_id != first


def test_the_runtime_replaces_a_runtime() -> None:
    image = Image.from_debian_base(name="app").with_local_v2()

    assert [layer.kind for layer in image._layers] == ["runtime"]
    image.validate()


def test_errors_are_catchable_by_one_root_and_by_their_builtin() -> None:
    with pytest.raises(ImageKitError):
        base().clone(name="A B")
    with pytest.raises(ValueError):
        base().clone(name="A B")


def test_signatures_have_the_seed_parameters_in_order() -> None:
    seed = {
        "from_debian_base": "python_version flyte_version install_flyte registry name platform",
        "from_base": "image_uri",
        "from_dockerfile": "file registry name platform",
        "from_uv_script": "script name registry python_version index_url extra_index_urls pre extra_args platform secret_mounts",
        "clone": "registry name python_version addl_layer",
        "with_apt_packages": "packages secret_mounts",
        "with_commands": "commands",
        "with_dockerignore": "path",
        "with_env_vars": "env_vars",
        "with_local_v2": "",
        "with_pip_packages": "packages index_url extra_index_urls pre extra_args secret_mounts",
        "with_requirements": "file secret_mounts",
        "with_source_file": "src dst",
        "with_source_folder": "src dst",
        "with_uv_project": "pyproject_file uvlock index_url extra_index_urls pre extra_args secret_mounts",
        "with_workdir": "workdir",
        "validate": "",
    }
    for method, names in seed.items():
        parameters = list(inspect.signature(getattr(Image, method)).parameters)
        wanted = names.split()
        found = [name for name in parameters if name != "self"][: len(wanted)]
        assert found == wanted, method
