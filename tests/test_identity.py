"""The identifier: injective, and equal everywhere (docs/identity.md)."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from strategies import images

from imagekit import Image
from imagekit.canonical import encode
from imagekit.layers import CodeBundle
from imagekit.origin import caller
from imagekit.sources import Tree

VECTORS = Path(__file__).parent.parent / "fixtures" / "identifiers"


def base() -> Image:
    return Image.from_base("python:3.12").clone(name="app")


@given(images, images)
def test_ids_are_equal_exactly_when_definitions_are(a: Image, b: Image) -> None:
    assert (a.identifier == b.identifier) == (a == b)
    assert (encode("image", a) == encode("image", b)) == (a == b)
    if a == b:
        assert hash(a) == hash(b)


@given(images)
def test_pickle_keeps_equality_hash_and_identifier(image: Image) -> None:
    copy = pickle.loads(pickle.dumps(image))

    assert copy == image
    assert hash(copy) == hash(image)
    assert copy.identifier == image.identifier


COLLISIONS = {
    # Each pair has one tag in the Flyte SDK (reference: ten rows, and variants).
    "pip boundaries": (
        base().with_pip_packages("ab", "c"),
        base().with_pip_packages("a", "bc"),
    ),
    "apt and commands": (
        base().with_apt_packages("x"),
        base().with_commands(["x"]),
    ),
    "apt and pip": (base().with_apt_packages("x"), base().with_pip_packages("x")),
    "workdir and commands": (
        base().with_workdir("/a"),
        base().with_commands(["/a"]),
    ),
    "two commands": (
        base().with_commands(["a"]).with_commands(["b"]),
        base().with_commands(["ab"]),
    ),
    "two pip layers": (
        base().with_pip_packages("a").with_pip_packages("b"),
        base().with_pip_packages("a", "b"),
    ),
    "env boundaries": (
        base().with_env_vars({"A": "1 B=2"}),
        base().with_env_vars({"A": "1", "B": "2"}),
    ),
    "index and extra index": (
        base().with_pip_packages("x", index_url="u"),
        base().with_pip_packages("x", extra_index_urls=["u"]),
    ),
    "index and package": (
        base().with_pip_packages("b", index_url="a"),
        base().with_pip_packages("ab"),
    ),
    "platform": (
        base().clone(platform="linux/amd64"),
        base().clone(platform="linux/arm64"),
    ),
    "python version": (
        base().clone(python_version=(3, 11)),
        base().clone(python_version=(3, 12)),
    ),
    "base": (
        Image.from_base("python:3.12").clone(name="app"),
        Image.from_base("python:3.11").clone(name="app"),
    ),
    "secret names": (
        base().with_apt_packages("x", secret_mounts="a"),
        base().with_apt_packages("x", secret_mounts="b"),
    ),
}


@pytest.mark.parametrize("pair", COLLISIONS.values(), ids=COLLISIONS.keys())
def test_what_collides_elsewhere_differs_here(pair: tuple[Image, Image]) -> None:
    first, second = pair

    assert first.identifier != second.identifier
    assert first != second
    assert first.content_id != second.content_id


def test_trees_that_collide_elsewhere_differ_here(tmp_path: Path) -> None:
    def tree(name: str, files: dict[str, tuple[str, int]]) -> str:
        for path, (text, mode) in files.items():
            file = tmp_path / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(mode)
        return base().with_source_folder(tmp_path / name).content_id

    ids = {
        tree("1", {"a/bc": ("x", 0o644)}),
        tree("2", {"ab/c": ("x", 0o644)}),
        tree("3", {"a/bc": ("x", 0o755)}),
        tree("4", {"abc": ("x", 0o644)}),
        tree("5", {"b": ("xa", 0o644)}),
        tree("6", {"ab": ("x", 0o644)}),
    }
    (tmp_path / "7" / "empty").mkdir(parents=True)
    ids.add(tree("7", {"a/bc": ("x", 0o644)}))
    (tmp_path / "8").mkdir()
    (tmp_path / "8" / "link").symlink_to("nowhere")
    ids.add(tree("8", {"a/bc": ("x", 0o644)}))

    assert len(ids) == 8


def test_order_of_env_vars_does_not_matter_and_order_of_layers_does() -> None:
    assert base().with_env_vars({"A": "1", "B": "2"}) == base().with_env_vars(
        {"B": "2", "A": "1"}
    )
    one = base().with_env_vars({"A": "1"}).with_workdir("/a")
    two = base().with_workdir("/a").with_env_vars({"A": "1"})
    assert one.identifier != two.identifier


def test_secret_as_text_and_as_object_are_one_definition() -> None:
    from imagekit import Secret

    assert base().with_pip_packages(
        "x", secret_mounts="key"
    ) == base().with_pip_packages("x", secret_mounts=[Secret("key")])


PROGRAM = """
from pathlib import Path
from imagekit import Image
image = (
    Image.from_debian_base(name="app")
    .with_pip_packages("numpy>=1", "pandas")
    .with_source_folder(Path(__file__).parent / "src", dst="/app")
    .with_source_file("../shared/settings.json")
    .with_requirements("missing/requirements.txt")
    .with_env_vars({"B": "2", "A": "\\u00e9 \\n"})
)
print(image.identifier)
"""


def run(program: Path, python: str = sys.executable, **kwargs: object) -> str:
    done = subprocess.run(
        [python, str(program)],
        check=True,
        capture_output=True,
        text=True,
        **kwargs,  # type: ignore[call-overload]
    )
    return str(done.stdout.strip())


def test_identifier_is_equal_in_every_checkout_directory_and_hash_seed(
    tmp_path: Path,
) -> None:
    ids = set()
    for place in ("a/project", "b/deeper/other", "c"):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        program = folder / "images.py"
        program.write_text(PROGRAM)
        for seed in ("0", "1"):
            environment = {**os.environ, "PYTHONHASHSEED": seed}
            ids.add(run(program, cwd=tmp_path, env=environment))
            ids.add(run(program, cwd="/", env=environment, umask=0o077))

    assert len(ids) == 1


def test_encoding_a_hundred_times_gives_one_text() -> None:
    image = COLLISIONS["env boundaries"][1].with_source_folder("src")

    assert len({encode("image", image) for _ in range(100)}) == 1


def code_bundle(digest: str, dst: str) -> CodeBundle:
    """A layer with no files, and the digest of some."""
    tree = Tree(entries=())
    return CodeBundle(digest=digest, dst=dst, label="x", tree=tree, origin=caller())


@pytest.mark.parametrize(
    "path", sorted(VECTORS.glob("*.json")), ids=lambda path: path.stem
)
def test_golden_vectors(path: Path) -> None:
    """A change here is a new identity for users: see docs/identity.md, "Versions"."""
    vector = json.loads(path.read_text())
    image = eval(vector["python"], {"Image": Image, "code_bundle": code_bundle})

    assert encode("image", image).decode() == vector["encoding"]
    assert image.identifier == vector["identifier"]


def test_golden_vectors_cover_every_kind_of_layer() -> None:
    from typing import get_args

    from imagekit.layers import Layer

    text = "".join(path.read_text() for path in VECTORS.glob("*.json"))
    for kind in get_args(Layer):
        assert f'\\"kind\\":\\"{kind.kind}\\"' in text
