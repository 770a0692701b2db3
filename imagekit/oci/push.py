"""Pushing images: what the registry lacks, and nothing else.

The order keeps a promise: whoever sees a tag finds all that it stands for. Blobs go
before their manifests, manifests before their index, tags last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import (
    FIRST_EXCEPTION,
    CancelledError,
    Future,
    ThreadPoolExecutor,
    wait,
)
from io import BufferedReader
from threading import Event as Flag
from types import MappingProxyType
from typing import BinaryIO, Literal, TypeAlias, TypeVar

from imagekit.digest import Digest
from imagekit.errors import RegistryError
from imagekit.oci.chunk_reader import ChunkReader
from imagekit.oci.repository import ManifestContent, Repository
from imagekit.progress import Event, Progress, TaskEnded, TaskStarted, silent
from imagekit.records import dataclass, replace

Fate: TypeAlias = Literal["uploaded", "mounted", "present"]
T = TypeVar("T")
R = TypeVar("R")

_BUFFER = 1 << 18
#: Up to here, sending what was made just now is cheaper than asking for it first.
_SMALL = 1 << 20
#: What a registry may say of a manifest whose blobs it lacks.
_BLOBS_MISSING = frozenset(
    {"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_INVALID", "MANIFEST_UNVERIFIED"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PushBlob:
    """A blob of an image, and where its bytes are.

    Attributes:
        open: opens the bytes on this machine, if they are here.
        mount_from: repositories of the target's registry that may have it.
        title: what people call it.
        fetch: the repository to copy it from, if its bytes are not here.
        fresh: whether it was made just now, so that a registry hardly has it.
    """

    digest: Digest
    size: int
    open: Callable[[], BinaryIO] | None = None
    mount_from: tuple[str, ...] = ()
    title: str = ""
    fetch: Repository | None = None
    fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PushManifest:
    """A manifest, and the blobs that it names: config and layers."""

    content: bytes
    media_type: str
    blobs: tuple[PushBlob, ...]

    @property
    def digest(self) -> Digest:
        """Digest of the manifest's bytes."""
        return Digest.of(self.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class PushReport:
    """What a push did, blob by blob.

    Attributes:
        uploaded: blobs that were sent.
        mounted: blobs that came from other repositories of the registry.
        present: blobs that were there, as far as the push had to know of them.
        bytes_uploaded: size of what was sent, without manifests.
    """

    uploaded: tuple[Digest, ...] = ()
    mounted: tuple[Digest, ...] = ()
    present: tuple[Digest, ...] = ()
    bytes_uploaded: int = 0


def _nothing(_manifest: Digest) -> frozenset[Digest]:
    return frozenset()


def push(
    repository: Repository,
    manifests: tuple[PushManifest, ...],
    index: bytes | None,
    index_media_type: str,
    tags: tuple[str, ...],
    *,
    proven: tuple[Digest, ...] = (),
    known: Callable[[Digest], frozenset[Digest]] = _nothing,
    jobs: int = 8,
    progress: Progress = silent,
) -> PushReport:
    """Make *tags* of *repository* stand for the image.

    Args:
        repository: where to; its mirrors are left alone.
        manifests: one a platform; exactly one where there is no *index*.
        index: bytes of the index, or None.
        index_media_type: its media type.
        tags: tags to write; without any, the image is there by its digest only.
        proven: manifests that were once pushed to this repository. Where it still
            holds one, it holds its blobs: nobody has to ask for each.
        known: the blobs of a manifest of *proven*.
        jobs: how many requests may run at once.
        progress: receives the events of a task for each blob.

    Raises:
        RegistryError: the registry refuses, fails or can't be reached. No tag was
            changed then, or only to the complete image.
        HashMismatchError: a blob's bytes are not what its digest says.
        StoreError: a blob's bytes can't be read.
    """
    if index is None and len(manifests) != 1:
        raise ValueError(f"wanted one manifest or an index, found {len(manifests)}")
    if index is None:
        top = _content(manifests[0].content, manifests[0].media_type)
    else:
        top = _content(index, index_media_type)
    sources = {s for m in manifests for blob in m.blobs for s in blob.mount_from}
    target = repository.for_push(frozenset(sources))
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        work = _Push(target, pool, progress)
        try:
            proofs = _proofs(manifests, {d: known(d) for d in proven})
            return work.run(manifests, top, tags, proofs)
        except BaseException:
            work.stop()
            raise


def _proofs(
    manifests: Iterable[PushManifest], known: Mapping[Digest, frozenset[Digest]]
) -> dict[Digest, frozenset[Digest]]:
    """Return those of the *known* manifests that say something of other blobs each."""
    left = {blob.digest for manifest in manifests for blob in manifest.blobs}
    found = {}
    # Often one has all that there is to know, and the others would only be asked.
    for digest in sorted(known, key=lambda digest: -len(known[digest] & left)):
        if known[digest] & left or not known[digest]:
            found[digest] = known[digest]
            left -= known[digest]
    return found


class _Push:
    """One run."""

    def __init__(
        self, target: Repository, pool: ThreadPoolExecutor, progress: Progress
    ) -> None:
        self._pool = pool
        self._stopped = Flag()
        self._listener = progress
        self._target = replace(target, progress=self._progress)

    def stop(self) -> None:
        """End what runs and what waits: nobody needs it any more."""
        self._stopped.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _progress(self, event: Event) -> None:
        if self._stopped.is_set():
            # Each block of an upload comes by here.
            raise CancelledError
        self._listener(event)

    def run(
        self,
        manifests: tuple[PushManifest, ...],
        top: ManifestContent,
        tags: tuple[str, ...],
        proven: dict[Digest, frozenset[Digest]],
    ) -> PushReport:
        wanted = {top.digest, *(manifest.digest for manifest in manifests)}
        early = self._early(manifests)
        held = self._held(wanted, proven)
        if top.digest in held:
            self._tag(top, tags, present=True)
            return PushReport()
        missing = [manifest for manifest in manifests if manifest.digest not in held]
        children = [m for m in missing if m.digest != top.digest]
        blobs = {blob.digest: blob for m in missing for blob in m.blobs}
        there = blobs.keys() & {d for m in held & proven.keys() for d in proven[m]}
        there -= early.keys()
        report = self._blobs((blobs[d] for d in blobs if d not in there), early)
        try:
            self._manifests(children, top, tags)
        except RegistryError as error:
            if not there or error.code not in _BLOBS_MISSING:
                raise
            # The registry keeps a manifest without its blobs: the proof was none.
            more = self._blobs(blobs[d] for d in there)
            self._manifests(children, top, tags)
            return _joined(report, more)
        return _joined(report, PushReport(present=tuple(sorted(there))))

    def _early(
        self, manifests: tuple[PushManifest, ...]
    ) -> Mapping[Digest, Future[Fate]]:
        """Begin to send what no registry can have, before anything is asked."""
        blobs = {blob.digest: blob for item in manifests for blob in item.blobs}
        return {
            digest: self._pool.submit(self._blob, blob)
            for digest, blob in blobs.items()
            if blob.fresh and blob.size <= _SMALL
        }

    def _held(self, wanted: set[Digest], proven: Iterable[Digest]) -> set[Digest]:
        """Return which of the manifests the registry holds, as far as that is asked."""
        known = set(proven)

        def held(digest: Digest) -> bool:
            try:
                return self._target.head_manifest(str(digest)) is not None
            except RegistryError:
                if digest in wanted:
                    raise
                return False  # a proof less, no more

        # Where a memory does not have what is wanted, the registry hardly does.
        digests = sorted(known or wanted)
        answers = self._all(held, digests)
        return {digest for digest, there in zip(digests, answers, strict=True) if there}

    def _blobs(
        self,
        blobs: Iterable[PushBlob],
        early: Mapping[Digest, Future[Fate]] = MappingProxyType({}),
    ) -> PushReport:
        # The largest first, so that none is left running alone at the end.
        ordered = sorted(blobs, key=lambda blob: -blob.size)
        begun = [blob for blob in ordered if blob.digest in early]
        others = [blob for blob in ordered if blob.digest not in early]
        fates = [
            *zip(others, self._all(self._blob, others), strict=True),
            *((blob, early[blob.digest].result()) for blob in begun),
        ]

        def of(fate: Fate) -> tuple[Digest, ...]:
            return tuple(blob.digest for blob, found in fates if found == fate)

        return PushReport(
            uploaded=of("uploaded"),
            mounted=of("mounted"),
            present=of("present"),
            bytes_uploaded=sum(b.size for b, found in fates if found == "uploaded"),
        )

    def _blob(self, blob: PushBlob) -> Fate:
        task = f"push:{blob.digest.hex[:12]}"
        title = blob.title or blob.digest.hex[:12]
        self._progress(TaskStarted(task, title, "push", blob.size))
        try:
            fate = self._brought(blob, task)
        except BaseException:
            self._listener(TaskEnded(task, "failed"))
            raise
        outcome = "done" if fate == "uploaded" else "reused"
        self._progress(TaskEnded(task, outcome, fate))
        return fate

    def _brought(self, blob: PushBlob, task: str) -> Fate:
        fresh = blob.fresh and blob.size <= _SMALL
        if not fresh and self._target.has_blob(blob.digest):
            return "present"
        for source in blob.mount_from:
            if self._target.mount_blob(blob.digest, source):
                return "mounted"
        self._target.upload_blob(blob.digest, blob.size, _opener(blob), task=task)
        return "uploaded"

    def _manifests(
        self,
        children: list[PushManifest],
        top: ManifestContent,
        tags: tuple[str, ...],
    ) -> None:
        def put(manifest: PushManifest) -> None:
            digest = str(manifest.digest)
            self._target.put_manifest(digest, manifest.content, manifest.media_type)

        self._all(put, children)
        self._tag(top, tags)

    def _tag(
        self, top: ManifestContent, tags: tuple[str, ...], *, present: bool = False
    ) -> None:
        def put(reference: str) -> None:
            if present:
                # Registries with immutable tags refuse to write what is there already.
                head = self._target.head_manifest(reference)
                if head is not None and head.digest == top.digest:
                    return
            self._target.put_manifest(reference, top.content, top.media_type)

        self._all(put, tags or (() if present else (str(top.digest),)))

    def _all(self, work: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Do *work* for all items at once; the first failure ends it."""
        waiting = list(items)
        if len(waiting) == 1:
            return [work(waiting[0])]
        futures = [self._pool.submit(work, item) for item in waiting]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            if error := future.exception():
                raise error
        return [future.result() for future in futures]


def _content(content: bytes, media_type: str) -> ManifestContent:
    return ManifestContent(content, media_type, Digest.of(content))


def _opener(blob: PushBlob) -> Callable[[], BinaryIO]:
    if blob.open is not None:
        return blob.open
    source = blob.fetch
    if source is None:
        raise RegistryError(
            f"the registry lacks blob {blob.digest} ({blob.title or 'untitled'}), and "
            "there is nowhere to copy it from",
            hint="build again with --force",
        )
    return lambda: BufferedReader(ChunkReader(source.read_blob(blob.digest)), _BUFFER)


def _joined(one: PushReport, other: PushReport) -> PushReport:
    return PushReport(
        uploaded=one.uploaded + other.uploaded,
        mounted=one.mounted + other.mounted,
        present=one.present + other.present,
        bytes_uploaded=one.bytes_uploaded + other.bytes_uploaded,
    )
