"""A small OCI registry in this process, which fails in the ways that it is told to.

It stores what it is given, checks digests, logins and scopes, and refuses manifests
whose blobs are missing, so that :meth:`FaultyRegistry.unsound` can say whether a client
ever made a tag that stands for an incomplete image.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any, Self, TypeAlias
from urllib.parse import parse_qs, urlsplit

from imagekit.digest import Digest


@dataclass(frozen=True)
class Drop:
    """Close the connection; of a body, let *after* bytes through first."""

    after: int | None = None


@dataclass(frozen=True)
class Answer:
    """Answer with a status, and do nothing."""

    status: int
    code: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Lose:
    """Do what was asked, and close the connection without an answer."""


@dataclass(frozen=True)
class Damage:
    """Change a byte of the answer's body."""


@dataclass(frozen=True)
class Halve:
    """Answer with half of the body as if it were all."""


@dataclass(frozen=True)
class Header:
    """Answer as ever, with one header replaced."""

    name: str
    value: str


Fault: TypeAlias = Drop | Answer | Lose | Damage | Halve | Header


@dataclass
class Rule:
    method: str
    path: str
    fault: Fault
    times: int


@dataclass(frozen=True)
class Seen:
    method: str
    path: str
    authorization: str | None
    headers: dict[str, str]


@dataclass
class Store:
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


class FaultyRegistry:
    """Context manager; ``host`` is where it listens."""

    def __init__(
        self,
        *,
        login: tuple[str, str] | None = None,
        scheme: str = "",
        identity_token: str | None = None,
        mounts: bool = True,
        resumable: bool = True,
        ranges: bool = True,
        one_chunk: bool = False,
        largest_body: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.tls = tls
        self.login = login
        self.scheme = scheme or ("basic" if login else "")
        self.identity_token = identity_token
        self.mounts = mounts
        self.resumable = resumable
        self.ranges = ranges
        self.one_chunk = one_chunk
        self.largest_body = largest_body
        self.repositories: dict[str, Store] = {}
        self.uploads: dict[str, bytearray] = {}
        self.tokens: dict[str, frozenset[str]] = {}
        self.token_life = 300
        self.issued: list[str] = []
        self.seen: list[Seen] = []
        self.rules: list[Rule] = []
        self.redirect: Callable[[str], str] | None = None
        self.lock = Lock()
        self.connections: set[socket.socket] = set()

    def __enter__(self) -> Self:
        registry = self

        class Handler(_Handler):
            pass

        Handler.registry = registry
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        with self.lock:
            for connection in self.connections:
                _hang_up(connection)
        self._server.server_close()

    def fail(self, method: str, path: str, fault: Fault, times: int = 1) -> None:
        """Do *fault* for the next *times* requests whose path matches."""
        self.rules.append(Rule(method, path, fault, times))

    def repository(self, name: str) -> Store:
        with self.lock:
            return self.repositories.setdefault(name, Store())

    def add_blob(self, repository: str, data: bytes) -> Digest:
        self.repository(repository).blobs[str(Digest.of(data))] = data
        return Digest.of(data)

    def add_manifest(
        self, repository: str, content: bytes, media_type: str, tag: str | None = None
    ) -> Digest:
        digest = Digest.of(content)
        store = self.repository(repository)
        store.manifests[str(digest)] = (content, media_type)
        if tag:
            store.tags[tag] = str(digest)
        return digest

    def requests(self, method: str, path: str = "") -> list[Seen]:
        return [s for s in self.seen if s.method == method and re.search(path, s.path)]

    def revoke_tokens(self) -> None:
        self.tokens.clear()

    def unsound(self) -> Iterator[str]:
        """Give every way in which a stored image is not whole."""
        for name, store in self.repositories.items():
            for digest, data in store.blobs.items():
                if str(Digest.of(data)) != digest:
                    yield f"{name}: blob {digest} is damaged"
            for digest, (content, _) in store.manifests.items():
                if str(Digest.of(content)) != digest:
                    yield f"{name}: manifest {digest} is damaged"
                for part in _parts(content):
                    if part not in store.blobs and part not in store.manifests:
                        yield f"{name}: manifest {digest} lacks {part}"
            for tag, digest in store.tags.items():
                if digest not in store.manifests:
                    yield f"{name}: tag {tag} lacks {digest}"

    def next_fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for rule in self.rules:
                if rule.times and rule.method == method and re.search(rule.path, path):
                    rule.times -= 1
                    return rule.fault
        return None


class _Handler(BaseHTTPRequestHandler):
    registry: FaultyRegistry
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 30

    def setup(self) -> None:
        super().setup()
        with self.registry.lock:
            self.registry.connections.add(self.connection)

    def finish(self) -> None:
        with self.registry.lock:
            self.registry.connections.discard(self.connection)
        try:
            super().finish()
        except OSError:
            self.wfile.close()

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_GET  # noqa: N815  (http.server's names)

    def _serve(self) -> None:
        registry = self.registry
        headers = {key.lower(): value for key, value in self.headers.items()}
        seen = Seen(self.command, self.path, headers.get("authorization"), headers)
        with registry.lock:
            registry.seen.append(seen)
        self.body_left = int(headers.get("content-length", 0))
        self.fault = registry.next_fault(self.command, self.path)
        if self.fault == Drop():
            self._drop()
            return
        if isinstance(self.fault, Answer):
            self._read()
            extra = dict(self.fault.headers)
            self._error(self.fault.status, self.fault.code, **extra)
            return
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path == "/token":
            self._token(parse_qs(parts.query))
            return
        found = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/(.+)", parts.path)
        if found is None:
            self._read()
            self._error(404, "")
            return
        repository, kind, rest = found.groups()
        repository = repository.removesuffix("/blobs")
        if not self._allowed(repository, query.get("from")):
            return
        if parts.path.startswith(f"/v2/{repository}/blobs/uploads/"):
            self._upload(repository, rest.removeprefix("uploads/"), query)
        elif kind == "blobs":
            self._blob(repository, rest)
        else:
            self._manifest(repository, rest)

    # Logins

    def _allowed(self, repository: str, source: str | None) -> bool:
        registry = self.registry
        given = self.headers.get("Authorization") or ""
        reading = self.command in ("GET", "HEAD")
        needed = {f"repository:{repository}:{'pull' if reading else 'push'}"}
        if registry.scheme == "basic" and not self._basic(given):
            self._read()
            self._error(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="test, it"')
            return False
        if registry.scheme == "bearer":
            scopes = registry.tokens.get(given.removeprefix("Bearer "), frozenset())
            if not needed <= scopes:
                wanted = f"repository:{repository}:pull"
                challenge = (
                    f'Bearer realm="http://{registry.host}/token",'
                    f'service="{registry.host}",scope="{wanted}"'
                )
                self._read()
                self._error(401, "UNAUTHORIZED", WWW_Authenticate=challenge)
                return False
        return True

    def _basic(self, given: str) -> bool:
        if self.registry.login is None:
            return False
        pair = ":".join(self.registry.login).encode()
        return given == f"Basic {base64.b64encode(pair).decode()}"

    def _token(self, query: dict[str, list[str]]) -> None:
        registry = self.registry
        given = self.headers.get("Authorization")
        scopes = query.get("scope", [])
        if self.command == "POST":
            form = parse_qs(self._read().decode())
            scopes = form["scope"][0].split()
            if form["refresh_token"][0] != registry.identity_token:
                self._error(401, "UNAUTHORIZED")
                return
        elif registry.login and given is None:
            # Anonymous: what is public may be read.
            scopes = [re.sub(",push$", "", scope) for scope in scopes]
        elif registry.login and not self._basic(given or ""):
            self._error(401, "UNAUTHORIZED")
            return
        atoms = {
            f"{scope.rpartition(':')[0]}:{action}"
            for scope in scopes
            for action in scope.rpartition(":")[2].split(",")
        }
        with registry.lock:
            token = f"token-{len(registry.issued)}"
            registry.issued.append(" ".join(scopes))
            registry.tokens[token] = frozenset(atoms)
        answer = {"token": token, "expires_in": registry.token_life}
        self._answer(200, json.dumps(answer).encode())

    # Manifests

    def _manifest(self, repository: str, reference: str) -> None:
        store = self.registry.repository(repository)
        if self.command == "PUT":
            content = self._read()
            if any(
                part not in store.blobs and part not in store.manifests
                for part in _parts(content)
            ):
                self._error(404, "MANIFEST_BLOB_UNKNOWN")
                return
            digest = str(Digest.of(content))
            store.manifests[digest] = (content, self.headers["Content-Type"])
            if ":" not in reference:
                store.tags[reference] = digest
            self._answer(201, b"", Docker_Content_Digest=digest)
            return
        digest = store.tags.get(reference, reference)
        if digest not in store.manifests:
            self._error(404, "MANIFEST_UNKNOWN")
            return
        content, media_type = store.manifests[digest]
        self._answer(
            200, content, Docker_Content_Digest=digest, Content_Type=media_type
        )

    # Blobs

    def _blob(self, repository: str, digest: str) -> None:
        data = self.registry.repository(repository).blobs.get(digest)
        if data is None:
            self._error(404, "BLOB_UNKNOWN")
            return
        if self.registry.redirect is not None:
            self._answer(307, b"", Location=self.registry.redirect(self.path))
            return
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if asked and self.registry.ranges:
            start = int(asked[1])
            if start >= len(data):
                self._error(416, "")
                return
            shown = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self._answer(206, data[start:], Content_Range=shown)
            return
        self._answer(200, data, Docker_Content_Digest=digest)

    def _upload(self, repository: str, upload: str, query: dict[str, str]) -> None:
        registry = self.registry
        if self.command == "POST":
            self._begin(repository, query)
            return
        if upload not in registry.uploads:
            self._read()
            self._error(404, "BLOB_UPLOAD_UNKNOWN")
            return
        data = registry.uploads[upload]
        if self.command == "GET":
            self._progress(repository, upload, 204)
            return
        if refused := self._refused(len(data)):
            self._read()
            self._error(*refused)
            return
        received = self._read(into=data if registry.resumable else None)
        if not registry.resumable:
            data += received
        if self.close_connection and self.body_left:
            if not registry.resumable:
                registry.uploads.pop(upload, None)
        elif self.command == "PATCH":
            self._progress(repository, upload, 202)
        else:
            self._end(repository, upload, query["digest"])

    def _refused(self, size: int) -> tuple[int, str] | None:
        """Return why a body is not taken, if an upload has *size* bytes."""
        registry = self.registry
        if registry.largest_body is not None and self.body_left > registry.largest_body:
            return 413, ""
        first = (self.headers.get("Content-Range") or "").partition("-")[0]
        if self.command == "PATCH" and first:
            if registry.one_chunk and int(first) > 0:
                return 416, "BLOB_UPLOAD_INVALID"
            if int(first) != size:
                return 416, ""
        return None

    def _end(self, repository: str, upload: str, digest: str) -> None:
        data = bytes(self.registry.uploads.pop(upload))
        if str(Digest.of(data)) != digest:
            self._error(400, "DIGEST_INVALID")
            return
        self.registry.repository(repository).blobs[digest] = data
        self._answer(201, b"", Location=f"/v2/{repository}/blobs/{digest}")

    def _begin(self, repository: str, query: dict[str, str]) -> None:
        registry = self.registry
        self._read()
        if "mount" in query and registry.mounts:
            source = registry.repository(query["from"]).blobs.get(query["mount"])
            if source is not None:
                registry.repository(repository).blobs[query["mount"]] = source
                self._answer(201, b"")
                return
        with registry.lock:
            upload = f"u{len(registry.uploads)}-{len(registry.seen)}"
            registry.uploads[upload] = bytearray()
        self._progress(repository, upload, 202)

    def _progress(self, repository: str, upload: str, status: int) -> None:
        size = len(self.registry.uploads[upload])
        location = f"/v2/{repository}/blobs/uploads/{upload}?_state=very-secret"
        self._answer(
            status, b"", Location=location, Range=f"0-{size - 1}" if size else "0-0"
        )

    # The wire

    def _read(self, into: bytearray | None = None) -> bytes:
        """Read the body, or as much as the fault lets through."""
        data = bytearray() if into is None else into
        limit = self.fault.after if isinstance(self.fault, Drop) else None
        while self.body_left:
            wanted = min(self.body_left, 1 << 16)
            if limit is not None:
                wanted = min(wanted, limit)
            block = self.rfile.read(wanted) if wanted else b""
            if not block:
                self._drop()
                break
            data += block
            self.body_left -= len(block)
            if limit is not None:
                limit -= len(block)
        return bytes(data) if into is None else b""

    def _error(self, status: int, code: str, **headers: str) -> None:
        errors = [{"code": code, "message": f"this is {code.lower()}"}]
        body = json.dumps({"errors": errors}).encode() if code else b"oops"
        self._answer(status, body, **headers)

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        fault = self.fault
        if isinstance(fault, Lose):
            self._drop()
            return
        shown = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(fault, Header):
            shown[fault.name] = fault.value
        if isinstance(fault, Damage) and body:
            body = body[:-1] + bytes([body[-1] ^ 1])
        if isinstance(fault, Halve):
            body = body[: len(body) // 2]
        self.send_response(status)
        for name, value in shown.items():
            self.send_header(name, value)
        length = len(body)
        if isinstance(fault, Drop) and fault.after is not None:
            length = max(length, fault.after + 1)
        if status != 204:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command == "HEAD":
            return
        if isinstance(fault, Drop) and fault.after is not None:
            self.wfile.write(body[: fault.after])
            self.wfile.flush()
            self._drop()
            return
        self.wfile.write(body)

    def _drop(self) -> None:
        self.close_connection = True
        _hang_up(self.connection)


def _parts(content: bytes) -> list[str]:
    """Return the digests that a manifest or index names."""
    try:
        document = json.loads(content)
    except ValueError:
        return []
    named = [*document.get("layers", []), *document.get("manifests", [])]
    if "config" in document:
        named.append(document["config"])
    return [item["digest"] for item in named]


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
