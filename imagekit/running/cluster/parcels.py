"""What is handed on as a ConfigMap: a document, and the blobs that it refers to.

::

    data        document.json      the document, while it is small
                stored.json        digests of blobs that are in the store
                document.stored    digest of a gzip'ed document and list of digests,
                                   where not even these fit; in place of both
    binaryData  document.json.gz   the document, where that is smaller
                blob.<hex>         a blob
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from imagekit.cluster.documents import DOCUMENT, Json
from imagekit.digest import Digest
from imagekit.errors import ImageKitError, StoreError
from imagekit.records import dataclass
from imagekit.running.cluster.raw_data import RawData
from imagekit.task_errors import InlineIOMaxBytesBreached, RuntimeSystemError
from imagekit.value_blobs import ValueBlobs

__all__ = ["BOUND", "pack", "unpack"]

#: Bytes of names and values together, encoded as they are sent. Kubernetes takes 1 MiB
#: of decoded ones; there are labels too, and others may add to them.
BOUND: Final = 700 << 10
#: What the API keeps for each name beside that: ``"f:NAME":{},`` says who set it.
_NAMED = 10
#: From here on a document is worth compressing.
_COMPRESSED_FROM = 16 << 10
#: Blobs that are sent or fetched at a time.
_TRANSFERS = 4

_ZIPPED = f"{DOCUMENT}.gz"
_STORED = "stored.json"
_DOCUMENT_STORED = "document.stored"
_BLOB = "blob."

_Texts = dict[str, str]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, order=True)
class _Blob:
    """A blob to hand on; small ones come first."""

    size: int
    digest: Digest

    @property
    def key(self) -> str:
        return f"{_BLOB}{self.digest.hex}"


def pack(
    document: Json, digests: Iterable[Digest], blobs: ValueBlobs, store: RawData | None
) -> tuple[dict[str, str], dict[str, str]]:
    """Return ``data`` and ``binaryData`` of a ConfigMap that hands on *document*.

    What does not fit is in *store* when this returns. Equal arguments have equal
    results.

    Args:
        document: any JSON.
        digests: the blobs that it refers to; some maybe twice.
        blobs: has them.
        store: takes what is too large.

    Raises:
        InlineIOMaxBytesBreached: it is too large, and there is no store.
        StoreError: a blob is not there, or damaged.
        RuntimeUserError: the store can't be used as it is set up.
        RuntimeSystemError: it does not answer.
    """
    whole = sorted(_Blob(_size(item, blobs), item) for item in set(digests))
    text = json.dumps(document, separators=(",", ":"))
    data, binary = _document_texts(text)
    inline = _inline_count(whole, _total(data, binary))
    left = whole[inline:] if inline is not None else whole
    if store is None and (left or inline is None):
        raise _too_large(len(text), whole)
    if inline is None:
        assert store is not None
        data, binary, inline = _document_in_store(text, whole, blobs, store)
    elif left:
        data[_STORED] = _list_text(left)
    if store is not None:
        keep = store.put
        _each(whole[inline:], lambda item: keep(item.digest, blobs.path(item.digest)))
    for item in whole[:inline]:
        binary[item.key] = _base64(blobs.read(item.digest))
    return data, binary


def unpack(
    data: Mapping[str, str],
    binary: Mapping[str, str],
    blobs: ValueBlobs,
    store: RawData | None,
    *,
    whole: bool = True,
) -> Json:
    """Return the document that :func:`pack` packed; its blobs are in *blobs* then.

    Args:
        data: of the ConfigMap.
        binary: likewise.
        blobs: takes the blobs.
        store: has those that were too large.
        whole: whether the blobs are wanted at all.

    Raises:
        StoreError: a blob is missing or damaged, or *blobs* can't be written.
        RuntimeSystemError: the rest is damaged, or the store does not answer.
        RuntimeUserError: the store can't be used as it is set up.
    """
    try:
        for key, text in binary.items():
            if whole and key.startswith(_BLOB):
                _put(Digest.parse(f"sha256:{key[len(_BLOB) :]}"), text, blobs)
        if _DOCUMENT_STORED in data:
            digest = Digest.parse(data[_DOCUMENT_STORED])
            _fetch(digest, blobs, store)
            parcel = json.loads(gzip.decompress(blobs.read(digest)))
            document, stored = parcel["document"], parcel["stored"]
        else:
            zipped = binary.get(_ZIPPED)
            document = json.loads(
                data[DOCUMENT] if zipped is None else gzip.decompress(_bytes(zipped))
            )
            stored = json.loads(data.get(_STORED, "[]"))
        wanted = [Digest.parse(item) for item in stored]
    except StoreError:
        raise
    except (ImageKitError, OSError, EOFError, zlib.error, ValueError) as error:
        raise _damaged(str(error)) from error
    except (AttributeError, LookupError, TypeError) as error:
        raise _damaged(f"{type(error).__name__}: {error}") from error
    if whole:
        _each(wanted, lambda item: _fetch(item, blobs, store))
    return document


def _document_texts(text: str) -> tuple[_Texts, _Texts]:
    """Return ``data`` and ``binaryData`` with just the document."""
    if len(text) >= _COMPRESSED_FROM:
        zipped = _base64(_gzipped(text))
        if len(zipped) < len(text):
            return {}, {_ZIPPED: zipped}
    return {DOCUMENT: text}, {}


def _document_in_store(
    text: str, whole: Sequence[_Blob], blobs: ValueBlobs, store: RawData
) -> tuple[_Texts, _Texts, int]:
    """Store the document and the list of what else is; return how many are not."""
    # All digests are as long as this one.
    data = {_DOCUMENT_STORED: str(Digest.of(b""))}
    inline = _inline_count(whole, _total(data, {}), listed=False) or 0
    parcel = f'{{"document":{text},"stored":{_list_text(whole[inline:])}}}'
    digest = blobs.put_bytes(_gzipped(parcel))
    store.put(digest, blobs.path(digest))
    return {_DOCUMENT_STORED: str(digest)}, {}, inline


def _inline_count(
    whole: Sequence[_Blob], taken: int, *, listed: bool = True
) -> int | None:
    """Return how many blobs fit beside *taken* bytes; None if not even none do.

    Args:
        whole: all blobs, small ones first.
        taken: bytes of the rest.
        listed: whether the digests of the others take room too.
    """
    best: int | None = None
    for count in range(len(whole) + 1):
        left = len(whole) - count
        # An item of the list is a digest, its quotes and a comma.
        list_ = _named(_STORED) + 1 + left * (len("sha256:") + 64 + 3) if left else 0
        if taken + (list_ if listed else 0) <= BOUND:
            best = count
        if left:
            item = whole[count]
            taken += _named(item.key) + _encoded(item.size)
            if taken > BOUND:
                break
    return best


def _total(data: _Texts, binary: _Texts) -> int:
    items = (*data.items(), *binary.items())
    return sum(_named(key) + len(text) for key, text in items)


def _named(key: str) -> int:
    return 2 * len(key) + _NAMED


def _too_large(document: int, whole: Sequence[_Blob]) -> InlineIOMaxBytesBreached:
    size = sum(item.size for item in whole)
    return InlineIOMaxBytesBreached(
        f"values of {document} bytes with {len(whole)} files, arrays and the like of "
        f"{size} bytes are too large to be handed on through the cluster's API, which "
        f"takes {BOUND} encoded bytes",
        hint="name a place for large data that client and pods reach as raw_data_path, "
        "in the settings or with_runcontext(raw_data_path='s3://BUCKET/PREFIX')",
    )


def _put(digest: Digest, text: str, blobs: ValueBlobs) -> None:
    content = _bytes(text)
    if Digest.of(content) != digest:
        raise StoreError(f"blob {digest}, handed on inline, is damaged")
    blobs.put_bytes(content)


def _fetch(digest: Digest, blobs: ValueBlobs, store: RawData | None) -> None:
    if blobs.has(digest):
        return
    if store is None:
        raise StoreError(
            f"no place to fetch {digest} from",
            hint="it was kept in a raw_data_path: name the same one here",
        )
    store.get(digest, blobs)


def _each(items: Sequence[_T], action: Callable[[_T], object]) -> None:
    """Do *action* with all items, some at a time."""
    with ThreadPoolExecutor(_TRANSFERS) as threads:
        futures = [threads.submit(action, item) for item in items]
        try:
            for future in futures:
                future.result()
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def _size(digest: Digest, blobs: ValueBlobs) -> int:
    try:
        return blobs.path(digest).stat().st_size
    except OSError as error:
        raise StoreError(f"can't read blob {digest}: {error}") from error


def _list_text(whole: Sequence[_Blob]) -> str:
    return json.dumps([str(item.digest) for item in whole], separators=(",", ":"))


def _gzipped(text: str) -> bytes:
    return gzip.compress(text.encode("ascii"), 6, mtime=0)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _encoded(size: int) -> int:
    """Return how many letters base64 makes of *size* bytes."""
    return -(-size // 3) * 4


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"no base64: {error}") from error


def _damaged(why: str) -> RuntimeSystemError:
    return RuntimeSystemError(
        f"an object on the cluster is damaged: {why}",
        hint="it was changed by hand, or by another version of imagekit",
    )
