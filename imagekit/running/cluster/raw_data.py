"""The place that pods and clients share, for what is too large for the cluster's API.

::

    ab/abcdef…     the blob with that SHA-256
    partial/       being written, where the place has no atomic writes

A blob is never changed once it is there. So many may write the same one at once, and
nothing has to be locked. Nobody deletes blobs either: the place's owner decides how
long they are kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from imagekit.digest import Digest, sha256
from imagekit.errors import StoreError
from imagekit.running.cluster.transient import is_transient, retried
from imagekit.task_errors import RuntimeSystemError, RuntimeUserError
from imagekit.value_blobs import ValueBlobs

__all__ = ["FolderData", "RawData", "UnseenData", "raw_data"]

_CHUNK = 1 << 20
_T = TypeVar("_T")


class RawData(Protocol):
    """Blobs by their digest; safe to share between threads.

    Methods try again for some seconds where that may help.

    Attributes:
        name: what it is called in messages; without credentials.
    """

    name: str

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Return whether the blob is there, of *size* bytes if that is known.

        Raises:
            RuntimeUserError: the place can't be used as it is set up.
            RuntimeSystemError: it does not answer.
        """

    def put(self, digest: Digest, path: str | os.PathLike[str]) -> None:
        """Keep the file *path*, which has that digest, unless it is there already.

        Raises:
            StoreError: the file is damaged.
            RuntimeUserError: the place can't be used as it is set up.
            RuntimeSystemError: it does not answer.
        """

    def get(self, digest: Digest, into: ValueBlobs) -> None:
        """Copy the blob to *into*.

        Raises:
            StoreError: it is missing or damaged, or *into* can't be written.
            RuntimeUserError: the place can't be used as it is set up.
            RuntimeSystemError: it does not answer.
        """


def raw_data(path: str) -> RawData | None:
    """Return the place that ``raw_data_path`` names; None for an empty one.

    Args:
        path: a folder that all pods see, ``pvc://CLAIM/PATH`` for one in the volume of
            a claim, or a URL that fsspec knows. A place that is a URL is first used,
            and its packages imported, when something is asked of it.

    Raises:
        RuntimeUserError: it is none of these, or has credentials in it.
    """
    if not path:
        return None
    if path.startswith("pvc://"):
        return _claimed(path)
    if "://" in path:
        from imagekit.running.cluster.url_data import UrlData  # noqa: PLC0415  (few need it)

        return UrlData(path)
    if not os.path.isabs(path):
        raise RuntimeUserError(
            f"wanted a URL or an absolute folder as raw_data_path, found {path!r}",
            hint="name a folder that all pods see, pvc://CLAIM, or s3://BUCKET/PREFIX",
        )
    return FolderData(path)


class FolderData:
    """Blobs in a folder that all who need them see, below *volume*.

    The *volume* itself has to be there: one that is not mounted must not be taken for
    an empty one. It is *folder* if not given.
    """

    def __init__(self, folder: str, *, volume: str = "", name: str = "") -> None:
        self.name = name or folder
        self._volume = volume or folder
        self._blobs = ValueBlobs(folder)

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Return whether the blob is there; see :class:`RawData`."""
        return self._tried("read", lambda: self._has(digest, size))

    def put(self, digest: Digest, path: str | os.PathLike[str]) -> None:
        """Keep a file; see :class:`RawData`."""

        def write() -> None:
            if self._has(digest, os.stat(path).st_size):
                return
            with open(path, "rb") as file:
                chunks = checked(file_chunks(file.read), digest, os.fspath(path))
                self._blobs.put(lambda sink: [sink.write(chunk) for chunk in chunks])

        self._tried("write to", write)

    def get(self, digest: Digest, into: ValueBlobs) -> None:
        """Copy a blob; see :class:`RawData`."""

        def read() -> None:
            if not self._has(digest, None):
                raise missing(digest, self.name)
            chunks = self._blobs.chunks(digest)
            into.put(lambda sink: [sink.write(chunk) for chunk in chunks])

        self._tried("read", read)

    def _has(self, digest: Digest, size: int | None) -> bool:
        if not os.path.isdir(self._volume):
            raise RuntimeUserError(
                f"wanted a folder that all pods see at {self._volume!r}, found none",
                hint="mount a volume there with the tasks' pod_template, and make the "
                "folder of raw_data_path on it",
            )
        try:
            found = os.stat(self._blobs.path(digest)).st_size
        except FileNotFoundError:
            return False
        return size is None or found == size

    def _tried(self, verb: str, action: Callable[[], _T]) -> _T:
        def unwrapped() -> _T:
            try:
                return action()
            except StoreError as error:
                if isinstance(error.__cause__, OSError):
                    raise error.__cause__ from None
                raise

        try:
            return retried(unwrapped)
        except OSError as error:
            kind = RuntimeSystemError if is_transient(error) else RuntimeUserError
            raise kind(
                f"can't {verb} {self.name}: {error}",
                hint="see that the volume is whole, has space, and is writable for "
                "the user that the tasks' containers run as",
            ) from error


class UnseenData:
    """Blobs in the volume of a claim, seen from where that is not mounted."""

    def __init__(self, name: str) -> None:
        self.name = name

    def has(self, digest: Digest, size: int | None = None) -> bool:  # noqa: ARG002  (as the protocol has it)
        """Refuse; see :class:`RawData`."""
        raise self._unseen(f"can't look for {digest}")

    def put(self, digest: Digest, path: str | os.PathLike[str]) -> None:  # noqa: ARG002  (as the protocol has it)
        """Refuse; see :class:`RawData`."""
        size = os.path.getsize(path)
        raise self._unseen(f"can't hand on {size} bytes that are too large to inline")

    def get(self, digest: Digest, into: ValueBlobs) -> None:  # noqa: ARG002  (as the protocol has it)
        """Refuse; see :class:`RawData`."""
        raise self._unseen(f"can't fetch {digest}")

    def _unseen(self, what: str) -> RuntimeUserError:
        return RuntimeUserError(
            f"{what}: {self.name} can only be reached in the cluster, by pods that "
            "have its volume",
            hint="with pvc://, hand large values on between tasks only: let a task "
            "read or write them on the volume, and pass their path; or name a place "
            "that is reached from here too, as with_runcontext(raw_data_path="
            "'s3://BUCKET')",
        )


def missing(digest: Digest, name: str) -> StoreError:
    """Return the error for a blob that the place called *name* lacks."""
    return StoreError(
        f"no blob {digest} in {name}",
        hint="it was deleted, or another raw_data_path was in use when it was made",
    )


def file_chunks(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yield what *read* returns until that is empty."""
    while chunk := read(_CHUNK):
        yield chunk


def checked(chunks: Iterable[bytes], digest: Digest, name: str) -> Iterator[bytes]:
    """Yield *chunks*; the last step raises StoreError if their digest is another."""
    hasher = sha256()
    for chunk in chunks:
        hasher.update(chunk)
        yield chunk
    if hasher.hexdigest() != digest.hex:
        raise StoreError(f"blob {digest} in {name} is damaged", hint="remove it")


def _claimed(path: str) -> RawData:
    from imagekit.cluster import jobs  # noqa: PLC0415  (only where there is a claim)

    folder = jobs.data_location(path)
    # Only pods have the volume, and those of a run all have the run's claim there.
    if not os.path.isdir(jobs.DATA_FOLDER):
        return UnseenData(path)
    return FolderData(folder, volume=jobs.DATA_FOLDER, name=path)
