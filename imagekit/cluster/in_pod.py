"""``PodApi``: access from inside a pod, with its service account.

The standard library only: it runs in images that hold nothing else. Connections are
kept, as many as there were threads that needed one at once.
"""

from __future__ import annotations

import os
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from imagekit.cluster.http_connection import (
    HttpAnswer,
    exchange,
    is_alive,
    open_connection,
)
from imagekit.cluster.requesting import HttpApi
from imagekit.cluster.retrying import Waiting
from imagekit.cluster.sending import Answer, Plug, Request
from imagekit.task_errors import InitializationError

if TYPE_CHECKING:
    from http.client import HTTPSConnection
    from ssl import SSLContext

#: Where Kubernetes puts what a pod needs to reach the API.
FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
#: An API server that is down for 20 s must not be noticed, nor one that is replaced by
#: its next release: what runs meanwhile would be lost.
PATIENCE = 300.0
_HOST, _PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
_HINT = "the pod has to be run by Kubernetes, with automountServiceAccountToken: true"


class PodApi(HttpApi):
    """Access to the API from a pod; safe to use from many threads.

    Args:
        folder: with ``token``, ``ca.crt`` and ``namespace``; None takes Kubernetes'.
        host: name or address of the API server; None takes the environment's.
        port: its port; None takes the environment's.
        namespace: the default namespace; None takes the folder's.
        patience: seconds to go on after the first fault of a request.
        waiting: is told why requests wait.

    Raises:
        InitializationError: this is no pod, or one without a service account's token.
    """

    def __init__(
        self,
        folder: str | None = None,
        *,
        host: str | None = None,
        port: int | None = None,
        namespace: str | None = None,
        patience: float = PATIENCE,
        waiting: Waiting | None = None,
    ) -> None:
        place = Path(folder or FOLDER)
        super().__init__(
            _PodSender(place, _setting(_HOST, host), int(_setting(_PORT, port))),
            namespace=namespace or _read(place / "namespace"),
            patience=patience,
            waiting=waiting,
        )


def is_pod() -> bool:
    """Return whether this process runs in a pod that can reach the API."""
    return bool(os.environ.get(_HOST)) and Path(FOLDER, "token").is_file()


class _PodSender:
    hint = "check the cluster's network policies, and that the API server is up"
    login_hint = "the service account or its token was deleted: run the pod again"

    def __init__(self, folder: Path, host: str, port: int) -> None:
        self.host = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._address = host, port
        self._token = _Kept(folder / "token")
        self._ca = _Kept(folder / "ca.crt")
        self._lock = Lock()
        self._tls: tuple[str, SSLContext] | None = None
        self._idle: list[HTTPSConnection] = []
        # A pod without them is told so at once.
        self._token.text()
        self._context()

    def send(self, request: Request, plug: Plug) -> Answer:
        headers = {
            **request.headers(),
            "Authorization": f"Bearer {self._token.text()}",
        }
        connection = self._taken() or self._opened()
        response = exchange(connection, request, headers, plug, self.host, self.hint)
        return HttpAnswer(
            response, connection, self._kept, host=self.host, hint=self.hint
        )

    def refresh(self) -> None:
        self._token.forget()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _opened(self) -> HTTPSConnection:
        return open_connection(
            self._address, self._context(), host=self.host, hint=self.hint
        )

    def _taken(self) -> HTTPSConnection | None:
        """Return an idle connection that the API server has not closed."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if is_alive(connection):
                return connection
            connection.close()

    def _kept(self, connection: HTTPSConnection) -> None:
        with self._lock:
            self._idle.append(connection)

    def _context(self) -> SSLContext:
        import ssl  # noqa: PLC0415  (slow to import)

        bundle = self._ca.text()
        with self._lock:
            if self._tls is None or self._tls[0] != bundle:
                try:
                    context = ssl.create_default_context(cadata=bundle)
                except (ssl.SSLError, ValueError) as error:
                    raise InitializationError(
                        f"wanted certificates in {str(self._ca.path)!r}, found none",
                        hint=_HINT,
                    ) from error
                self._tls = bundle, context
            return self._tls[1]


class _Kept:
    """The text of a file, read again when the file has changed; they are rotated."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, int, int] | None = None
        self._text = ""
        self._lock = Lock()

    def text(self) -> str:
        with self._lock:
            try:
                found = self.path.stat()
            except FileNotFoundError:
                # Between the steps of a rotation, the old one is as good as ever.
                if self._text:
                    return self._text
                stamp = None
            else:
                stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
            if stamp is None or stamp != self._stamp:
                self._text = _read(self.path)
                self._stamp = stamp
            return self._text

    def forget(self) -> None:
        with self._lock:
            self._stamp = None


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "not a text"
        raise InitializationError(
            f"can't read {str(path)!r}: {str(said).lower()}", hint=_HINT
        ) from error
    if not text:
        raise InitializationError(f"{str(path)!r} is empty", hint=_HINT)
    return text


def _setting(name: str, given: str | int | None) -> str:
    found = str(given) if given is not None else os.environ.get(name, "")
    if not found:
        raise InitializationError(
            f"wanted the API server's address in the variable {name!r}, found none",
            hint=_HINT,
        )
    return found
