"""One file from its host: resumed where the connection drops, verified at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urljoin, urlsplit

from imagekit.errors import (
    DownloadError,
    HashMismatchError,
    RegistryError,
)
from imagekit.progress import Progress
from imagekit.records import dataclass
from imagekit.resolve.credentials import Credentials, redact, without_login
from imagekit.resolve.partial_file import PartialFile, RemoteFile

if TYPE_CHECKING:
    from imagekit.oci.transport import Reply, Transport

_BLOCK = 1 << 20
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 10
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_REFUSED = (401, 403)
_PARTIAL = 206
_RANGE_NOT_SATISFIABLE = 416
_OK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often a file is asked for, and how long is waited in between.

    Attributes:
        tries: attempts in a row without a new byte.
        pause: seconds before the second; doubles with each further one.
        longest: seconds; caps what a host asks for, too.
        sleep: what waits.
    """

    tries: int = 5
    pause: float = 0.25
    longest: float = 20.0
    sleep: Callable[[float], None] = time.sleep


class Fetcher:
    """Fetches files. Safe to use from many threads.

    Args:
        credentials: logins, or what gives them when the first is needed; by default
            those in netrc and in uv's credential store.
        ca_bundle: file or folder of CA certificates, in place of the system's.
        patience: when to give up.
    """

    def __init__(
        self,
        *,
        credentials: Credentials | Callable[[], Credentials] | None = None,
        ca_bundle: str | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._credentials = credentials
        self._ca_bundle = ca_bundle
        self._patience = patience or Patience()
        self._transport: Transport | None = None
        self._lock = Lock()

    def fetch(self, file: RemoteFile, into: BinaryIO, progress: Progress) -> None:
        """Write the bytes of *file*, verified.

        Raises:
            DownloadError: it could not be fetched.
            HashMismatchError: its bytes are others.
            StoreError: *into* can't be written.
        """
        target = PartialFile(into, file, progress)
        if file.url.startswith("file:"):
            _copy(file, target)
        else:
            self._download(file, target)
        target.flush()

    def measure(self, file: RemoteFile) -> int | None:
        """Return how many bytes *file* has, or None where its host does not tell.

        Raises:
            DownloadError: the host could not be asked.
        """
        if file.url.startswith("file:"):
            path = Path(unquote(urlsplit(file.url).path))
            return path.stat().st_size if path.is_file() else None
        asked = {"Accept-Encoding": "identity", "Range": "bytes=0-0"}
        reply = self._ask(file, asked)
        try:
            if reply.status == _PARTIAL:  # RFC 9110, "Content-Range"
                total = (reply.header("Content-Range") or "").rpartition("/")[2]
            else:
                total = reply.header("Content-Length") or ""
            known = reply.status in (_OK, _PARTIAL) and total.isdigit()
            return int(total) if known else None
        finally:
            reply.close()

    def _download(self, file: RemoteFile, target: PartialFile) -> None:
        failed = 0
        while True:
            before = target.size
            try:
                self._continue(file, target)
                target.verify()
            except HashMismatchError:
                # Half from one file and half from another: once more, from the start.
                if not target.resumed:
                    raise
                target.restart()
            except _TryAgainError as error:
                failed = 1 if target.size > before else failed + 1
                if failed >= self._patience.tries:
                    raise error.final() from error
                pause = error.pause or self._patience.pause * 2 ** (failed - 1)
                self._patience.sleep(min(pause, self._patience.longest))
            else:
                return

    def _continue(self, file: RemoteFile, target: PartialFile) -> None:
        """Fetch what *target* lacks, in one request."""
        headers = {"Accept-Encoding": "identity"}
        if target.size:
            headers["Range"] = f"bytes={target.size}-"
        reply = self._ask(file, headers)
        if reply.status == _RANGE_NOT_SATISFIABLE and target.size:
            reply.close()
            target.restart()
            raise _TryAgainError(file, "the host has another file now")
        if reply.status not in (_OK, _PARTIAL):
            reply.close()
            raise _refusal(file, reply)
        if target.size and reply.status != _PARTIAL:
            target.restart()
        target.resumed = target.size > 0
        try:
            for block in reply.stream():
                target.write(block)
        except RegistryError as error:
            raise _TryAgainError(file, error.message) from error

    def _ask(self, file: RemoteFile, headers: dict[str, str]) -> Reply:
        url = file.url
        for _ in range(_MOST_REDIRECTS):
            reply = self._send(file, url, headers, self._logins().header(url))
            if reply.status in _REFUSED:
                login = self._logins().header_from_tools(url)
                if login is not None:
                    reply.close()
                    reply = self._send(file, url, headers, login)
            location = reply.header("Location")
            if reply.status not in _REDIRECTS or location is None:
                return reply
            reply.close()
            url = urljoin(without_login(url), location)
            if urlsplit(url).scheme not in ("http", "https"):
                break
        raise DownloadError(f"{redact(file.url)!r} redirects without end")

    def _send(
        self, file: RemoteFile, url: str, headers: dict[str, str], login: str | None
    ) -> Reply:
        if login is not None:
            headers = {**headers, "Authorization": login}
        try:
            return self._connection().send(
                "GET", without_login(url), headers=headers, stream=True
            )
        except RegistryError as error:
            failure = _TryAgainError(file, error.message, hint=error.hint)
            if not error.temporary:
                raise failure.final() from error
            raise failure from error

    def _logins(self) -> Credentials:
        with self._lock:
            if self._credentials is None:
                self._credentials = Credentials()
            elif not isinstance(self._credentials, Credentials):
                self._credentials = self._credentials()
            return self._credentials

    def _connection(self) -> Transport:
        with self._lock:
            if self._transport is None:
                from imagekit.oci.transport import Transport  # noqa: PLC0415  (urllib3)

                self._transport = Transport(ca_bundle=self._ca_bundle)
            return self._transport


class _TryAgainError(Exception):
    """An attempt failed in a way that may pass."""

    def __init__(
        self,
        file: RemoteFile,
        reason: str,
        *,
        pause: float = 0,
        hint: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.pause = pause
        self._file = file
        self._reason = reason
        self._hint = hint

    def final(self) -> DownloadError:
        """Return what to raise if it does not pass."""
        return DownloadError(
            f"can't fetch {self._file.title} from {redact(self._file.url)!r}: "
            f"{redact(self._reason)}",
            hint=self._hint
            or "check the connection and try again; what was fetched is kept",
        )


def _copy(file: RemoteFile, target: PartialFile) -> None:
    path = Path(unquote(urlsplit(file.url).path))
    try:
        with path.open("rb") as source:
            while block := source.read(_BLOCK):
                target.write(block)
    except OSError as error:
        raise DownloadError(
            f"can't read {file.title} at {str(path)!r}: {error.strerror}",
            hint="put the file back, or resolve again with --upgrade",
        ) from error
    target.verify()


def _refusal(file: RemoteFile, reply: Reply) -> Exception:
    reason = f"status {reply.status}"
    if reply.status in _BUSY:
        after = reply.header("Retry-After") or ""
        return _TryAgainError(
            file, reason, pause=float(after) if after.isdecimal() else 0
        )
    if reply.status in _REFUSED:
        hint = (
            "give the index's login: in its URL, in UV_INDEX_<NAME>_USERNAME and "
            "_PASSWORD, in ~/.netrc, or with 'uv auth login'"
        )
    else:
        hint = "resolve again with --upgrade if the file was taken from the index"
    return _TryAgainError(file, reason, hint=hint).final()
