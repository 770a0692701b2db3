"""Deletes from a cluster what nobody needs any more: old versions, and old runs.

Only objects with imagekit's labels are looked at. What a run owns goes with the run's
object, by the cluster's own garbage collection.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from imagekit.cluster.documents import DOCUMENT, RunDocument
from imagekit.cluster.names import (
    CURRENT_KIND,
    ENVIRONMENT,
    ENVIRONMENT_KIND,
    RESULT_KIND,
    RUN,
    RUN_KIND,
    TEMPLATE_KIND,
    VERSION,
    call_name,
    label_value,
    result_name,
    selector,
)
from imagekit.records import dataclass
from imagekit.run_events import ROOT

if TYPE_CHECKING:
    from imagekit.cluster.api import Cluster

Json: TypeAlias = Any

#: Seconds in which the Job of a run that was begun is sure to have come.
_BEGUN = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """Something that was deleted.

    Attributes:
        what: a version of an environment, or a run.
        name: name of the environment or run.
        version: label of the version; empty for a run.
        objects: kind and name of what was deleted for it.
    """

    what: Literal["version", "run"]
    name: str
    version: str = ""
    objects: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A run on the cluster.

    Attributes:
        ended: when it ended, in seconds since the epoch; None if it has not.
    """

    item: Json
    ended: float | None


class Pruning:
    """Finds what can go, and deletes it.

    Args:
        cluster: where.
        keep: how many versions of an environment stay.
        older_than: seconds; what is younger stays.
        runs: whether runs go too.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        keep: int,
        older_than: float,
        runs: bool,
        now: float,
    ) -> None:
        self._cluster = cluster
        self._keep = keep
        self._until = now - older_than
        self._with_runs = runs
        self._now = now

    def prune(self, *, dry_run: bool = False) -> tuple[Pruned, ...]:
        """Delete what can go, and return it.

        A version stays while it is the current one of any of its environments, among
        the newest, or used by a run that has not ended; with all its environments, as
        these call each other.

        Raises:
            ClusterError: the cluster refuses, or can't be reached.
            RuntimeSystemError: another version of imagekit began a run that goes on.
        """
        runs = list(self._runs())
        found = list(self._versions(runs))
        if self._with_runs:
            found += self._old_runs(runs)
        if not dry_run:
            # Descriptions first: no run begins with half of a version.
            objects = [pair for item in found for pair in item.objects]
            for kind, name in sorted(objects, key=lambda pair: pair[0]):
                self._cluster.delete(kind, name)
        return tuple(found)

    def _runs(self) -> Iterator[_Run]:
        results = {
            item["metadata"]["name"]: item["metadata"]
            for item in self._cluster.list(
                "ConfigMap",
                selector(kind=RESULT_KIND, action=label_value(ROOT)),
                metadata=True,
            )
        }
        for item in self._cluster.list("ConfigMap", selector(kind=RUN_KIND)):
            call = call_name(item["metadata"]["labels"][RUN], ROOT, 0)
            result = results.get(result_name(call))
            if result is not None:
                yield _Run(item=item, ended=_created(result))
            elif self._goes_on(item, call):
                yield _Run(item=item, ended=None)
            else:
                yield _Run(item=item, ended=_created(item["metadata"]))

    def _goes_on(self, run: Json, call: str) -> bool:
        """Return whether a run without a result may still have one."""
        job = self._cluster.find("Job", call)
        if job is None:
            return _created(run["metadata"]) > self._now - _BEGUN
        conditions = (job.get("status") or {}).get("conditions") or ()
        return not any(
            item.get("type") in ("Complete", "Failed") and item.get("status") == "True"
            for item in conditions
        )

    def _versions(self, runs: Iterable[_Run]) -> Iterator[Pruned]:
        described = self._metadata("ConfigMap", ENVIRONMENT_KIND)
        templates = self._metadata("PodTemplate", TEMPLATE_KIND)
        kept = {_version(item) for item in self._metadata("ConfigMap", CURRENT_KIND)}
        kept |= self._newest(described)
        kept |= self._used(described, runs)
        kept |= {
            _version(item)
            for item in (*described, *templates)
            if _created(item) > self._until
        }
        groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for kind, items in (("ConfigMap", described), ("PodTemplate", templates)):
            for item in items:
                if _version(item) not in kept:
                    place = (item["labels"][ENVIRONMENT], _version(item))
                    groups.setdefault(place, []).append((kind, item["name"]))
        for (name, version), objects in sorted(groups.items()):
            yield Pruned(
                what="version", name=name, version=version, objects=tuple(objects)
            )

    def _newest(self, described: Iterable[Json]) -> set[str]:
        by_name: dict[str, list[Json]] = {}
        for item in described:
            by_name.setdefault(item["labels"][ENVIRONMENT], []).append(item)
        return {
            _version(item)
            for items in by_name.values()
            for item in sorted(items, key=_age_key, reverse=True)[: self._keep]
        }

    def _used(self, described: Iterable[Json], runs: Iterable[_Run]) -> set[str]:
        """Return the versions that runs use which have not ended."""
        names: set[str] = set()
        for run in runs:
            if run.ended is None:
                document = RunDocument.from_json(json.loads(run.item["data"][DOCUMENT]))
                names.update(document.environments.values())
        return {_version(item) for item in described if item["name"] in names}

    def _old_runs(self, runs: Iterable[_Run]) -> Iterator[Pruned]:
        for run in runs:
            if run.ended is not None and run.ended <= self._until:
                metadata = run.item["metadata"]
                yield Pruned(
                    what="run",
                    name=metadata["labels"][RUN],
                    objects=(("ConfigMap", metadata["name"]),),
                )

    def _metadata(self, kind: str, purpose: str) -> list[Json]:
        found = self._cluster.list(kind, selector(kind=purpose), metadata=True)
        return [item["metadata"] for item in found]


def _version(metadata: Json) -> str:
    version: str = metadata["labels"][VERSION]
    return version


def _created(metadata: Json) -> float:
    """Return when an object was made, in seconds since the epoch."""
    return dt.datetime.fromisoformat(metadata["creationTimestamp"]).timestamp()


def _age_key(metadata: Json) -> tuple[float, int, str]:
    # Several are made in a second; versions of objects grow, wherever they are numbers.
    number = str(metadata.get("resourceVersion", ""))
    order = int(number) if number.isdecimal() else 0
    return _created(metadata), order, metadata["name"]
