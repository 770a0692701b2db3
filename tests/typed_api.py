"""Uses of the public names that must type-check; checked by mypy, never run."""

from __future__ import annotations

from typing import assert_type

import flyte
import imagekit


def both_names_have_types() -> None:
    image = flyte.Image.from_debian_base(name="app").with_pip_packages("httpx")
    assert_type(image, imagekit.Image)
    assert_type(image.identifier, str)
    result = imagekit.build(image, push=True)
    assert_type(result, flyte.BuildResult)
    assert_type(result.digest, str | None)


async def building_can_be_awaited(image: imagekit.Image) -> str:
    return await flyte.build.aio(image)


env = imagekit.TaskEnvironment("typed", resources=imagekit.Resources(gpu="T4:1"))


@env.task
async def length(text: str) -> int:
    return len(text)


@env.task(retries=2, timeout=60, cache="auto")
def double(x: int, *, times: int = 1) -> int:
    return 2 * x * times


async def tasks_keep_their_signatures() -> None:
    assert_type(await length("a"), int)
    assert_type(double(2, times=3), int)
    assert_type(await length.aio("a"), int)
    assert_type(await double.aio(2), int)
    assert_type(double.forward(2), int)
    assert_type(await length.override(retries=3)("a"), int)
    assert_type(env.clone_with("other"), flyte.TaskEnvironment)
    assert_type(env.add_task(double)(1), int)


async def tasks_refuse_other_arguments() -> None:
    await length(1)  # type: ignore[arg-type]
    double("a")  # type: ignore[arg-type]
    double(1, 2)  # type: ignore[call-arg]
    await double.aio(x="a")  # type: ignore[arg-type]
    length.override(retries="many")  # type: ignore[arg-type]
    imagekit.Cache("sometimes")  # type: ignore[arg-type]
    imagekit.GPU("T5", 1)  # type: ignore[arg-type]


async def maps_give_results(numbers: list[int]) -> None:
    assert list(imagekit.map(double, numbers)) == [2, 4]
    for number in flyte.map(double, numbers, return_exceptions=False):
        assert_type(number, int)
    for text_length in imagekit.map(length, ["a"], return_exceptions=False):
        assert_type(text_length, int)
