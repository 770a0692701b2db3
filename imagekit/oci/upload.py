"""Writing a blob: in one piece or in chunks, resumed where the registry allows it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO
from urllib.parse import urlsplit

from imagekit.digest import Digest
from imagekit.errors import (
    AuthenticationError,
    HashMismatchError,
    RegistryError,
    StoreError,
)
from imagekit.oci.address import follow
from imagekit.oci.auth import Scopes
from imagekit.oci.client import Client, Request
from imagekit.oci.transport import Reply

#: Some front ends cap a request at 100 MB.
CHUNK = 64 << 20
#: Up to here one request is cheaper than what a resumption could save.
ONE_PIECE = 4 << 20
#: Registries that store chunks as parts of an S3 upload take none that are smaller.
_SMALLEST_CHUNK = 5 << 20
_BLOCK = 1 << 18
_TOO_LARGE = 413
# The upload is gone, or not what the client thinks it is: begin again.
_LOST = frozenset({404, 416})
_LOST_CODES = frozenset(
    {"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "DIGEST_INVALID", "SIZE_INVALID"}
)
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")
_OCTETS = {"Content-Type": "application/octet-stream"}


class BlobUpload:
    """One blob on its way to a repository.

    Args:
        open_body: opens the blob's bytes anew.
        report: hears how many more bytes were sent, each byte once.
        location: an upload that a refused mount has begun, or None.
        present: asks the registry whether it has the blob.
    """

    def __init__(
        self,
        client: Client,
        *,
        digest: Digest,
        size: int,
        open_body: Callable[[], BinaryIO],
        scopes: Scopes,
        report: Callable[[int], None],
        present: Callable[[], bool],
        location: str | None = None,
        chunk: int = CHUNK,
    ) -> None:
        self._client = client
        self._digest = digest
        self._size = size
        self._open_body = open_body
        self._scopes = scopes
        self._report = report
        self._present = present
        self._location = location
        self._chunk = chunk
        self._offset = 0
        self._reported = 0

    def run(self) -> None:
        """Send the blob.

        Raises:
            RegistryError: the registry does not take it.
            HashMismatchError: the body has not *size* bytes.
            StoreError: the body can't be read.
        """
        attempts = self._client.attempts()
        while True:
            try:
                self._send()
            except RegistryError as error:
                attempts.after(error, again=self._worth_another(error))
                if self._recovered(error):
                    return
            else:
                return

    def _send(self) -> None:
        if self._location is None:
            self._offset = 0
            self._location = self._begin()
        if self._size <= min(ONE_PIECE, self._chunk):
            location, self._location = self._location, None  # can't be resumed
            self._finish(location, self._size)
            return
        while self._offset < self._size:
            self._send_chunk(self._location)
        self._finish(self._location, 0)

    def _begin(self) -> str:
        request = Request(
            method="POST",
            url=self._client.url("blobs/uploads/"),
            scopes=self._scopes,
            expect=(202,),
        )
        return upload_location(self._client.exchange(request))

    def _send_chunk(self, location: str) -> None:
        """Send the next chunk (distribution-spec, "Pushing a blob in chunks")."""
        length = min(self._chunk, self._size - self._offset)
        end = self._offset + length
        reply = self._client.exchange(
            Request(
                method="PATCH",
                url=location,
                scopes=self._scopes,
                expect=(202, 204, 201),
                headers={
                    **_OCTETS,
                    "Content-Length": str(length),
                    "Content-Range": f"{self._offset}-{end - 1}",
                },
                body=lambda: self._body(self._offset, length),
            )
        )
        self._location = upload_location(reply)
        received = _received(reply)
        self._offset = end if received is None else min(received, end)

    def _finish(self, location: str, length: int) -> None:
        joint = "&" if urlsplit(location).query else "?"
        self._client.exchange(
            Request(
                method="PUT",
                url=f"{location}{joint}digest={self._digest}",
                scopes=self._scopes,
                expect=(201,),
                headers={**_OCTETS, "Content-Length": str(length)},
                body=(lambda: self._body(0, length)) if length else b"",
            )
        )

    def _body(self, offset: int, length: int) -> Iterator[bytes]:
        position, end = offset, offset + length
        try:
            with self._open_body() as file:
                _skip(file, offset)
                while position < end:
                    data = file.read(min(_BLOCK, end - position))
                    if not data:
                        break
                    yield data
                    position += len(data)
                    self._report(max(0, position - self._reported))
                    self._reported = max(self._reported, position)
        except OSError as error:
            # Not for urllib3 to see, which would take it for the connection's.
            raise StoreError(f"can't read blob {self._digest}: {error}") from error
        if position < end:
            raise HashMismatchError(
                f"wanted {self._size} bytes of blob {self._digest}, found {position}"
            )

    def _worth_another(self, error: RegistryError) -> bool:
        if error.temporary or error.status in _LOST or error.code in _LOST_CODES:
            return True
        if error.status == _TOO_LARGE:
            return self._chunk > _SMALLEST_CHUNK and self._size > _SMALLEST_CHUNK
        return self._chunk_refused(error)

    def _chunk_refused(self, error: RegistryError) -> bool:
        """Return whether this can be a registry that takes blobs in one chunk only."""
        lasting = not error.temporary and not isinstance(error, AuthenticationError)
        return lasting and 0 < self._offset < self._size and self._chunk < self._size

    def _recovered(self, error: RegistryError) -> bool:
        """Prepare for another try; return whether none is needed."""
        if error.status == _TOO_LARGE:
            self._chunk = max(_SMALLEST_CHUNK, min(self._chunk, self._size) // 4)
        elif self._chunk_refused(error):
            self._chunk = self._size
        if self._present():
            return True  # only the answer was lost
        lost = error.code in _LOST_CODES or error.status in _LOST
        if self._location is not None and (lost or not self._resumed(self._location)):
            self._location = None
        return False

    def _resumed(self, location: str) -> bool:
        """Ask how much of the blob has arrived (distribution-spec, end-13)."""
        request = Request(
            method="GET", url=location, scopes=self._scopes, expect=(204, 200, 202)
        )
        try:
            reply = self._client.exchange(request)
            self._location = upload_location(reply)
        except RegistryError:
            return False
        received = _received(reply)
        if received is None or received > self._size:
            return False
        self._offset = received
        return True


def upload_location(reply: Reply) -> str:
    """Return where the upload goes on; each reply says it anew."""
    return follow(reply.url, reply.header("Location"), method=reply.method)


def _received(reply: Reply) -> int | None:
    """Return how many bytes the registry has, or None where it does not say."""
    found = _RANGE.fullmatch(reply.header("Range") or "")
    if found is None:
        return None
    # "0-0" is one byte or, from the distribution registry, none: then begin again.
    return int(found[1]) + 1 if int(found[1]) else None


def _skip(file: BinaryIO, offset: int) -> None:
    if not offset:
        return
    if file.seekable():
        file.seek(offset)
        return
    while offset:
        data = file.read(min(_BLOCK, offset))
        if not data:
            return
        offset -= len(data)
