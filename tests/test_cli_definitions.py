"""Which images a file defines, and what is wrong with files that define none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagekit import Image
from imagekit.cli.definitions import load_images, split_target
from imagekit.errors import DefinitionError, SourceNotFoundError

_ENVIRONMENT = """\
class Environment:
    def __init__(self, name, image):
        self.name, self.image = name, image
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def define(folder: Path, text: str, name: str = "images.py") -> str:
    (folder / name).write_text(f"from imagekit import Image\n{_ENVIRONMENT}{text}")
    return name


def names(file: str, *chosen: str) -> list[str]:
    return [item.name for item in load_images(file, chosen)]


def test_in_order_of_definition(folder: Path) -> None:
    file = define(
        folder,
        "zebra = Image.from_debian_base(name='z')\n"
        "env = Environment('web', zebra.with_env_vars({'A': '1'}))\n"
        "apple = zebra.with_env_vars({'B': '1'})\n",
    )

    assert names(file) == ["zebra", "web", "apple"]


def test_chosen_by_variable_or_environment(folder: Path) -> None:
    file = define(
        folder,
        "image = Image.from_debian_base(name='z')\nenv = Environment('web', image)\n",
    )

    assert names(file) == ["image"]  # the environment's is equal
    assert names(file, "web") == ["web"]
    assert names(file, "env") == ["web"]
    assert names(file, "web", "image", "web") == ["web", "image"]


def test_hidden_unless_chosen(folder: Path) -> None:
    file = define(
        folder,
        "_base = Image.from_debian_base(name='z')\nimage = _base.with_env_vars({'A': '1'})\n",
    )

    assert names(file) == ["image"]
    assert names(file, "_base") == ["_base"]


def test_hidden_alias_does_not_hide(folder: Path) -> None:
    file = define(folder, "_a = Image.from_debian_base(name='z')\nb = _a\n")

    assert names(file) == ["b"]


def test_what_has_no_image_is_passed_over(folder: Path) -> None:
    file = define(
        folder,
        "auto = Environment('auto', 'auto')\n"
        "class Kind:\n    name = 'k'\n    image = Image.from_debian_base(name='k')\n"
        "image = Image.from_debian_base(name='z')\n",
    )

    assert names(file) == ["image"]


def test_unknown_name(folder: Path) -> None:
    file = define(folder, "web = Image.from_debian_base(name='z')\n")

    with pytest.raises(
        DefinitionError, match="no image or environment 'wep'"
    ) as caught:
        load_images(file, ("wep",))
    assert caught.value.hint == "did you mean 'web'?"


def test_no_image(folder: Path) -> None:
    with pytest.raises(DefinitionError, match=r"'images\.py' defines no image"):
        load_images(define(folder, "x = 1\n"))


def test_neighbours_can_be_imported(folder: Path) -> None:
    (folder / "neighbour_of_images.py").write_text("NAME = 'near'\n")
    file = define(
        folder,
        "from neighbour_of_images import NAME\nimage = Image.from_debian_base(name=NAME)\n",
    )
    path = list(sys.path)

    assert load_images(file)[0].image.name == "near"
    assert sys.path == path


def test_neighbours_hide_no_module_of_ours(folder: Path) -> None:
    (folder / "rich.py").write_text("raise SystemExit('the wrong rich')\n")
    define(folder, "image = Image.from_debian_base(name='z')\n", "queue.py")
    code = (
        "from imagekit.cli.definitions import load_images; load_images('queue.py'); "
        "import rich, queue; queue.Queue"
    )
    root = str(Path(__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env={**os.environ, "PYTHONPATH": root}
    )

    assert done.returncode == 0


@pytest.mark.parametrize("name", ["imagekit.py", "flyte.py", "json.py", "my images.py"])
def test_any_file_name(name: str, folder: Path) -> None:
    file = define(folder, "image = Image.from_debian_base(name='z')\n", name)

    (found,) = load_images(file)
    assert found.image.name == "z"
    assert sys.modules["imagekit"].__file__ != str(folder / name)


def test_a_file_is_run_each_time(folder: Path) -> None:
    file = define(folder, "image = Image.from_debian_base(name='one')\n")
    assert load_images(file)[0].image.name == "one"

    define(folder, "image = Image.from_debian_base(name='two' * 2)\n")
    assert load_images(file)[0].image.name == "twotwo"


def test_name_of_the_module(folder: Path) -> None:
    file = define(
        folder, "image = Image.from_debian_base(name=__name__)\n", "my_def.py"
    )

    assert load_images(file)[0].image.name == "my_def"


class TestFaults:
    def test_missing(self, folder: Path) -> None:
        define(folder, "")

        with pytest.raises(SourceNotFoundError, match=r"no file 'image\.py'") as caught:
            load_images("image.py")
        assert caught.value.hint == "did you mean 'images.py'?"

    def test_folder(self, folder: Path) -> None:
        with pytest.raises(DefinitionError, match=r"found the folder '\.'"):
            load_images(".")

    def test_traceback_begins_in_the_file(self, folder: Path) -> None:
        (folder / "helper_of_bad.py").write_text("def f():\n    return {}['key']\n")
        define(folder, "from helper_of_bad import f\n\nf()\n", "bad.py")

        with pytest.raises(DefinitionError, match="KeyError: 'key'") as caught:
            load_images("bad.py")
        (note,) = caught.value.__notes__
        assert caught.value.origin == f"{folder}/helper_of_bad.py:2"
        assert "importlib" not in note
        assert "definitions.py" not in note
        assert note.index("bad.py") < note.index("helper_of_bad.py")

    def test_syntax(self, folder: Path) -> None:
        (folder / "bad.py").write_text("\ndef f(:\n")

        with pytest.raises(DefinitionError, match="SyntaxError") as caught:
            load_images("bad.py")
        assert caught.value.origin == f"{folder}/bad.py:2"

    def test_exit(self, folder: Path) -> None:
        (folder / "bad.py").write_text("import sys\nsys.exit(3)\n")

        with pytest.raises(DefinitionError, match="SystemExit: 3"):
            load_images("bad.py")

    def test_missing_module(self, folder: Path) -> None:
        (folder / "bad.py").write_text("import no_such_module_anywhere\n")

        with pytest.raises(DefinitionError) as caught:
            load_images("bad.py")
        assert caught.value.hint
        assert sys.executable in caught.value.hint

    def test_error_of_ours_keeps_its_kind(self, folder: Path) -> None:
        define(folder, "Image.from_base('x').with_env_vars({'A': '1'})\n", "bad.py")

        with pytest.raises(DefinitionError, match="no name of its own") as caught:
            load_images("bad.py")
        assert caught.value.origin == f"{folder}/bad.py:5"


class TestScripts:
    HEADER = '# /// script\n# dependencies = ["httpx"]\n# ///\n'

    def test_is_not_run(self, folder: Path) -> None:
        (folder / "My_job.py").write_text(
            f"{self.HEADER}import httpx_that_is_missing\n"
        )

        (found,) = load_images("My_job.py")
        assert found.name == "My_job"
        assert found.image.name == "my-job"

    def test_is_the_same_in_every_place(self, folder: Path) -> None:
        identifiers = set()
        for name in ("one", "two/three"):
            place = folder / name
            place.mkdir(parents=True)
            (place / "job.py").write_text(self.HEADER)
            identifiers.add(load_images(str(place / "job.py"))[0].image.identifier)
        (folder / "job.py").write_text(
            "from imagekit import Image\n"
            "image = Image.from_uv_script('job.py', name='job')\n"
        )
        identifiers.add(load_images("job.py")[0].image.identifier)

        assert len(identifiers) == 1

    def test_its_origin_is_the_script(self, folder: Path) -> None:
        (folder / "job.py").write_text(self.HEADER)

        (found,) = load_images("job.py")
        assert str(found.image.layers[-1].origin) == f"{folder}/job.py:1"

    def test_that_defines_images_is_a_module(self, folder: Path) -> None:
        (folder / "job.py").write_text(
            f"{self.HEADER}import flyte\nenv = flyte.Image.from_debian_base(name='z')\n"
        )

        assert names("job.py") == ["env"]

    def test_can_be_chosen_by_its_name(self, folder: Path) -> None:
        (folder / "job.py").write_text(self.HEADER)

        assert names("job.py", "job") == ["job"]


@pytest.mark.parametrize(
    ("target", "file", "chosen"),
    [
        ("a.py", "a.py", ()),
        ("a.py:web", "a.py", ("web",)),
        ("a.py:", "a.py", ()),
        ("there:is.py", "there:is.py", ()),
        ("there:is.py:web", "there:is.py", ("web",)),
    ],
)
def test_target(folder: Path, target: str, file: str, chosen: tuple[str, ...]) -> None:
    (folder / "there:is.py").touch()

    assert split_target(target) == (file, chosen)


def test_images_are_images(folder: Path) -> None:
    file = define(folder, "image = Image.from_debian_base(name='z')\n")

    (found,) = load_images(file)
    assert found.image == Image.from_debian_base(name="z")
