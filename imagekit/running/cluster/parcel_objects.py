"""Objects on a cluster that hold a document, and blobs that it refers to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from imagekit.cluster.manifests import config_map, owner_reference
from imagekit.digest import Digest
from imagekit.run_events import Json
from imagekit.running.cluster.parcels import pack, unpack
from imagekit.running.cluster.raw_data import RawData
from imagekit.value_blobs import ValueBlobs


def parcel_object(
    name: str,
    document: Json,
    digests: Iterable[Digest] = (),
    *,
    kind: str,
    labels: Mapping[str, str],
    owner: Json,
    blobs: ValueBlobs,
    store: RawData | None,
) -> Json:
    """Return the object that holds *document*; what is too large is in *store* then.

    Args:
        name: of the object.
        document: any JSON.
        digests: the blobs that it refers to.
        kind: what it is for.
        labels: of any texts.
        owner: the object on the cluster that it is deleted with.
        blobs: has the blobs.
        store: takes what is too large; None where there is no such place.

    Raises:
        InlineIOMaxBytesBreached: it is too large, and there is no store.
        ImageKitError: see :func:`imagekit.running.cluster.parcels.pack`.
    """
    data, binary = pack(document, digests, blobs, store)
    found = config_map(
        name, kind=kind, labels=labels, data=data, owner=owner_reference(owner)
    )
    # These are encoded as manifests have them already.
    return found | ({"binaryData": binary} if binary else {})


def parcel_of(found: Json, blobs: ValueBlobs, store: RawData | None) -> Json:
    """Return the document that an object holds; its blobs are in *blobs* then.

    Raises:
        ImageKitError: see :func:`imagekit.running.cluster.parcels.unpack`.
    """
    data, binary = found.get("data") or {}, found.get("binaryData") or {}
    return unpack(data, binary, blobs, store)
