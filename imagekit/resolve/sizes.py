"""Sizes of wheels: what the index does not tell is asked for.

Which small distributions share a layer follows from their sizes. So the sizes have to
be known, and be the same, whatever a mirror's pages say: or one definition would have
one digest here and another there.
"""

from __future__ import annotations

from collections.abc import Sequence

from imagekit.builder import WheelSource
from imagekit.plan import Distribution
from imagekit.records import replace
from imagekit.store import Store

_REQUESTS = 8


def with_sizes(
    distributions: Sequence[Distribution], wheels: WheelSource, store: Store
) -> tuple[Distribution, ...]:
    """Return *distributions* with every size known.

    Asks the store first, then what was learned before, then the files' hosts; where a
    host does not tell, the wheel is fetched.

    Raises:
        DownloadError: a host could not be asked.
    """
    known = {
        item.sha256: item.size if item.size is not None else _remembered(item, store)
        for item in distributions
    }
    missing = [item for item in distributions if known[item.sha256] is None]
    if missing:
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  (threads)

        with ThreadPoolExecutor(_REQUESTS, "imagekit-size") as pool:
            for item, size in zip(
                missing, pool.map(wheels.measure, missing), strict=True
            ):
                known[item.sha256] = size
                store.write_record("sizes", item.sha256, size)
    return tuple(replace(item, size=known[item.sha256]) for item in distributions)


def _remembered(item: Distribution, store: Store) -> int | None:
    try:
        return store.wheel_path(item.sha256, item.filename).stat().st_size
    except OSError:
        size = store.read_record("sizes", item.sha256)
        return size if isinstance(size, int) else None
