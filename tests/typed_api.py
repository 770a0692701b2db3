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
