"""Watches: what happens to objects, with nothing lost between connections.

A watch lists the objects and then follows their changes from the list on. Connections
end all the time: the API server ends them, restarts, or is cut off. The next one goes
on from the last change that was seen. If the API no longer knows that (410), the
objects are listed again, and what happened meanwhile is told by comparing: of what
vanished, what was last known of its metadata.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TypeAlias

from imagekit.cluster.access import Api, Json
from imagekit.cluster.api_errors import BrokenOffError, ClusterError, GoneError
from imagekit.cluster.kinds import accept_of, path_of
from imagekit.cluster.listing import PAGE, Selector, pages, selection
from imagekit.cluster.refusal import refusal
from imagekit.cluster.retrying import Pauses
from imagekit.cluster.stopping import Stop
from imagekit.records import dataclass

#: Seconds after which the API server ends a connection, so that none that is dead in
#: some odd way is held for long; and those that it may be late.
_PERIOD = 240
_GRACE = 30.0
#: A version that the API can't go on from for so many times is given up.
_TRIES = 3
_UNKNOWN = 500


@dataclass(frozen=True, slots=True)
class Added:
    """An object is there that was not."""

    object: Json


@dataclass(frozen=True, slots=True)
class Modified:
    """An object changed."""

    object: Json


@dataclass(frozen=True, slots=True)
class Deleted:
    """An object is gone, or is no longer selected.

    If it went while nobody watched, *object* is its metadata as last seen, without
    annotations.
    """

    object: Json


@dataclass(frozen=True, slots=True)
class Listed:
    """All that is there has been told: after the first list, and after each other."""


WatchEvent: TypeAlias = Added | Modified | Deleted | Listed


def watch(
    api: Api,
    kind: str,
    selector: Selector = "",
    *,
    stop: Stop,
    fields: str = "",
    namespace: str | None = None,
    limit: int = PAGE,
    period: int = _PERIOD,
    metadata: bool = False,
) -> Iterator[WatchEvent]:
    """Yield what happens to objects, beginning with those that are there.

    Args:
        api: access to the cluster.
        kind: of the objects.
        selector: the labels that they have.
        stop: ends the watch, from another thread too.
        fields: a field selector, such as ``metadata.name=NAME``.
        namespace: where they are.
        limit: length of the pages of a list.
        period: seconds that one connection is held.
        metadata: whether their metadata is enough.

    Raises:
        ClusterError: the API refuses, or is not there for too long.
    """
    followed = _Watch(
        api, kind, selector, fields, namespace, limit, period, stop, metadata=metadata
    )
    pauses = Pauses()
    try:
        while not stop.is_set():
            try:
                yield from followed.listed()
                pauses.reset()
                yield from followed.changes()
            except GoneError:
                # Once, it is a matter of course; a list may also grow old at each try.
                stop.wait(pauses.seconds())
    except ClusterError:
        if not stop.is_set():
            raise


class _Watch:
    """One watch.

    Attributes:
        known: slim metadata of the objects that are there, by name; what a list is
            compared with.
    """

    def __init__(
        self,
        api: Api,
        kind: str,
        selector: Selector,
        fields: str,
        namespace: str | None,
        limit: int,
        period: int,
        stop: Stop,
        *,
        metadata: bool,
    ) -> None:
        self._api = api
        self._kind = kind
        self._selector, self._fields = selector, fields
        self._namespace = namespace or api.namespace
        self._limit, self._period = limit, period
        self._stop = stop
        self._metadata = metadata
        self._known: dict[str, Json] = {}
        self._version = ""
        self._refused = 0

    def listed(self) -> Iterator[WatchEvent]:
        """Yield the differences between what is known and what is there."""
        there: set[str] = set()
        version = ""
        for page in pages(
            self._api,
            self._kind,
            self._selector,
            fields=self._fields,
            namespace=self._namespace,
            limit=self._limit,
            metadata=self._metadata,
            stop=self._stop,
        ):
            version = page["metadata"]["resourceVersion"]
            for item in page["items"]:
                there.add(item["metadata"]["name"])
                yield from self._compared(item)
        for name in [name for name in self._known if name not in there]:
            yield Deleted(self._gone(name))
        self._version = version
        yield Listed()

    def changes(self) -> Iterator[WatchEvent]:
        """Yield changes until a list is needed, or the watch is to end."""
        pauses = Pauses()
        self._refused = 0
        while not self._stop.is_set() and self._refused < _TRIES:
            # Ended by the API server at its time, or as it ends itself; or broken off.
            with suppress(BrokenOffError):
                for change in self._connection():
                    self._refused = 0
                    pauses.reset()
                    yield change
            self._stop.wait(pauses.seconds())

    def _connection(self) -> Iterator[WatchEvent]:
        query = {
            **selection(self._selector, self._fields),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(self._period),
        }
        path = path_of(self._kind, self._namespace)
        with self._api.stream(
            path,
            query=query,
            accept=accept_of(self._kind, metadata=self._metadata),
            timeout=self._period + _GRACE,
            stop=self._stop,
        ) as chunks:
            for line in lines(chunks):
                document = json.loads(line)
                if document["type"] == "ERROR":
                    self._refuse(document["object"], path)
                    return
                change = self._change(document)
                if change is not None:
                    yield change

    def _refuse(self, status: Json, path: str) -> None:
        """Raise what a status says, unless trying again may help."""
        error = refusal(
            int(status.get("code") or _UNKNOWN),
            json.dumps(status).encode(),
            method="GET",
            path=path,
        )
        if not error.temporary:
            raise error
        self._refused += 1

    def _change(self, document: Json) -> WatchEvent | None:
        obj = document["object"]
        metadata = obj["metadata"]
        self._version = metadata["resourceVersion"]
        match document["type"]:
            case "ADDED":
                self._learn(metadata)
                return Added(obj)
            case "MODIFIED":
                self._learn(metadata)
                return Modified(obj)
            case "DELETED":
                self._known.pop(metadata["name"], None)
                return Deleted(obj)
            case _:  # a bookmark: the version is all that it is about
                return None

    def _compared(self, item: Json) -> Iterator[WatchEvent]:
        metadata = item["metadata"]
        name = metadata["name"]
        known = self._known.get(name)
        if known is not None and known["uid"] != metadata["uid"]:
            yield Deleted(self._gone(name))
            known = None
        self._learn(metadata)
        if known is None:
            yield Added(item)
        elif known["resourceVersion"] != metadata["resourceVersion"]:
            yield Modified(item)

    def _learn(self, metadata: Json) -> None:
        kept = ("name", "namespace", "uid", "resourceVersion", "labels")
        self._known[metadata["name"]] = {
            key: metadata[key] for key in kept if key in metadata
        }

    def _gone(self, name: str) -> Json:
        return {"kind": self._kind, "metadata": self._known.pop(name)}


def lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield whole lines; one that has no end was cut off, and comes again."""
    held: list[bytes] = []
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        held.append(first)
        if not others:
            continue
        for line in (b"".join(held), *others[:-1]):
            if line:
                yield line
        held = [others[-1]]
