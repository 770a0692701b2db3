"""Typed values as documents, and back: the inputs and outputs of tasks.

A document is what JSON can hold; large binary parts are files in
:class:`~imagekit.value_blobs.ValueBlobs` that it refers to. Which document a value has
follows from its annotation (:mod:`imagekit.values.choice`). Nothing is ever pickled, no
document makes Python import a module of the user's or run code of the user's classes.

Laws: a value that can be encoded is decoded to an equal value of the same type, but for
widening (an ``int`` where a ``float`` is wanted becomes one); equal values have equal
documents, but for dicts, which keep their order; different values have different ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from imagekit.digest import Digest
from imagekit.errors import ImageKitError
from imagekit.task_errors import RuntimeDataValidationError
from imagekit.value_blobs import ValueBlobs
from imagekit.values.codec import Codec, Json, Packing, document_bytes
from imagekit.values.misfit import Misfit

__all__ = [
    "Json",
    "blob_digests",
    "decode",
    "describe",
    "document_bytes",
    "encode",
    "inline_size",
]

_T = TypeVar("_T")


def encode(
    value: object,
    annotation: Any,
    blobs: ValueBlobs | None,
    *,
    subject: str = "value",
    renamed: Mapping[str, str] | None = None,
) -> Json:
    """Return the document of *value*.

    Args:
        value: what is passed on.
        annotation: its type, with all names resolved.
        blobs: where large parts are kept; None keeps them inline, and refuses files.
        subject: what errors call the value: ``input 'x'``.
        renamed: modules of this process, and what they are called where the document
            goes; only classes of values without annotation are named in documents.

    Raises:
        RuntimeDataValidationError: it is not of that type, or no values of that type
            can be passed on.
        StoreError: *blobs* can't be written.
    """
    to = Packing(blobs=blobs, renamed=renamed or {})
    return _reported(subject, lambda: _codec(annotation).encode(value, to))


def decode(
    document: Json,
    annotation: Any,
    blobs: ValueBlobs | None,
    *,
    subject: str = "value",
    renamed: Mapping[str, str] | None = None,
    files: str | None = None,
) -> Any:
    """Return the value of *document*.

    Args:
        document: as :func:`encode` made it, maybe in another process.
        annotation: the type that it was encoded as.
        blobs: has the blobs that the document refers to.
        subject: what errors call the value.
        renamed: modules of the process that encoded, and what they are called here.
        files: folder in which files and folders of the value are copied, each in a
            folder of its own. The caller owns it. None makes temporary folders, which
            the caller owns too.

    Raises:
        RuntimeDataValidationError: the document is of no such value, or needs a class
            or library that is not there.
        StoreError: a blob is missing or damaged, or a copy can't be written.
    """
    at = Packing(blobs=blobs, renamed=renamed or {}, files=files)

    def attempt() -> Any:
        try:
            return _codec(annotation).decode(document, at)
        except (Misfit, RecursionError, ImageKitError):
            raise
        except Exception as error:
            # Documents may come from a container, and be anything.
            raise Misfit(
                f"the document is damaged: {type(error).__name__}: {error}"
            ) from error

    return _reported(subject, attempt)


def describe(annotation: Any, *, subject: str = "value") -> Json:
    """Return what tells *annotation* from others, equal in every process.

    Fields of dataclasses and members of enums are part of it.

    Raises:
        RuntimeDataValidationError: no values of that type can be passed on.
    """
    return _reported(subject, lambda: _codec(annotation).describe(()))


def blob_digests(document: Json) -> Iterator[Digest]:
    """Yield the digest of each blob that *document* refers to, some maybe twice."""
    left = [document]
    while left:
        item = left.pop()
        if isinstance(item, list):
            left.extend(item)
        elif isinstance(item, dict):
            if "$blob" in item:
                yield Digest.parse(item["$blob"])
            else:
                left.extend(item.values())


#: Parts of documents that are no inline data: files, arrays, frames.
_APART = ("$file", "$array", "$frame")


def inline_size(document: Json) -> int:
    """Return how many bytes *document* has, with its bytes but without its files.

    Files, folders, arrays and frames don't count.
    """
    return len(document_bytes(_without(document, {}))) + _bytes_in_blobs(document)


def _without(document: Json, empty: Json) -> Json:
    if isinstance(document, list):
        return [_without(item, empty) for item in document]
    if not isinstance(document, dict):
        return document
    return {
        key: empty if key in _APART else _without(item, empty)
        for key, item in document.items()
    }


def _bytes_in_blobs(document: Json) -> int:
    if isinstance(document, list):
        return sum(map(_bytes_in_blobs, document))
    if not isinstance(document, dict):
        return 0
    if "$blob" in document:
        return int(document["size"])
    return sum(
        _bytes_in_blobs(item) for key, item in document.items() if key not in _APART
    )


def _codec(annotation: Any) -> Codec:
    from imagekit.values.choice import codec_of  # noqa: PLC0415  (imports much)

    return codec_of(annotation)


def _reported(subject: str, action: Callable[[], _T]) -> _T:
    try:
        return action()
    except Misfit as misfit:
        raise RuntimeDataValidationError(
            misfit.text(subject), hint=misfit.hint
        ) from misfit.__cause__
    except RecursionError as error:
        raise RuntimeDataValidationError(
            f"{subject}: it is nested too deep, or holds itself"
        ) from error
