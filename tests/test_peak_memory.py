"""Memory stays flat, whatever the size of a wheel: fetched, made into a layer, sent."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytestmark = pytest.mark.engine

MOST = 200_000_000
_MB = 1_000_000
_INFO = "bigwheel-1.0.dist-info"
_WHEEL = "bigwheel-1.0-py3-none-any.whl"
_METADATA = "Metadata-Version: 2.1\nName: bigwheel\nVersion: 1.0\n"

# A child's peak is never below what its parent had when it forked, so a small process
# starts the command, and tells the peak of all that ran below itself.
TRAMPOLINE = """
import json, resource, subprocess, sys
code = subprocess.call(sys.argv[2:], stdout=subprocess.DEVNULL)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as file:
    json.dump({"code": code, "peak": usage.ru_maxrss * 1024}, file)
"""


@dataclass(frozen=True)
class Part:
    """A file of the wheel: *megabytes* that do not compress, or of zeros."""

    name: str
    megabytes: int
    method: int = zipfile.ZIP_DEFLATED
    zeros: bool = False

    def blocks(self) -> Iterator[bytes]:
        for _ in range(self.megabytes):
            yield bytes(_MB) if self.zeros else os.urandom(_MB)


PARTS = (
    Part("bigwheel/lib.so", 150),
    Part("bigwheel/stored.bin", 50, zipfile.ZIP_STORED),
    Part("bigwheel/zeros.bin", 300, zeros=True),
)


def record_line(name: str, digest: bytes, size: int) -> str:
    encoded = urlsafe_b64encode(digest).rstrip(b"=").decode()
    return f"{name},sha256={encoded},{size}"


def write_wheel(path: Path) -> None:
    record = []
    with zipfile.ZipFile(path, "w", compresslevel=1) as archive:
        for part in PARTS:
            info = zipfile.ZipInfo(part.name)
            info.compress_type = part.method
            info.external_attr = 0o100644 << 16
            digest = hashlib.sha256()
            with archive.open(info, "w", force_zip64=True) as file:
                for block in part.blocks():
                    digest.update(block)
                    file.write(block)
            size = part.megabytes * _MB
            record.append(record_line(part.name, digest.digest(), size))
        for name, content in (
            ("bigwheel/__init__.py", b""),
            (f"{_INFO}/METADATA", _METADATA.encode()),
            (f"{_INFO}/WHEEL", b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"),
        ):
            archive.writestr(name, content)
            digest = hashlib.sha256(content)
            record.append(record_line(name, digest.digest(), len(content)))
        record.append(f"{_INFO}/RECORD,,")
        archive.writestr(f"{_INFO}/RECORD", "\n".join(record) + "\n")


class _Files(SimpleHTTPRequestHandler):
    """Sends files, without ranges."""

    def handle(self) -> None:
        with suppress(ConnectionError):  # who wanted headers only has gone
            super().handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep quiet."""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of an index with one wheel of 200 MB (PEP 503, PEP 658)."""
    root = tmp_path_factory.mktemp("index")
    folder = root / "simple" / "bigwheel"
    folder.mkdir(parents=True)
    wheel = folder / _WHEEL
    write_wheel(wheel)
    with wheel.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    (folder / f"{_WHEEL}.metadata").write_text(_METADATA)
    (folder / "index.html").write_text(
        f'<!DOCTYPE html><a href="{_WHEEL}#sha256={digest}" '
        f'data-core-metadata="true">{_WHEEL}</a>'
    )
    handler = partial(_Files, directory=str(root))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/simple/"
        server.shutdown()
        thread.join()
    wheel.unlink()


def test_a_wheel_of_200_mb_takes_less_than_200_mb_of_memory(
    index: str, registry: str, tmp_path: Path
) -> None:
    definition = tmp_path / "images.py"
    definition.write_text(
        "from imagekit import Image\n"
        "image = Image.from_debian_base((3, 11), name='big').with_pip_packages(\n"
        f"    'bigwheel', index_url={index!r}\n"
        ")\n"
    )
    words = ("build", str(definition), "--platform", "linux/amd64,linux/arm64")
    outputs = (
        "--output",
        f"oci:{tmp_path}/layout",
        "--output",
        f"tar:{tmp_path}/x.tar",
    )
    told = tmp_path / "peak.json"

    subprocess.run(
        [
            *(sys.executable, "-c", TRAMPOLINE, str(told)),
            *(sys.executable, "-m", "imagekit", *words, "--push", *outputs),
        ],
        check=True,
        env={
            **os.environ,
            "IMAGEKIT_CACHE_DIR": str(tmp_path / "store"),
            "IMAGEKIT_REGISTRY": registry,
            "IMAGEKIT_REGISTRY_MIRRORS": f"docker.io={registry}",
        },
    )

    found = json.loads(told.read_text())
    assert found["code"] == 0
    assert (tmp_path / "x.tar").stat().st_size > MOST
    print(f"peak: {found['peak'] / _MB:.0f} MB")
    assert found["peak"] < MOST
