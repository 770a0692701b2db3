"""A Kubernetes API in memory, for tests of what watches one: objects, lists, watches.

It does as it is told: nothing makes pods of Jobs, no quota counts. What it knows of
refusals, a test says.
"""

from __future__ import annotations

import copy
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from imagekit.cluster.api_errors import (
    AlreadyExistsError,
    ConflictError,
    NotFoundError,
)
from imagekit.cluster.kinds import path_of, target_of
from imagekit.cluster.stopping import Stop

#: Seconds in which what a test waits for has to come.
_SOON = 30.0
#: A term of a selector, and one that has several values.
_TERM = re.compile(r"(?:[^,(]|\([^)]*\))+")
_ONE_OF = re.compile(r"(\S+) in \((.*)\)")


class ApiInMemory:
    """The access :class:`imagekit.cluster.access.Api` to a cluster in memory.

    Attributes:
        objects: all objects, by path.
        changed: is notified of all that changes.
        watching: how many watches are on.
        refuse: is asked before each request, with method, path and body; may raise.
        logs: what containers have printed, by ``POD/CONTAINER``; nothing if not there.
        now: the time of the API server; None for that of this machine.
    """

    namespace = "team"

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.changed = threading.Condition()
        self.watching = 0
        self.refuse: Callable[[str, str, Any], None] = lambda *_request: None
        self.logs: dict[str, bytes] = {}
        self.now: str | None = None
        self._version = 0
        self._changes: list[tuple[int, str, str, Any]] = []
        self._broken: list[Exception] = []

    # What tests use.

    def of_kind(self, kind: str) -> list[Any]:
        """Return the objects of a kind."""
        with self.changed:
            return [item for item in self.objects.values() if item["kind"] == kind]

    def get(self, kind: str, name: str) -> Any:
        """Return an object; None if there is none."""
        with self.changed:
            return copy.deepcopy(self.objects.get(self._path(kind, name)))

    def put(self, obj: Any) -> Any:
        """Have an object be there, new or changed."""
        with self.changed:
            return self._put(self._path(obj["kind"], obj["metadata"]["name"]), obj)

    def remove(self, kind: str, name: str) -> None:
        """Have an object be gone."""
        with self.changed:
            self._remove(self._path(kind, name))

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        with self.changed:
            assert self.changed.wait_for(condition, _SOON)

    def break_watches(self, error: Exception) -> None:
        """Have all watches that are on end with *error*."""
        with self.changed:
            self._broken.append(error)
            self.changed.notify_all()

    # What the product uses.

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Any = None,
        **_options: Any,
    ) -> Any:
        self.refuse(method, path, body)
        with self.changed:
            if method == "POST":
                path = f"{path}/{body['metadata']['name']}"
                if path in self.objects:
                    raise AlreadyExistsError(f"{path} exists", status=409)
                return self._put(path, body)
            if method == "PATCH":
                return self._patch(path, body, query or {})
            if method == "DELETE":
                return self._delete(path, (body or {}).get("preconditions") or {})
            if target_of(path).name:
                return copy.deepcopy(self._at(path))
            items = [copy.deepcopy(item) for item in self._chosen(path, query)]
            version = {"resourceVersion": str(self._version)}
            return {"metadata": version, "items": items}

    @contextmanager
    def stream(
        self,
        path: str,
        *,
        query: Any = None,
        stop: Stop | None = None,
        **_options: Any,
    ) -> Iterator[Iterator[bytes]]:
        self.refuse("GET", path, None)
        if "watch" not in query:
            pod, container = path.split("/")[-2], query.get("container")
            yield iter([self.logs.get(f"{pod}/{container}", b"")])
            return
        assert stop is not None
        with stop.ending(self._wake):
            yield self._followed(path, query, stop)

    def patient(self, *_arguments: Any, **_options: Any) -> Any:
        return self

    def close(self) -> None:
        pass

    def _wake(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def _followed(self, path: str, query: Any, stop: Stop) -> Iterator[bytes]:
        seen = int(query["resourceVersion"])
        with self.changed:
            broken = len(self._broken)
            self._count(1)
        try:
            while True:
                with self.changed:
                    while self._version == seen and len(self._broken) == broken:
                        if stop.is_set():
                            return
                        self.changed.wait()
                    if len(self._broken) > broken:
                        raise self._broken[-1]
                    news = [item for item in self._changes if item[0] > seen]
                    seen = self._version
                for _, place, kind, item in news:
                    if place.rpartition("/")[0] == path and _is_selected(item, query):
                        line = json.dumps({"type": kind, "object": item})
                        yield f"{line}\n".encode()
        finally:
            with self.changed:
                self._count(-1)

    def _count(self, by: int) -> None:
        self.watching += by
        self.changed.notify_all()

    def _chosen(self, path: str, query: Any) -> Iterator[Any]:
        for place, item in self.objects.items():
            if place.rpartition("/")[0] == path and _is_selected(item, query):
                yield item

    def _path(self, kind: str, name: str) -> str:
        return path_of(kind, self.namespace, name)

    def _at(self, path: str) -> Any:
        if path not in self.objects:
            raise NotFoundError(f"{path}: there is none", status=404)
        return self.objects[path]

    def _patch(self, path: str, body: Any, query: Any) -> Any:
        if "force" not in query:
            return self._put(path, _merged(self._at(path), body))
        # Applied: it need not be there.
        made = _merged(self.objects.get(path, {}), body)
        return self._dated(made) if "dryRun" in query else self._put(path, made)

    def _delete(self, path: str, preconditions: Any) -> None:
        uid = self._at(path)["metadata"]["uid"]
        if preconditions.get("uid", uid) != uid:
            raise ConflictError(f"{path} is another one", status=409)
        self._remove(path)

    def _dated(self, obj: Any) -> Any:
        now = self.now or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        metadata = {"creationTimestamp": now, **copy.deepcopy(obj["metadata"])}
        return {**copy.deepcopy(obj), "metadata": metadata}

    def _put(self, path: str, obj: Any) -> Any:
        kind = "MODIFIED" if path in self.objects else "ADDED"
        made = self._dated(obj)
        self._version += 1
        made["metadata"] = {
            "uid": f"uid-{self._version}",
            **made["metadata"],
            "resourceVersion": str(self._version),
        }
        self.objects[path] = made
        self._tell(path, kind, made)
        return copy.deepcopy(made)

    def _remove(self, path: str) -> None:
        gone = self._at(path)
        del self.objects[path]
        self._version += 1
        gone["metadata"]["resourceVersion"] = str(self._version)
        self._tell(path, "DELETED", gone)

    def _tell(self, path: str, kind: str, obj: Any) -> None:
        self._changes.append((self._version, path, kind, copy.deepcopy(obj)))
        self.changed.notify_all()


def _is_selected(obj: Any, query: Any) -> bool:
    labels = obj["metadata"].get("labels") or {}
    for term in _terms(query, "labelSelector"):
        if found := _ONE_OF.fullmatch(term):
            if labels.get(found[1]) not in found[2].split(","):
                return False
            continue
        name, differs, value = term.partition("!=")
        if differs:
            if labels.get(name) == value:
                return False
            continue
        name, equals, value = term.partition("=")
        if name not in labels or (equals and labels[name] != value):
            return False
    for term in _terms(query, "fieldSelector"):
        name, _, value = term.partition("=")
        found = obj
        for part in name.split("."):
            found = (found or {}).get(part)
        if found != value:
            return False
    return True


def _terms(query: Any, name: str) -> list[str]:
    return [found[0] for found in _TERM.finditer((query or {}).get(name, ""))]


def _merged(there: Any, body: Any) -> Any:
    if not isinstance(body, dict) or not isinstance(there, dict):
        return body
    found = {**there, **{key: _merged(there.get(key), body[key]) for key in body}}
    return {key: value for key, value in found.items() if value is not None}
