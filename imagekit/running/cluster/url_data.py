"""Blobs behind a URL: object stores and whatever else fsspec knows.

fsspec and what it needs for the URL have to be in the image, or on the client. Keys
and endpoints come from variables, as for all programs that use these packages
(``AWS_ACCESS_KEY_ID``, ``FSSPEC_S3_ENDPOINT_URL``, …), never from the URL: that is kept
on the cluster, where many may read it.
"""

from __future__ import annotations

import importlib
import os
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

from imagekit.digest import Digest
from imagekit.errors import ImageKitError, StoreError
from imagekit.running.cluster.raw_data import checked, file_chunks, missing
from imagekit.running.cluster.transient import is_transient, retried
from imagekit.task_errors import RuntimeSystemError, RuntimeUserError
from imagekit.value_blobs import ValueBlobs

_T = TypeVar("_T")

#: Bytes that are read or sent at a time, while those are at most 5000 parts.
_PART, _MOST_PARTS = 8 << 20, 5000

#: What a protocol needs beside fsspec. Memory has to stay small, whatever is copied.
_PACKAGES = {
    "abfs": "adlfs",
    "abfss": "adlfs",
    "adl": "adlfs",
    "az": "adlfs",
    "gcs": "gcsfs",
    "gs": "gcsfs",
    "hdfs": "pyarrow",
    "oci": "ocifs",
    "oss": "ossfs",
    "s3": "s3fs",
    "s3a": "s3fs",
    "sftp": "paramiko",
    "smb": "smbprotocol",
    "ssh": "paramiko",
    "webdav": "webdav4",
}
#: Stores in which an object is there only when it is whole, and can't be renamed.
_ATOMIC = frozenset({"abfs", "abfss", "adl", "az", "gcs", "gs", "oci", "oss", "s3"})


class UrlData:
    """Blobs below a URL.

    Raises:
        RuntimeUserError: it has credentials in it.
    """

    def __init__(self, url: str) -> None:
        self.name = _without_credentials(url)
        if self.name != url:
            raise RuntimeUserError(
                f"wanted a raw_data_path without credentials, found {self.name}",
                hint="leave them out, and give tasks a Secret with as_env_var="
                "'AWS_SECRET_ACCESS_KEY' or what your store's client reads",
            )
        self._url = url
        self._opening = threading.Lock()
        self._opened: tuple[Any, str] | None = None

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Return whether the blob is there; see RawData."""
        files, root = self._files()
        return self._tried("read", lambda: _has(files, _path(root, digest), size))

    def put(self, digest: Digest, path: str | os.PathLike[str]) -> None:
        """Keep a file; see RawData."""
        files, root = self._files()
        target = _path(root, digest)
        size = os.path.getsize(path)
        if self._tried("read", lambda: _has(files, target, size)):
            return
        _check(digest, path)

        def write() -> None:
            if _protocols(files) & _ATOMIC:
                files.put_file(os.fspath(path), target, **_limits(files, size))
            else:
                _put_renamed(files, os.fspath(path), root, target, size)
            if not _has(files, target, size):
                raise OSError(f"what was written as {target} is not there")

        self._tried("write to", write)

    def get(self, digest: Digest, into: ValueBlobs) -> None:
        """Copy a blob; see RawData."""
        files, root = self._files()

        def read() -> None:
            try:
                file = files.open(_path(root, digest), "rb", block_size=_PART)
            except FileNotFoundError:
                raise missing(digest, self.name) from None
            with file:
                chunks = checked(file_chunks(file.read), digest, self.name)
                into.put(lambda sink: [sink.write(chunk) for chunk in chunks])

        self._tried("read", read)

    def _files(self) -> tuple[Any, str]:
        """Return the file system of the URL, and the path in it."""
        with self._opening:
            if self._opened is None:
                self._opened = self._found()
            return self._opened

    def _found(self) -> tuple[Any, str]:
        protocol = self._url.partition("://")[0]
        package = _PACKAGES.get(protocol)
        wanted = ", ".join(f'"{name}"' for name in ("fsspec", package) if name)
        try:
            fsspec = importlib.import_module("fsspec")
            files, root = fsspec.core.url_to_fs(self._url)
        except ImportError as error:
            raise RuntimeUserError(
                f"can't use {self.name}: {error}",
                hint=f"add .with_pip_packages({wanted}) to the image of each task that "
                "hands large values on; the client needs them too if it does",
            ) from error
        except Exception as error:  # noqa: BLE001  (of any package that knows the URL)
            self._fail("use", error)
        return files, str(root).rstrip("/")

    def _tried(self, verb: str, action: Callable[[], _T]) -> _T:
        try:
            return retried(action)
        except ImageKitError:
            raise
        except Exception as error:  # noqa: BLE001  (of any package that knows the URL)
            self._fail(verb, error)

    def _fail(self, verb: str, error: Exception) -> NoReturn:
        text = str(error) or type(error).__name__
        shown = _without_credentials(text)
        message = f"can't {verb} {self.name}: {shown}"
        # Its text may have what was taken out of the message.
        cause = error if shown == text else None
        if is_transient(error):
            hint = "see whether it can be reached from here, and by pods"
            raise RuntimeSystemError(message, hint=hint) from cause
        raise RuntimeUserError(
            message,
            hint="see that the place exists, and that the variables with credentials "
            "and endpoint are set: for tasks with env_vars and secrets of their "
            "environments",
        ) from cause


def _check(digest: Digest, path: str | os.PathLike[str]) -> None:
    """Refuse a damaged file: it must not get the name of a whole one."""
    try:
        with open(path, "rb") as file:
            for _chunk in checked(file_chunks(file.read), digest, os.fspath(path)):
                pass
    except OSError as error:
        raise StoreError(f"can't read blob {digest}: {error}") from error


def _path(root: str, digest: Digest) -> str:
    return f"{root}/{digest.hex[:2]}/{digest.hex}"


def _has(files: Any, path: str, size: int | None) -> bool:
    files.invalidate_cache()
    try:
        found = files.info(path)
    except FileNotFoundError:
        return False
    return found["type"] == "file" and size in {None, found["size"]}


def _put_renamed(files: Any, path: str, root: str, target: str, size: int) -> None:
    """Write under another name, so that what can be seen is whole."""
    partial = f"{root}/partial/{os.urandom(16).hex()}"
    files.makedirs(f"{root}/partial", exist_ok=True)
    files.makedirs(target.rpartition("/")[0], exist_ok=True)
    try:
        files.put_file(path, partial)
        try:
            files.mv(partial, target)
        except FileExistsError:
            # Some can't replace. Half of it may be there from who could not rename.
            if not _has(files, target, size):
                files.rm_file(target)
                files.mv(partial, target)
    finally:
        with suppress(OSError):
            files.rm_file(partial)


def _limits(files: Any, size: int) -> dict[str, int]:
    """Return options that keep small what is in memory while a file is sent."""
    part = max(_PART, -(-size // _MOST_PARTS))
    protocols = _protocols(files)
    if protocols & {"s3"}:
        return {"chunksize": part, "max_concurrency": 2}
    if protocols & {"gs"}:
        # In steps that the store takes.
        return {"chunksize": -(-part >> 18 << 18)}
    return {}


def _protocols(files: Any) -> set[str]:
    found = files.protocol
    return {found} if isinstance(found, str) else set(found)


def _without_credentials(text: str) -> str:
    """Return *text* with no password and no query in any URL of it."""
    # A secret may have a slash in it; a port comes before one.
    text = re.sub(r"(://[^/\s:@]*):(?!\d+/)[^\s@]*@", r"\1:***@", text)
    return re.sub(r"(://[^\s'\"?]*)\?[^\s'\"]+", r"\1?***", text)
