"""Runs on a cluster, found by their names."""

from __future__ import annotations

import json

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.documents import DOCUMENT, Json, RunDocument
from imagekit.nearest import suggestion
from imagekit.records import dataclass
from imagekit.task_errors import RuntimeSystemError, RuntimeUserError

#: Annotation of a run that somebody has cancelled: when, in seconds since the epoch.
CANCELLED = "imagekit/cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRun:
    """A run that is on a cluster.

    Attributes:
        object: what describes it there.
    """

    document: RunDocument
    object: Json

    @classmethod
    def of(cls, found: Json) -> KnownRun:
        """Return the run that an object describes.

        Raises:
            RuntimeSystemError: another version of imagekit wrote it, or it is damaged.
        """
        try:
            document = json.loads(found["data"][DOCUMENT])
        except (KeyError, TypeError, ValueError) as error:
            raise RuntimeSystemError(
                f"the description of a run in {found['metadata']['name']!r} is damaged"
            ) from error
        return cls(document=RunDocument.from_json(document), object=found)

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody has cancelled it, as far as this object tells."""
        return is_cancelled(self.object)


def is_cancelled(found: Json) -> bool:
    """Return whether the object of a run says that it was cancelled."""
    return CANCELLED in (found["metadata"].get("annotations") or {})


def find_run(cluster: Cluster, name: str) -> KnownRun:
    """Return the run of that name.

    Raises:
        RuntimeUserError: there is none.
        ClusterError: the cluster refuses, or can't be reached.
    """
    found = cluster.find("ConfigMap", names.run_name(name)) if name else None
    if found is None:
        known = [
            str((item["metadata"].get("labels") or {}).get(names.RUN))
            for item in cluster.list(
                "ConfigMap", names.selector(kind=names.RUN_KIND), metadata=True
            )
        ]
        raise RuntimeUserError(
            f"no run {name!r} in the namespace {cluster.namespace!r}",
            hint=suggestion(name, known)
            if known
            else "nothing was run in it yet; the setting 'namespace' names another one",
        )
    return KnownRun.of(found)
