"""A repository in a registry: its manifests and blobs, read and written.

Follows the OCI distribution spec 1.1. Importing this module is cheap: what speaks HTTP
is imported with the first request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from imagekit.digest import Digest
from imagekit.errors import HashMismatchError, RegistryError
from imagekit.oci.address import Endpoint
from imagekit.progress import Progress, TaskAdvanced
from imagekit.records import dataclass, field, replace
from imagekit.store import Store

if TYPE_CHECKING:
    from imagekit.oci.client import Client
    from imagekit.oci.connections import Connections

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ManifestHead:
    """What a registry says about a manifest or index."""

    digest: Digest
    media_type: str
    size: int


@dataclass(frozen=True, slots=True)
class ManifestContent:
    """A manifest or index, its bytes verified."""

    content: bytes
    media_type: str
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository of a registry.

    Every method raises RegistryError where the registry refuses, fails or can't be
    reached, after the retries that make sense.

    Attributes:
        registry: its host, as people write it.
        repository: its name there.
        mirrors: where manifests and blobs are read first.
        mounts: repositories of the same registry that blobs will be mounted from.
    """

    registry: str
    repository: str
    origin: Endpoint
    mirrors: tuple[Endpoint, ...]
    connect: Callable[[], Connections] = field(repr=False, compare=False)
    progress: Progress = field(repr=False, compare=False)
    mounts: frozenset[str] = frozenset()
    writing: bool = False
    # Uploads that refused mounts have begun, by digest.
    _begun: dict[Digest, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}"

    def direct(self) -> Repository:
        """Return this repository without mirrors: what it holds itself."""
        return replace(self, mirrors=())

    def for_push(self, mounts: frozenset[str] = frozenset()) -> Repository:
        """Return this repository, direct, with one token for all that a push does."""
        return replace(self, mirrors=(), writing=True, mounts=self.mounts | mounts)

    def head_manifest(self, reference: str) -> ManifestHead | None:
        """Return what the registry says about a tag or digest.

        None only where it says that there is no such manifest. Asks mirrors first: to
        know what the repository itself holds, ask ``direct()``.
        """
        from imagekit.oci.manifests import head_manifest  # noqa: PLC0415

        return self._read(lambda at: head_manifest(at, reference, self._scopes(at)))

    def get_manifest(self, reference: str) -> ManifestContent | None:
        """Return the manifest or index of a tag or digest; None as above.

        Raises:
            HashMismatchError: the bytes are not those of the digest.
        """
        from imagekit.oci.manifests import get_manifest  # noqa: PLC0415

        return self._read(lambda at: get_manifest(at, reference, self._scopes(at)))

    def put_manifest(self, reference: str, content: bytes, media_type: str) -> Digest:
        """Write a manifest or index under a tag or its digest; return the digest."""
        from imagekit.oci.manifests import put_manifest  # noqa: PLC0415

        at = self._origin()
        return put_manifest(at, reference, content, media_type, self._scopes(at, True))

    def has_blob(self, digest: Digest) -> bool:
        """Return whether the repository itself, not a mirror, holds a blob."""
        from imagekit.oci.client import Request  # noqa: PLC0415

        at = self._origin()
        reply = at.request(
            Request(
                method="HEAD",
                url=at.url(f"blobs/{digest}"),
                scopes=self._scopes(at),
                expect=(200, 404),
            )
        )
        return reply.status == 200  # noqa: PLR2004

    def read_blob(self, digest: Digest) -> Iterator[bytes]:
        """Yield the bytes of a blob, verified when the last one is out.

        A broken connection is taken up again where it broke.

        Raises:
            HashMismatchError: the bytes are not those of *digest*.
        """
        from imagekit.oci.download import read_blob  # noqa: PLC0415

        clients = [self._client(endpoint) for endpoint in (*self.mirrors, self.origin)]
        return read_blob(clients, digest, name=self.name, note=self.connect().note)

    def fetch_blob(
        self, digest: Digest, store: Store, *, task: str | None = None
    ) -> Path:
        """Bring a blob into *store*, and return its path there.

        Args:
            digest: the blob.
            store: where it goes, unless it is there already.
            task: task of the caller that the bytes are reported to.

        Raises:
            HashMismatchError: the bytes are wrong, also when fetched again.
            StoreError: the store can't be written.
        """
        if not store.has_blob(digest):
            try:
                self._fetch(digest, store, task)
            except HashMismatchError:
                # A mirror's copy may be damaged, or the way was.
                self.direct()._fetch(digest, store, None)  # noqa: SLF001  (a copy of self)
        return store.blob_path(digest)

    def mount_blob(self, digest: Digest, source: str) -> bool:
        """Make a blob of the repository *source*, of this registry, appear here.

        False where the registry does not do that; the blob is to be uploaded then.
        """
        from imagekit.oci.client import Request  # noqa: PLC0415
        from imagekit.oci.upload import upload_location  # noqa: PLC0415

        at = self._origin()
        request = Request(
            method="POST",
            url=at.url(f"blobs/uploads/?mount={digest}&from={source}"),
            scopes=self._scopes(at, True) | {f"repository:{source}:pull"},
            expect=(201, 202),
        )
        try:
            reply = at.exchange(request)
            if reply.status == 201:  # noqa: PLR2004
                return True
            self._begun[digest] = upload_location(reply)
        except RegistryError:
            # Registries fail in many ways here (go-containerregistry#1404, #1679). An
            # upload without a mount works, or says what is wrong.
            return False
        return False

    def upload_blob(
        self,
        digest: Digest,
        size: int,
        open_body: Callable[[], BinaryIO],
        *,
        task: str | None = None,
    ) -> None:
        """Write a blob of *size* bytes.

        Args:
            digest: its digest, which the registry verifies.
            size: bytes.
            open_body: opens the bytes; called again for every try.
            task: task of the caller that the bytes are reported to.

        Raises:
            HashMismatchError: the body has not *size* bytes.
            StoreError: the body can't be read.
        """
        from imagekit.oci.upload import BlobUpload  # noqa: PLC0415

        at = self._origin()
        BlobUpload(
            at,
            digest=digest,
            size=size,
            open_body=open_body,
            scopes=self._scopes(at, True),
            report=self._reporter(task),
            present=lambda: self.has_blob(digest),
            location=self._begun.pop(digest, None),
        ).run()

    def _fetch(self, digest: Digest, store: Store, task: str | None) -> None:
        report = self._reporter(task)
        with store.write_blob() as writer:
            for chunk in self.read_blob(digest):
                writer.write(chunk)
                report(len(chunk))
            writer.commit(digest)

    def _reporter(self, task: str | None) -> Callable[[int], None]:
        def report(amount: int) -> None:
            if task is not None and amount:
                self.progress(TaskAdvanced(task, amount))

        return report

    def _read(self, read: Callable[[Client], T | None]) -> T | None:
        """Return what the first mirror that has it gives, else what the origin does."""
        for mirror in self.mirrors:
            at = self._client(mirror)
            try:
                found = read(at)
            except (RegistryError, HashMismatchError) as error:
                self.connect().note(f"asking {self.registry} itself: {error}")
                continue
            if found is not None:
                return found
            self.connect().note(
                f"asking {self.registry} itself: its mirror {mirror.name} "
                f"lacks something of {self.repository!r}"
            )
        return read(self._origin())

    def _origin(self) -> Client:
        return self._client(self.origin)

    def _client(self, endpoint: Endpoint) -> Client:
        return self.connect().client(endpoint, self.repository)

    def _scopes(self, at: Client, write: bool = False) -> frozenset[str]:
        """Return what a token must allow: all that is to come, so that one is enough.

        Mounts are named as they are at the origin, which alone is written to.
        """
        actions = ("pull", "push") if write or self.writing else ("pull",)
        own = {f"repository:{at.repository}:{action}" for action in actions}
        return frozenset(own | {f"repository:{name}:pull" for name in self.mounts})
