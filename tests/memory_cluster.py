"""A Kubernetes API in memory, for tests of what talks to one; nothing runs in it."""

from __future__ import annotations

import copy
import itertools
import json
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from imagekit.cluster.api_errors import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    NotFoundError,
)
from imagekit.cluster.kinds import JSON
from imagekit.cluster.stopping import Stop

_VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}


class MemoryApi:
    """The verbs that imagekit uses; :class:`imagekit.cluster.access.Api`.

    Attributes:
        logs: what containers have printed, by ``POD/CONTAINER``.
        refuse: is asked what to raise for a verb and a path; None lets it pass.
        done: the verbs and paths of all requests, in order.
        now: the time of the API server.
    """

    namespace = "team"

    def __init__(self) -> None:
        self.logs: dict[str, bytes] = {}
        self.refuse: Callable[[str, str], ClusterError | None] = lambda _v, _p: None
        self.done: list[tuple[str, str]] = []
        self.now = "2026-01-01T00:00:00Z"
        self._lock = threading.Lock()
        self._objects: dict[str, Any] = {}
        self._numbers = itertools.count(1)
        self._watches: list[tuple[str, dict[str, str], queue.SimpleQueue[bytes]]] = []

    def put(self, kind: str, document: Any) -> Any:
        """Have an object be there as it is given, and tell those who watch."""
        collection = {
            "ConfigMap": "/api/v1/namespaces/team/configmaps",
            "Pod": "/api/v1/namespaces/team/pods",
            "Job": "/apis/batch/v1/namespaces/team/jobs",
        }[kind]
        path = f"{collection}/{document['metadata']['name']}"
        with self._lock:
            before = self._objects.get(path)
            return self._store("MODIFIED" if before else "ADDED", path, document)

    def find(self, path: str) -> Any:
        """Return the object whose path ends so; None if there is none."""
        with self._lock:
            found = [item for key, item in self._objects.items() if key.endswith(path)]
        return copy.deepcopy(found[0]) if found else None

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        timeout: float | None = None,
        stop: Stop | None = None,
    ) -> Any:
        del content_type, accept, timeout, stop
        query = dict(query or {})
        verb = _VERBS.get(method) or ("get" if _is_one(path) else "list")
        self._note(verb, path)
        with self._lock:
            if verb == "list":
                return {
                    "metadata": {"resourceVersion": str(next(self._numbers))},
                    "items": [
                        copy.deepcopy(item)
                        for key, item in self._objects.items()
                        if key.rpartition("/")[0] == path and _selected(item, query)
                    ],
                }
            return self._changed(verb, path, body, query)

    @contextmanager
    def stream(
        self,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        accept: str = JSON,
        timeout: float | None = None,
        stop: Stop | None = None,
    ) -> Iterator[Iterator[bytes]]:
        del accept, timeout
        query = dict(query or {})
        if path.endswith("/log"):
            self._note("get", path)
            pod = path.split("/")[-2]
            printed = self.logs.get(f"{pod}/{query.get('container')}")
            if printed is None:
                raise NotFoundError("there is no such log")
            yield iter([printed])
            return
        self._note("watch", path)
        lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        with self._lock:
            seen = int(query["resourceVersion"])
            for key, item in self._objects.items():
                version = int(item["metadata"]["resourceVersion"])
                if version > seen and key.rpartition("/")[0] == path:
                    _tell(lines, "MODIFIED", item, query)
            self._watches.append((path, query, lines))
        stop = stop or Stop()
        with stop.ending(lambda: lines.put(b"")):
            yield iter(lines.get, b"")

    def patient(
        self, seconds: float, waiting: Callable[[str], None] | None = None
    ) -> MemoryApi:
        del seconds, waiting
        return self

    def close(self) -> None:
        pass

    def _note(self, verb: str, path: str) -> None:
        with self._lock:
            self.done.append((verb, path))
        error = self.refuse(verb, path)
        if error is not None:
            raise error

    def _changed(self, verb: str, path: str, body: Any, query: Any) -> Any:
        if verb == "create":
            path = f"{path}/{body['metadata']['name']}"
            if path in self._objects:
                raise AlreadyExistsError(f"{path} exists")
            return self._store("ADDED", path, body)
        found = self._objects.get(path)
        if found is None:
            if verb == "patch" and query.get("force"):
                made = {**body, "metadata": {**body["metadata"]}}
                made["metadata"]["creationTimestamp"] = self.now
                return made if "dryRun" in query else self._store("ADDED", path, made)
            raise NotFoundError(f"no {path}")
        if verb == "patch":
            return self._store("MODIFIED", path, _merged(found, body))
        if verb == "delete":
            uid = (body.get("preconditions") or {}).get("uid")
            if uid not in (None, found["metadata"]["uid"]):
                raise ConflictError(f"{path} is another one")
            del self._objects[path]
            self._tell_all("DELETED", path, found)
        return copy.deepcopy(found)

    def _store(self, kind: str, path: str, document: Any) -> Any:
        found = copy.deepcopy(document)
        number = str(next(self._numbers))
        found["metadata"].setdefault("uid", f"uid-{number}")
        found["metadata"].setdefault("creationTimestamp", self.now)
        found["metadata"]["resourceVersion"] = number
        self._objects[path] = found
        self._tell_all(kind, path, found)
        return copy.deepcopy(found)

    def _tell_all(self, kind: str, path: str, found: Any) -> None:
        for place, query, lines in self._watches:
            if path.rpartition("/")[0] == place:
                _tell(lines, kind, found, query)


def _tell(
    lines: queue.SimpleQueue[bytes], kind: str, found: Any, query: dict[str, str]
) -> None:
    if _selected(found, query):
        lines.put(json.dumps({"type": kind, "object": found}).encode() + b"\n")


def _is_one(path: str) -> bool:
    return path.split("/").index("namespaces") + 4 == len(path.split("/"))


def _selected(item: Any, query: dict[str, str]) -> bool:
    fields = query.get("fieldSelector", "")
    wanted = {"metadata.name": item["metadata"]["name"]}
    for pair in filter(None, fields.split(",")):
        name, _, text = pair.partition("=")
        if wanted.get(name) != text:
            return False
    labels = item["metadata"].get("labels") or {}
    selector = query.get("labelSelector", "")
    chosen, _, listed = selector.partition(" in (")
    if listed:
        chosen, _, key = chosen.rpartition(",")
        if labels.get(key) not in listed.rstrip(")").split(","):
            return False
    pairs = [pair.partition("=") for pair in filter(None, chosen.split(","))]
    return all(labels.get(key) == text for key, _, text in pairs)


def _merged(before: Any, body: Any) -> Any:
    if not isinstance(body, dict) or not isinstance(before, dict):
        return body
    found = dict(before)
    for key, value in body.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = _merged(found.get(key, {}), value)
    return found
