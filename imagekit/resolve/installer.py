"""uv for the target: what installs distributions where an image is made inside."""

from __future__ import annotations

from imagekit.builder import WheelSource
from imagekit.layers import InstallOptions, PipPackages
from imagekit.origin import Origin
from imagekit.plan import BaseImage, Distribution
from imagekit.progress import Progress
from imagekit.resolve.python import resolve
from imagekit.resolve.sizes import with_sizes
from imagekit.resolve.target import target_of
from imagekit.store import Store


def installer(
    base: BaseImage,
    *,
    folder: str,
    store: Store,
    wheels: WheelSource,
    progress: Progress,
) -> Distribution:
    """Return a wheel for *base* of the uv that imagekit itself uses.

    Args:
        base: what it has to run on.
        folder: where the user's configuration of uv is looked for.
        store: keeps what was found.
        wheels: tells how big the wheel is.
        progress: receives events.

    Raises:
        ResolutionError: the index does not have it.
        BaseUnsuitableError: nobody can tell which wheels fit.
    """
    from importlib.metadata import version  # noqa: PLC0415  (slow to import)

    layer = PipPackages(
        packages=(f"uv=={version('uv')}",),
        options=InstallOptions(),
        origin=Origin(file="<imagekit>", line=1, folder=folder),
    )
    (result,) = resolve(
        (layer,),
        target_of(base),
        lineage=f"installer:{base.platform}",
        store=store,
        progress=progress,
    )
    (found,) = with_sizes(result.distributions, wheels, store)
    return found
