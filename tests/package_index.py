"""A package index on loopback, and tiny wheels and source distributions to put there.

It is a real server with the simple API (PEP 503). It can ask for a login, drop
connections in the middle of a file, and answer with a status, so that what clients do
then can be seen.
"""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from imagekit.layers import InstallOptions, PipPackages, Requirements
from imagekit.origin import Origin, SourcePath
from imagekit.plan import Interpreter, Libc
from imagekit.platform import Platform
from imagekit.resolve.python import Target

GLIBC = Libc(name="glibc", version=(2, 36))
MUSL = Libc(name="musl", version=(1, 2))

#: A build backend in the standard library alone, so that a build needs no index.
BACKEND = """
import pathlib, re, zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    text = pathlib.Path("pyproject.toml").read_text()
    name = re.search(r'name = "(.*?)"', text)[1].replace("-", "_")
    version = re.search(r'\\nversion = "(.*?)"', text)[1]
    tag = re.search(r'tag = "(.*?)"', text)[1]
    filename = f"{name}-{version}-{tag}.whl"
    info = f"{name}-{version}.dist-info"
    requires = re.search(r"dependencies = \\[(.*?)\\]", text, re.S)[1]
    lines = [f"Requires-Dist: {item}" for item in re.findall(r'"(.*?)"', requires)]
    with zipfile.ZipFile(f"{wheel_directory}/{filename}", "w") as archive:
        for path in sorted(pathlib.Path(".").rglob("*.py")):
            if path.name != "backend.py":
                archive.write(path)
        head = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        archive.writestr(f"{info}/METADATA", "\\n".join(head + lines) + "\\n")
        wheel = f"Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: {tag}\\n"
        archive.writestr(f"{info}/WHEEL", wheel)
        archive.writestr(f"{info}/RECORD", "")
    return filename
"""


def target(
    platform: str = "linux/amd64", python: str = "3.11.9", libc: Libc = GLIBC
) -> Target:
    """Return a target."""
    major, minor = python.split(".")[:2]
    return Target(
        platform=Platform.parse(platform),
        interpreter=Interpreter(
            path=f"/usr/local/bin/python{major}.{minor}",
            version=(int(major), int(minor)),
            full_version=python,
        ),
        libc=libc,
    )


def packages(
    *names: str, folder: Path | str = "/nowhere", line: int = 1, **options: object
) -> PipPackages:
    """Return a layer with *names*, as written in ``image.py``."""
    return PipPackages(
        packages=names,
        options=InstallOptions(**options),  # type: ignore[arg-type]
        origin=Origin("image.py", line, str(folder)),
    )


def requirements(path: Path, **options: object) -> Requirements:
    """Return a layer with the requirements file at *path*."""
    origin = Origin("image.py", 1, str(path.parent))
    return Requirements(
        file=SourcePath.of(path, origin),
        options=InstallOptions(**options),  # type: ignore[arg-type]
        origin=origin,
    )


def wheel(
    name: str,
    version: str,
    *,
    requires: tuple[str, ...] = (),
    tag: str = "py3-none-any",
    size: int = 0,
) -> tuple[str, bytes]:
    """Return the file name and bytes of a wheel."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {item}\n" for item in requires)
    target_file = io.BytesIO()
    with zipfile.ZipFile(target_file, "w") as archive:
        archive.writestr(f"{module}.py", f"version = {version!r}\n" + "#" * size)
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")
    return f"{module}-{version}-{tag}.whl", target_file.getvalue()


def project_files(
    name: str,
    version: str,
    *,
    requires: tuple[str, ...] = (),
    tag: str = "py3-none-any",
    extra: str = "",
    backend: str = BACKEND,
) -> dict[str, str]:
    """Return the files of a project that builds with the standard library alone."""
    listed = ", ".join(f'"{item}"' for item in requires)
    module = name.replace("-", "_")
    return {
        "pyproject.toml": f"""\
[project]
name = "{name}"
version = "{version}"
requires-python = ">=3.10"
dependencies = [{listed}]

[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[tool.backend]
tag = "{tag}"
{extra}""",
        "backend.py": backend,
        f"{module}.py": f"version = {version!r}\n",
    }


def write_project(folder: Path, name: str, version: str, **options: object) -> Path:
    """Write a project into *folder*, made for it."""
    folder.mkdir(parents=True)
    for path, text in project_files(name, version, **options).items():  # type: ignore[arg-type]
        (folder / path).write_text(text)
    return folder


def sdist(name: str, version: str, **options: object) -> tuple[str, bytes]:
    """Return the file name and bytes of a source distribution."""
    root = f"{name.replace('-', '_')}-{version}"
    requires: tuple[str, ...] = options.get("requires", ())  # type: ignore[assignment]
    info = f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n"
    info += "".join(f"Requires-Dist: {item}\n" for item in requires)
    files = {"PKG-INFO": info, **project_files(name, version, **options)}  # type: ignore[arg-type]
    target_file = io.BytesIO()
    with tarfile.open(fileobj=target_file, mode="w:gz") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(f"{root}/{path}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return f"{root}.tar.gz", target_file.getvalue()


@dataclass
class PackageIndex:
    """What the server has, what it does wrong, and what it was asked.

    Attributes:
        login: user name and password that it asks for.
        broken_after: bytes of a file after which the connection drops, one a request.
        statuses: statuses with which the next requests for files are answered.
    """

    login: tuple[str, str] | None = None
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    broken_after: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    redirect: str | None = None
    ranges: bool = True
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/simple"

    @property
    def url_with_login(self) -> str:
        assert self.login is not None
        return f"http://{self.login[0]}:{self.login[1]}@127.0.0.1:{self.port}/simple"

    def add(self, file: tuple[str, bytes]) -> str:
        """Add a file and return its URL."""
        filename, data = file
        name = filename.split("-")[0].replace("_", "-").lower()
        self.files[filename] = (name, data)
        return f"http://127.0.0.1:{self.port}/files/{filename}"

    def sha256(self, filename: str) -> str:
        return hashlib.sha256(self.files[filename][1]).hexdigest()

    def asked_for(self, part: str) -> list[dict[str, str]]:
        """Return the headers of requests whose path has *part*."""
        return [headers for path, headers in self.requests if part in path]


@contextmanager
def serve(login: tuple[str, str] | None = None) -> Iterator[PackageIndex]:
    """Run an index on a free port of loopback."""
    index = PackageIndex(login=login)

    class Handler(_Handler):
        shared = index

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    index.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    shared: PackageIndex
    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        # Clients may break off as servers may.
        with suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        index = self.shared
        index.requests.append((self.path, dict(self.headers)))
        if index.login is not None and not self._may():
            self._answer(401, b"", {"WWW-Authenticate": 'Basic realm="index"'})
        elif self.path.startswith("/files/"):
            self._file(self.path.rpartition("/")[2])
        else:
            self._page(self.path.strip("/").rpartition("/")[2])

    do_HEAD = do_GET  # noqa: N815  (the name that the base class looks for)

    def _may(self) -> bool:
        assert self.shared.login is not None
        pair = ":".join(self.shared.login).encode()
        wanted = f"Basic {base64.b64encode(pair).decode()}"
        return bool(self.headers.get("Authorization") == wanted)

    def _page(self, name: str) -> None:
        links = [
            f'<a href="/files/{filename}#sha256={hashlib.sha256(data).hexdigest()}">'
            f"{filename}</a>"
            for filename, (owner, data) in self.shared.files.items()
            if owner == name
        ]
        status = 200 if links else 404
        page = f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>"
        self._answer(status, page.encode(), {"Content-Type": "text/html"})

    def _file(self, filename: str) -> None:
        index = self.shared
        if index.redirect is not None:
            self._answer(302, b"", {"Location": f"{index.redirect}/{filename}"})
            return
        if self.command == "GET" and index.statuses:
            self._answer(index.statuses.pop(0), b"", {"Retry-After": "0"})
            return
        if filename not in index.files:
            self._answer(404, b"", {})
            return
        data = index.files[filename][1]
        start = 0
        asked = self.headers.get("Range", "")
        if asked.startswith("bytes=") and index.ranges:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            if not first:
                start = len(data) - int(last)
            else:
                start = int(first)
                data = data[: int(last) + 1] if last else data
            total = len(index.files[filename][1])
            headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{total}"}
            self._answer(206, data[start:], headers)
            return
        self._answer(200, data, {"Accept-Ranges": "bytes"} if index.ranges else {})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        is_file = status in (200, 206) and self.path.startswith("/files/")
        if is_file and self.shared.broken_after:
            body = body[: self.shared.broken_after.pop(0)]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep quiet."""
