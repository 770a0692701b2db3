"""Where images have code that their own layers copied into them."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagekit import Image
from imagekit.code_in_image import paths_in_image


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("src/pkg/inner", "scripts"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "scripts" / "go.py").write_text("")
    return tmp_path


def debian() -> Image:
    return Image.from_debian_base(python_version=(3, 11), name="code")


def existing() -> Image:
    return Image.from_base("ghcr.io/x/y:1").clone(name="code")


def test_a_folder_and_what_is_below_it(root: Path) -> None:
    image = debian().with_source_folder(root, "/srv/app")
    folders = [str(root / "src"), str(root), str(root / "scripts"), "/elsewhere"]

    assert paths_in_image(image, folders) == (
        "/srv/app/src",
        "/srv/app",
        "/srv/app/scripts",
    )


def test_relative_paths_start_in_the_working_directory(root: Path) -> None:
    folder = [str(root / "src")]
    image = debian().with_source_folder(root / "src")

    assert paths_in_image(image, folder) == ("/root",)
    moved = debian().with_workdir("/srv").with_workdir("app")
    assert paths_in_image(moved.with_source_folder(root / "src", "code"), folder) == (
        "/srv/app/code",
    )
    # Nobody knows yet where programs in it run.
    assert paths_in_image(existing().with_source_folder(root / "src"), folder) == ()
    absolute = existing().with_source_folder(root / "src", "/srv")
    assert paths_in_image(absolute, folder) == ("/srv",)


def test_a_package_is_imported_from_the_folder_that_it_is_in(root: Path) -> None:
    source, package = str(root / "src"), root / "src" / "pkg"
    under_its_name = debian().with_source_folder(
        package, "/srv", copy_contents_only=False
    )
    elsewhere = debian().with_source_folder(package, "/srv/other")

    assert paths_in_image(under_its_name, [source]) == ("/srv",)
    assert paths_in_image(elsewhere, [source]) == ()


@pytest.mark.parametrize(
    ("dst", "found"),
    [
        ("/srv/", ("/srv",)),
        ("/srv/go.py", ("/srv",)),
        (".", ("/root",)),
        ("/srv/other.py", ()),
    ],
)
def test_a_script(root: Path, dst: str, found: tuple[str, ...]) -> None:
    image = debian().with_source_file(root / "scripts" / "go.py", dst)

    assert paths_in_image(image, [str(root / "scripts")]) == found
