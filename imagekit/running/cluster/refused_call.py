"""Says of a call that it can't be run, where the call itself could not say anything."""

from __future__ import annotations

from contextlib import suppress

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.api_errors import AlreadyExistsError
from imagekit.cluster.documents import ResultDocument
from imagekit.failures import encode_failure
from imagekit.run_events import Json
from imagekit.running.cluster.call_parts import PASSED_ON
from imagekit.running.cluster.parcel_objects import parcel_object
from imagekit.value_blobs import ValueBlobs


def refuse_call(
    cluster: Cluster, call: Json, error: Exception, *, pod: str, blobs: ValueBlobs
) -> None:
    """Have *error* as the result of a call, unless it has one.

    Args:
        cluster: where it is.
        call: its object.
        error: what whoever waits for it is to get.
        pod: name of this pod.
        blobs: for the parts of the result; it has none.

    Raises:
        ClusterError: the cluster refuses, or can't be reached.
    """
    name, labels = call["metadata"]["name"], call["metadata"]["labels"]
    result = ResultDocument(
        output=None, error=encode_failure(error), events=(), journals=0, pod=pod
    )
    made = parcel_object(
        names.result_name(name),
        result.to_json(),
        kind=names.RESULT_KIND,
        labels={key: text for key, text in labels.items() if key in PASSED_ON},
        owner=call,
        blobs=blobs,
        store=None,
    )
    with suppress(AlreadyExistsError):  # it could say something after all
        cluster.create(made)
