"""Images of environments: each once, and those that they depend on."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

import imagekit
from imagekit import Image, TaskEnvironment
from imagekit.build_images import ImageCache
from imagekit.environment_images import image_of, with_dependencies
from imagekit.errors import DefinitionError
from imagekit.layers import LayoutBase
from imagekit.task_errors import DeploymentError


def test_images_of_environments() -> None:
    image = Image.from_base("ghcr.io/x/y:1")

    assert image_of(TaskEnvironment("a", image=image)) is image
    assert image_of(TaskEnvironment("b", image="ghcr.io/x/y:1")) == image
    assert image_of(TaskEnvironment("c")) == Image.from_debian_base()


def test_dependencies_come_once_and_in_order() -> None:
    last = TaskEnvironment("last")
    left = TaskEnvironment("left", depends_on=[last])
    right = TaskEnvironment("right", depends_on=[last, left])
    first = TaskEnvironment("first", depends_on=[right, left])
    last.add_dependency(first)

    assert with_dependencies([first, left]) == (first, right, last, left)


def test_existing_images_need_no_build() -> None:
    base = TaskEnvironment("base", image="ghcr.io/x/y:1")
    more = TaskEnvironment("more", image="ghcr.io/x/z:1", depends_on=[base])

    found = imagekit.build_images(more)

    assert found.image_lookup == {"more": "ghcr.io/x/z:1", "base": "ghcr.io/x/y:1"}
    assert list(found.repr()) == [
        [("Name", "more"), ("image", "ghcr.io/x/z:1")],
        [("Name", "base"), ("image", "ghcr.io/x/y:1")],
    ]
    assert asyncio.run(imagekit.build_images.aio(more)) == found


def test_transport_round_trips_and_is_deterministic() -> None:
    one = ImageCache(image_lookup={"a": "x:1", "b": "y:2"})
    other = ImageCache(image_lookup={"b": "y:2", "a": "x:1"})

    text = one.to_transport

    assert text == other.to_transport
    assert not set(text) & set(" \n")
    read = ImageCache.from_transport(text)
    assert read == one
    assert read.serialized_form == read.to_transport == text


@pytest.mark.parametrize("text", ["", "x", "eyJhIjoxfQ==", "\u00e9"])
def test_what_is_no_transport_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError, match="wanted a transported image cache"):
        ImageCache.from_transport(text)


def test_each_image_is_built_once_and_different_ones_at_the_same_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both = threading.Barrier(2)
    built = []

    def build(image: Image, **options: object) -> str:
        built.append(image)
        both.wait(timeout=30)  # broken, unless the other one is being built too
        return f"built:{image.name}"

    monkeypatch.setattr("imagekit.building.build", build)
    one = Image.from_debian_base(name="one")
    last = TaskEnvironment("last", image=one)
    other = TaskEnvironment("other", image=one.clone(name="two"), depends_on=[last])
    first = TaskEnvironment(
        "first", image=Image.from_debian_base(name="one"), depends_on=[other]
    )

    found = imagekit.build_images(first)

    assert len(built) == 2
    assert found.image_lookup == {
        "first": "built:one",
        "other": "built:two",
        "last": "built:one",
    }


def test_what_has_no_images_is_refused() -> None:
    env = TaskEnvironment("twice")
    again = TaskEnvironment("twice")

    with pytest.raises(DeploymentError, match="two environments are called 'twice'"):
        imagekit.build_images(env, again)
    with pytest.raises(DeploymentError, match="wanted environments, found \\["):
        imagekit.build_images([env])  # type: ignore[arg-type]


def test_references_and_paths_are_written_where_the_environment_is() -> None:
    env = TaskEnvironment("layout", image="oci:layouts/base")

    image = image_of(env)

    assert isinstance(image.base, LayoutBase)
    assert image.base.path.location == str(Path(__file__).parent / "layouts" / "base")
    assert image.base.path.name == "layouts/base"
    assert image.base.origin == env.origin


@pytest.mark.engine
def test_equal_images_are_built_once(
    base_layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: str
) -> None:
    monkeypatch.setenv("IMAGEKIT_REGISTRY", registry)

    def image(text: str) -> Image:
        base = Image.from_base(f"oci:{base_layout}")
        return base.clone(name="environments").with_env_vars({"TEXT": text})

    same = TaskEnvironment("same", image=image("1"))
    equal = TaskEnvironment("equal", image=image("1"), depends_on=[same])
    different = TaskEnvironment("different", image=image("2"), depends_on=[equal])
    began = []

    found = imagekit.build_images(
        different,
        progress=lambda event: began.append(str(event)),
        settings={"platforms": ["linux/amd64"]},
    )

    lookup = found.image_lookup
    assert lookup["same"] == lookup["equal"] != lookup["different"]
    assert all(
        uri.startswith(f"{registry}/environments:ik1-") for uri in lookup.values()
    )
    again = imagekit.build_images(different, settings={"platforms": ["linux/amd64"]})
    assert again == found
