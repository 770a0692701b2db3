"""A server on the loopback that answers as it is told, faults included."""

from __future__ import annotations

import json
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, Self, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from machine.certificates import MutualTLS

TOKEN = "token-that-nobody-may-see"


@dataclass(frozen=True)
class Reply:
    """Answer; with *before* called first, and *missing* bytes of the body left out."""

    status: int = 200
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()
    before: Callable[[], object] | None = None
    missing: int = 0


@dataclass(frozen=True)
class Lose:
    """Read the request and reset the connection; *before* is called first."""

    before: Callable[[], object] | None = None


@dataclass(frozen=True)
class Hang:
    """Give no answer until the server is closed; *reached* is set first."""

    reached: Event = field(default_factory=Event)


@dataclass(frozen=True)
class Chunks:
    """Answer with a body in chunks; then end it, cut it off, or keep silent."""

    chunks: Sequence[bytes]
    end: str = "clean"
    reached: Event = field(default_factory=Event)


Act: TypeAlias = Reply | Lose | Hang | Chunks


def refused(
    code: int, reason: str, message: str = "", headers: Any = (), **details: Any
) -> Reply:
    """Return a refusal of Kubernetes."""
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": details,
        "code": code,
    }
    return Reply(code, status, tuple(headers))


@dataclass(frozen=True)
class Received:
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


class ApiServer:
    """Answers each request with the next act of :attr:`script`.

    Attributes:
        received: the requests that came, in order.
        connections: how many were opened.
    """

    def __init__(self, tls: MutualTLS) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(tls.server.cert, tls.server.key)
        self.ca = tls.ca
        self.script: list[Act] = []
        self.received: list[Received] = []
        self.connections = 0
        self.closing = Event()
        self.lock = Lock()
        self._open: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    def require(self, ca: Path) -> None:
        """Let in only who has a certificate of *ca*."""
        self._context.load_verify_locations(ca)
        self._context.verify_mode = ssl.CERT_REQUIRED

    def start(self) -> None:
        """Listen, at the same port each time."""
        server = _Server(("127.0.0.1", self.port), _Handler)
        server.api = self
        self.port = server.server_address[1]
        self._server = server
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening, and close all connections."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
        with self.lock:
            for connection in self._open:
                with suppress(OSError):
                    # Without a farewell of TLS, which its thread may be at.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def wrap(self, plain: socket.socket) -> ssl.SSLSocket:
        """Return a connection with TLS."""
        wrapped = self._context.wrap_socket(
            plain, server_side=True, do_handshake_on_connect=False
        )
        with self.lock:
            self.connections += 1
            self._open.add(wrapped)
        return wrapped

    def next_act(self, received: Received) -> Act:
        """Return how to answer."""
        with self.lock:
            self.received.append(received)
            # An act too few is a failure that no client outlasts.
            return self.script.pop(0) if self.script else Reply(418, "unexpected")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.closing.set()
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    api: ApiServer

    def get_request(self) -> tuple[Any, Any]:
        plain, address = self.socket.accept()
        return self.api.wrap(plain), address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that give up are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_args: Any) -> None:
        pass

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        content = self.rfile.read(length)
        parts = urlsplit(self.path)
        act = self.server.api.next_act(
            Received(
                self.command,
                parts.path,
                dict(parse_qsl(parts.query)),
                {name.lower(): text for name, text in self.headers.items()},
                json.loads(content) if content else None,
            )
        )
        match act:
            case Reply():
                self._reply(act)
            case Lose():
                if act.before is not None:
                    act.before()
                self._reset()
            case Hang():
                act.reached.set()
                self.server.api.closing.wait()
                self._reset()
            case Chunks():
                self._chunks(act)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815  (http.server's)

    def _reply(self, act: Reply) -> None:
        if act.before is not None:
            act.before()
        body = act.body if isinstance(act.body, bytes) else json.dumps(act.body)
        content = body if isinstance(body, bytes) else body.encode()
        self.send_response(act.status)
        for name, value in act.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) - act.missing])
        if act.missing:
            self._reset()

    def _chunks(self, act: Chunks) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in act.chunks:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.flush()
        act.reached.set()
        if act.end == "clean":
            self.wfile.write(b"0\r\n\r\n")
        elif act.end == "silent":
            self.server.api.closing.wait()
            self._reset()
        else:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def _reset(self) -> None:
        self.close_connection = True
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        # What is not sent yet is thrown away, with the connection.
        self.connection.close()


def write_service_account(folder: Path, ca: Path, namespace: str = "tests") -> Path:
    """Write what a pod finds of its service account."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "token").write_text(TOKEN)
    (folder / "ca.crt").write_text(ca.read_text())
    (folder / "namespace").write_text(namespace)
    return folder


def kubeconfig_document(
    server: str, ca: Path | None, user: Any = None, name: str = "test"
) -> dict[str, Any]:
    """Return a kubeconfig with one context."""
    cluster: dict[str, Any] = {"server": server}
    if ca is None:
        cluster["insecure-skip-tls-verify"] = True
    else:
        cluster["certificate-authority"] = str(ca)
    context = {"cluster": name, "user": name, "namespace": "tests"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user or {"token": TOKEN}}],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
    }
