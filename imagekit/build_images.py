"""``build_images()``: the images of environments and of all that these depend on."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from imagekit.environment import Environment
from imagekit.environment_images import (
    check_names,
    checked_environments,
    image_of,
    with_dependencies,
)
from imagekit.errors import DefinitionError
from imagekit.image import Image
from imagekit.records import dataclass, field

__all__ = ["ImageCache", "build_images"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCache:
    """Which image each environment has.

    Attributes:
        image_lookup: name of the environment to URI of its image.
        serialized_form: what it was read from, if it was.
    """

    image_lookup: Mapping[str, str]
    serialized_form: str | None = field(default=None, compare=False)

    @property
    def to_transport(self) -> str:
        """The cache as a text without spaces, the same for equal caches."""
        if self.serialized_form is not None:
            return self.serialized_form
        document = json.dumps({"image_lookup": self.image_lookup}, sort_keys=True)
        return base64.b64encode(gzip.compress(document.encode(), mtime=0)).decode()

    @classmethod
    def from_transport(cls, text: str) -> ImageCache:
        """Return the cache that *text* holds.

        Raises:
            DefinitionError: it holds none.
        """
        try:
            document = json.loads(gzip.decompress(base64.b64decode(text)))
            lookup = document["image_lookup"]
        except (
            ValueError,
            OSError,
            EOFError,
            zlib.error,
            KeyError,
            TypeError,
        ) as error:
            raise DefinitionError(
                f"wanted a transported image cache, found {text[:40]!r}"
            ) from error
        return cls(image_lookup=dict(lookup), serialized_form=text)

    def repr(self) -> Iterator[list[tuple[str, str]]]:
        """Yield rows for a table: the environment, and its image."""
        for name, uri in self.image_lookup.items():
            yield [("Name", name), ("image", uri)]


class _BuildImages:
    """``build_images(env)`` blocks; ``await build_images.aio(env)`` does not."""

    def __call__(self, *envs: Environment, **options: Any) -> ImageCache:
        """Build the images of *envs* and of all that they depend on, each once.

        Args:
            envs: environments.
            options: as :func:`imagekit.build` takes them.

        Raises:
            DeploymentError: an argument is no environment, or two have one name.
            ImageKitError: see :mod:`imagekit.errors`.
        """
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  (slow)

        from imagekit.building import build  # noqa: PLC0415  (only to build)

        every = with_dependencies(checked_environments(envs))
        check_names(every)
        found = {item.name: image_of(item) for item in every}
        images = list(dict.fromkeys(found.values()))
        with ThreadPoolExecutor(max_workers=max(1, len(images))) as pool:

            def one(image: Image) -> str:
                return str(build(image, **options))

            uris = dict(zip(images, pool.map(one, images), strict=True))
        return ImageCache(
            image_lookup={name: uris[image] for name, image in found.items()}
        )

    async def aio(self, *envs: Environment, **options: Any) -> ImageCache:
        """Build in a thread, so that the event loop goes on."""
        import asyncio  # noqa: PLC0415  (slow to import)

        return await asyncio.to_thread(self, *envs, **options)


build_images = _BuildImages()
