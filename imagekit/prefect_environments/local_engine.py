"""The local engine, as python-on-whales reaches it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from imagekit.errors import (
    BuilderUnavailableError,
    ImageKitError,
    SourceNotFoundError,
)
from imagekit.layers import LayoutBase
from imagekit.platform import Platform
from imagekit.prefect_environments.build_log import BuildLog
from imagekit.reference import Reference

if TYPE_CHECKING:
    import python_on_whales


def load_layout(base: LayoutBase, name: str, log: BuildLog) -> str:
    """Bring the image of a layout into the engine, under *name*."""
    from imagekit.oci.closure import read_small  # noqa: PLC0415
    from imagekit.oci.engine import load  # noqa: PLC0415
    from imagekit.oci.layout import Layout  # noqa: PLC0415
    from imagekit.oci.model import Descriptor  # noqa: PLC0415
    from imagekit.oci.select import find_image  # noqa: PLC0415

    layout = Layout.open(base.path.location)
    host = Platform.host()

    def content(descriptor: Descriptor) -> Path:
        return layout.blob_path(descriptor.digest)

    root = layout.resolve(base.reference)
    found = find_image(root, host, partial(read_small, open_blob=content))
    if found is None:
        raise SourceNotFoundError(
            f"wanted an image for {host} in {base.path.location!r}, found none",
            hint="name a layout that has one",
        )
    load(
        found.descriptor,
        content,
        names=[Reference.parse(name)],
        platform=host,
        progress=log,
    )
    log.lines.append(f"loaded {base.path.name} as {name}")
    return name


def engine_client() -> python_on_whales.DockerClient:
    """Return a client for the engine that the user's shell reaches."""
    from python_on_whales import DockerClient  # noqa: PLC0415  (slow to import)

    return DockerClient()


@contextmanager
def engine_errors(kind: Callable[[str], ImageKitError], message: str) -> Iterator[None]:
    """Raise errors of the engine's client as *kind*, with *message* and the reason.

    Raises:
        BuilderUnavailableError: there is no ``docker`` command.
    """
    from python_on_whales import (  # noqa: PLC0415  (slow to import)
        ClientNotFoundError,
        DockerException,
    )

    try:
        yield
    except ClientNotFoundError as error:
        raise BuilderUnavailableError(
            "there is no 'docker' command on the PATH", hint="install Docker"
        ) from error
    except DockerException as error:
        # Not the error's own text: it has the whole command.
        lines = (error.stderr or "").strip().splitlines() or [
            f"exit code {error.return_code}"
        ]
        raise kind(f"{message}: {lines[-1]}") from error
