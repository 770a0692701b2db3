"""Lists of objects, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from imagekit.cluster.access import Api, Json
from imagekit.cluster.kinds import accept_of, path_of, version_of
from imagekit.cluster.stopping import Stop

#: Labels that objects have to have, or a label selector as a text.
Selector: TypeAlias = str | Mapping[str, str]
#: All objects of a page are in memory at once, and each may have a megabyte.
PAGE = 50


def pages(
    api: Api,
    kind: str,
    selector: Selector = "",
    *,
    fields: str = "",
    namespace: str | None = None,
    limit: int = PAGE,
    metadata: bool = False,
    stop: Stop | None = None,
) -> Iterator[Json]:
    """Yield the pages of one list; their items have a kind, as manifests do.

    Raises:
        GoneError: it took so long that the next page can't be had.
        ClusterError: the API refuses, or is not there for too long.
    """
    query = {**selection(selector, fields), "limit": str(limit)}
    while True:
        page = api.request(
            "GET",
            path_of(kind, namespace or api.namespace),
            query=query,
            accept=accept_of(kind, listed=True, metadata=metadata),
            stop=stop,
        )
        page["items"] = items = page.get("items") or []
        for item in items:
            item.setdefault("apiVersion", version_of(kind))
            item.setdefault("kind", kind)
        # A page may be all that is kept of thousands of objects while it is used.
        token = page["metadata"].get("continue")
        yield page
        if not token:
            return
        query["continue"] = token


def selection(selector: Selector, fields: str = "") -> dict[str, str]:
    """Return the parameters of a query that select objects."""
    query = {}
    if selector:
        query["labelSelector"] = (
            selector
            if isinstance(selector, str)
            else ",".join(f"{name}={value}" for name, value in selector.items())
        )
    if fields:
        query["fieldSelector"] = fields
    return query
