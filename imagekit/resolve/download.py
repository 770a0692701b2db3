"""Wheels as files of the store: fetched when asked for, verified, whole or not at all.

The import of urllib3 is paid by the first wheel that the store lacks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Lock

from imagekit.errors import DownloadError
from imagekit.plan import Distribution
from imagekit.progress import Progress, TaskEnded, TaskStarted, silent
from imagekit.resolve.credentials import Credentials
from imagekit.resolve.fetching import Fetcher, Patience
from imagekit.resolve.partial_file import RemoteFile
from imagekit.store import Store


class Wheels:
    """Gives wheels as files (see :class:`imagekit.builder.WheelSource`).

    Safe to use from many threads, and by several processes on one store.

    Args:
        store: where files are kept.
        credentials: logins, or what gives them when the first is needed
            (:func:`imagekit.resolve.python.credentials_for`); by default those in
            netrc and in uv's credential store.
        ca_bundle: file or folder of CA certificates, in place of the system's.
        check: called with each fetched file before it is published.
        patience: when to give up.
    """

    def __init__(
        self,
        store: Store,
        *,
        credentials: Credentials | Callable[[], Credentials] | None = None,
        progress: Progress = silent,
        ca_bundle: str | None = None,
        check: Callable[[Path], None] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._store = store
        self._progress = progress
        self._check = check
        self._fetcher = Fetcher(
            credentials=credentials, ca_bundle=ca_bundle, patience=patience
        )
        self._lock = Lock()
        self._busy: dict[str, Lock] = {}

    def path(self, distribution: Distribution) -> Path:
        """Return the wheel's path in the store, its hash verified.

        Raises:
            DownloadError: it could not be fetched.
            HashMismatchError: its bytes are not those that were resolved.
            StoreError: the store can't be written.
        """
        path = self._store.wheel_path(distribution.sha256, distribution.filename)
        if path.exists():
            return path
        title = f"{distribution.name} {distribution.version}"
        if distribution.url is None:
            raise DownloadError(
                f"the wheel of {title} was built here, and is no longer in the store",
                hint="build the image again",
            )
        return self.fetch(_remote(distribution, distribution.url))

    def measure(self, distribution: Distribution) -> int:
        """Return the bytes of the wheel: asked of its host, else by fetching it.

        Raises:
            DownloadError: it could not be asked for.
        """
        if distribution.url is not None:
            size = self._fetcher.measure(_remote(distribution, distribution.url))
            if size is not None:
                return size
        return self.path(distribution).stat().st_size

    def fetch_all(self, distributions: Iterable[Distribution], jobs: int = 2) -> None:
        """Fetch all that the store lacks, *jobs* at a time.

        Raises:
            DownloadError: one could not be fetched; the others are given up.
        """
        missing = [
            item
            for item in distributions
            if not self._store.wheel_path(item.sha256, item.filename).exists()
        ]
        if not missing:
            return
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  (threads)

        with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
            running = [pool.submit(self.path, item) for item in missing]
            try:
                for future in running:
                    future.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def fetch(self, file: RemoteFile) -> Path:
        """Return the path of *file* in the store, fetching it if it is not there."""
        path = self._store.wheel_path(file.sha256, file.filename)
        with self._alone(file.sha256):
            if path.exists():
                return path
            self._progress(TaskStarted(file.task, file.title, "fetch", file.size))
            try:
                path = self._fetched(file)
            except BaseException:
                self._progress(TaskEnded(file.task, "failed"))
                raise
            self._progress(TaskEnded(file.task))
            return path

    def _alone(self, sha256: str) -> AbstractContextManager[object]:
        with self._lock:
            return self._busy.setdefault(sha256, Lock())

    def _fetched(self, file: RemoteFile) -> Path:
        import tempfile  # noqa: PLC0415  (slow to import)

        descriptor, name = tempfile.mkstemp(
            dir=self._store.temporary(), prefix="wheel-"
        )
        path = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as into:
                self._fetcher.fetch(file, into, self._progress)
            if self._check is not None:
                self._check(path)
            return self._store.add_wheel(path, file.sha256, file.filename)
        finally:
            path.unlink(missing_ok=True)


def _remote(distribution: Distribution, url: str) -> RemoteFile:
    return RemoteFile(
        filename=distribution.filename,
        url=url,
        sha256=distribution.sha256,
        size=distribution.size,
        title=f"{distribution.name} {distribution.version}",
    )
