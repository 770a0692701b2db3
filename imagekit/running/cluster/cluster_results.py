"""What tasks returned before, kept on the cluster: the cache of results of its runs.

An entry is a ConfigMap ``ik-cached-<key>``. It does no harm to delete one: the task is
run again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.documents import FORMAT, Json
from imagekit.errors import ImageKitError
from imagekit.result_cache import outputs_digest, result_key
from imagekit.running.cluster.lease_lock import LeaseLocks
from imagekit.running.cluster.parcels import pack, unpack
from imagekit.running.cluster.raw_data import RawData
from imagekit.value_blobs import ValueBlobs
from imagekit.values import blob_digests

__all__ = ["ClusterResults", "cached_name"]

_LABELS: Final = {names.MANAGED_BY: names.MANAGER, names.KIND: names.CACHED_KIND}


def cached_name(key: str) -> str:
    """Return the name of the object with the result of *key*, and of its lease."""
    return f"ik-cached-{key}"


class ClusterResults:
    """The cache of results in the namespace of *cluster*.

    As :class:`~imagekit.result_cache.Results` has it; methods that are not async wait
    for the API, so call them in threads.

    Args:
        blobs: where the blobs of outputs are, and go.
        store: where those are that are too large for the cluster's API.
        note: is told in a line why a result is not kept or not used.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        blobs: ValueBlobs,
        store: RawData | None,
        note: Callable[[str], object],
    ) -> None:
        self._cluster = cluster
        self._blobs = blobs
        self._store = store
        self._note = note
        self._locks = LeaseLocks(cluster, labels=_LABELS, note=note)

    @staticmethod
    def key(**parts: Json) -> str:
        """Return the key of what *parts* determine; see ``result_key``."""
        return result_key(**parts)

    def get(self, key: str, default: Json = None) -> Json:
        """Return the outputs under *key*, or *default* if they have to be computed.

        All blobs that they refer to are there then.
        """
        try:
            entry = self._cluster.find("ConfigMap", cached_name(key))
            if entry is None:
                return default
            document = unpack(
                entry.get("data") or {},
                entry.get("binaryData") or {},
                self._blobs,
                self._store,
            )
            outputs = _outputs(document, key)
        except ImageKitError as error:
            self._note(f"a kept result can't be used: {error}")
            return default
        except (LookupError, TypeError, ValueError) as error:
            self._note(f"a kept result is damaged: {type(error).__name__}")
            return default
        missing = [item for item in blob_digests(outputs) if not self._blobs.has(item)]
        return default if missing else outputs

    def put(self, key: str, outputs: Json, *, task: str = "") -> None:
        """Keep *outputs* of *task* under *key*, in place of what is there.

        Where that is not possible, the note says so: the task succeeded all the same.

        Raises:
            TypeError: they are no JSON document.
        """
        document = {
            "format": FORMAT,
            "key": key,
            "outputs": outputs,
            "sha256": outputs_digest(outputs),
        }
        labels = _LABELS | ({names.TASK: names.label_value(task)} if task else {})
        try:
            data, binary = pack(
                document, blob_digests(outputs), self._blobs, self._store
            )
            # Applied: what an older entry had under other names goes.
            self._cluster.apply(
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": cached_name(key), "labels": labels},
                    "data": data,
                    "binaryData": binary,
                }
            )
        except ImageKitError as error:
            what = repr(task) if task else "a task"
            self._note(f"the result of {what} is not kept: {error}")

    def serialized(self, key: str) -> AbstractAsyncContextManager[None]:
        """Be the only one to compute the result of *key*; wait until that is so.

        Look with :meth:`get` inside of the block: another may have computed it
        meanwhile. If a pod dies, the next one's turn comes after half a minute.

        Raises:
            ClusterError: the API refuses.
        """
        return self._locks.held(cached_name(key))


def _outputs(document: Json, key: str) -> Json:
    """Return the outputs in an entry.

    Raises:
        ValueError: it is none of *key*, or of another version of imagekit.
    """
    outputs = document["outputs"]
    found = (document["format"], document["key"], document["sha256"])
    if found != (FORMAT, key, outputs_digest(outputs)):
        raise ValueError(f"no result of {key}")
    return outputs
