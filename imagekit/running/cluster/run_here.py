"""What a pod knows of the run whose call it runs."""

from __future__ import annotations

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.documents import RunDocument
from imagekit.cluster.jobs import data_location
from imagekit.records import dataclass
from imagekit.run_events import Json
from imagekit.running.cluster.deployed import Deployed
from imagekit.running.cluster.parcel_objects import parcel_of
from imagekit.running.cluster.raw_data import RawData, raw_data
from imagekit.running.controller import RunFacts
from imagekit.value_blobs import ValueBlobs


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHere:
    """A run, as one of its pods sees it.

    Attributes:
        object: describes it on the cluster, and owns what belongs to it.
        store: takes large data; None where there is no such place.
    """

    object: Json
    document: RunDocument
    store: RawData | None
    deployed: Deployed

    @classmethod
    def of(cls, cluster: Cluster, call: Json, blobs: ValueBlobs) -> RunHere:
        """Return the run that a call object belongs to.

        Raises:
            ClusterError: it is gone, or the cluster refuses.
            ImageKitError: it can't be read.
        """
        labels = call["metadata"]["labels"]
        found = cluster.get("ConfigMap", names.run_name_of(labels))
        document = RunDocument.from_json(parcel_of(found, blobs, None))
        return cls(
            object=found,
            document=document,
            store=raw_data(document.raw_data_path),
            deployed=Deployed(cluster, document),
        )

    @property
    def facts(self) -> RunFacts:
        """What all its tasks have in common."""
        run = self.document
        return RunFacts(
            name=run.name,
            mode="remote",
            version=run.version,
            project=run.project,
            domain=run.domain,
            org=run.org,
            raw_data_path=data_location(run.raw_data_path),
            env_vars=run.env_vars,
            labels=run.labels,
            annotations=run.annotations,
            overwrite_cache=run.overwrite_cache,
            use_cache=run.use_cache,
            interruptible=run.interruptible,
            interactive=run.interactive,
        )
