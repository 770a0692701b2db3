"""What the calls of a lost pod have returned, so that they are not made again.

The pod of a run's own task may be lost when most of its work is done. The attempt that
follows makes the same calls, and gets the results that are there already.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Collection

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.documents import CallDocument, ResultDocument
from imagekit.run_events import ROOT, Json
from imagekit.running.attempt import Attempt, Executor, Placed
from imagekit.running.cluster.call_objects import CallObjects
from imagekit.running.cluster.parcel_objects import parcel_of
from imagekit.running.cluster.raw_data import RawData
from imagekit.task_settings import TaskSettings
from imagekit.value_blobs import ValueBlobs

#: The attempt, in the id of what it has called: none for the first one.
_ATTEMPT = re.compile(rf"{ROOT}\.(?:r(\d+)\.)?")


class EarlierResults:
    """Results of calls that lost attempts at a run's own task have made.

    Args:
        cluster: where they are.
        objects: reads them.
        caller: name of the call object of the run's own task.
        lost: numbers of the attempts whose pods were lost.
        blobs: the large parts of inputs.
        store: where they are kept if they are very large.
    """

    def __init__(
        self,
        cluster: Cluster,
        objects: CallObjects,
        *,
        caller: str,
        lost: Collection[int],
        blobs: ValueBlobs,
        store: RawData | None,
    ) -> None:
        self._cluster = cluster
        self._objects = objects
        self._caller = caller
        self._lost = lost
        self._blobs = blobs
        self._store = store
        self._lock = threading.Lock()
        self._calls: dict[str, list[str]] | None = None

    def take(self, attempt: Attempt) -> ResultDocument | None:
        """Return what such a call has returned, each result once.

        Raises:
            ImageKitError: the cluster refuses, or does not answer.
        """
        if not self._lost:
            return None
        key = _key(attempt.task.name, attempt.settings, attempt.inputs)
        while True:
            with self._lock:
                if self._calls is None:
                    self._calls = self._found()
                found = self._calls.get(key)
                if not found:
                    return None
                name = found.pop()
            result = self._objects.result(name)
            if result is not None and result.error is None:
                return result

    def _found(self) -> dict[str, list[str]]:
        """Return the names of call objects, by what they call."""
        selector = names.selector(caller=self._caller, kind=names.CALL_KIND)
        found: dict[str, list[str]] = {}
        for item in self._cluster.list("ConfigMap", selector):
            call = CallDocument.from_json(parcel_of(item, self._blobs, self._store))
            if _attempt_of(call.action) in self._lost:
                key = _key(call.task, call.settings, call.inputs)
                found.setdefault(key, []).append(item["metadata"]["name"])
        return found


class Recovering:
    """An executor that runs nothing of which there is a result already.

    Args:
        results: what there is.
        executor: runs the rest.
    """

    def __init__(self, results: EarlierResults, executor: Executor) -> None:
        self._results = results
        self._executor = executor

    def check(self, attempt: Attempt) -> None:
        """Have the executor check it."""
        self._executor.check(attempt)

    async def execute(self, attempt: Attempt, placed: Placed) -> Json:
        """Return the result that is there, or have the task run."""
        result = await asyncio.to_thread(self._results.take, attempt)
        if result is None:
            return await self._executor.execute(attempt, placed)
        placed(attempt.task.environment.image, result.pod)
        return result.output

    def delay(self, attempt: Attempt) -> str | None:
        """Ask the executor."""
        return self._executor.delay(attempt)

    def close(self) -> None:
        """End what is kept warm."""
        self._executor.close()


def _attempt_of(action: str) -> int:
    """Return the attempt at the run's own task that has made a call."""
    found = _ATTEMPT.match(action)
    return int((found and found[1]) or 1)


def _key(task: str, settings: TaskSettings, inputs: Json) -> str:
    # Call objects have no version of the cache.
    document = settings.with_cache_version("").to_json()
    return json.dumps([task, document, inputs], sort_keys=True)
