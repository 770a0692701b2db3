"""Tiny wheels that make use of what the wheel format allows."""

from __future__ import annotations

import hashlib
import importlib.metadata
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from imagekit.plan import Distribution
from imagekit.platform import Platform

_MODULE = b"def main() -> int:\n    return 0\n"
_LONG = "a_name_that_is_longer_than_a_header_of_a_tar_archive_has_room_for"
_SHARED = b"# The same file in two distributions.\n"
_BULK = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(9000))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheels:
    """What there is to install.

    Attributes:
        files: where the wheels are, by the SHA-256 of the file.
        plain: a module and a script.
        newer: another version of *plain*, with every kind of file that there is.
        leaving: what a later step removes.
        odd: legal, but surprising in its names.
    """

    files: dict[str, Path]
    plain: Distribution
    newer: Distribution
    leaving: Distribution
    odd: Distribution


def make_wheels(folder: Path) -> Wheels:
    """Write the wheels into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        "plain": _wheel(folder, "conformance_alpha", "1.0", _plain()),
        "newer": _wheel(folder, "conformance_alpha", "2.0", _newer()),
        "leaving": _wheel(folder, "conformance_beta", "0.1", _leaving()),
        "odd": _wheel(
            folder, "odd_name_pkg", "1!2.0.post1+local.7", _odd(), build="1build"
        ),
    }
    url = '{"archive_info": {}, "url": "https://example.com/odd name.whl"}'
    return Wheels(
        files={_digest(path): path for path in made.values()},
        plain=distribution_of(made["plain"], requested=True),
        newer=distribution_of(made["newer"], requested=True),
        leaving=distribution_of(made["leaving"]),
        odd=distribution_of(made["odd"], direct_url=url),
    )


def installer_wheel(folder: Path) -> Path:
    """Write a wheel of the uv that is installed here, for this machine's platform.

    It has no more than what is executed, and comes from no package index.
    """
    from uv import find_uv_bin  # noqa: PLC0415  (for builders that execute only)

    folder.mkdir(parents=True, exist_ok=True)
    name = f"uv-{importlib.metadata.version('uv')}"
    target = folder / f"{name}-py3-none-linux_{Platform.host().machine}.whl"
    with ZipFile(target, "w", ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        archive.write(find_uv_bin(), f"{name}.data/scripts/uv")
    return target


def _plain() -> dict[str, bytes]:
    return {
        "conformance_alpha/__init__.py": _MODULE,
        "conformance_alpha/gone_in_2.py": b"old = True\n",
        "{info}/entry_points.txt": b"[console_scripts]\n"
        b"alpha = conformance_alpha:main\nalpha-old = conformance_alpha:main\n",
    }


def _newer() -> dict[str, bytes]:
    return {
        "conformance_alpha/__init__.py": _MODULE + b"\n# 2.0\n",
        "conformance_alpha/data/table.csv": b"a,b\n1,2\n",
        "conformance_alpha/bin/helper*": b"#!/bin/sh\nexit 0\n",
        "conformance_shared/__init__.py": _SHARED,
        "{data}/scripts/alpha-python": b"#!python\nprint('alpha')\n",
        "{data}/scripts/alpha-shell": b"#!/bin/sh\necho alpha\n",
        "{data}/data/share/conformance/readme.txt": b"data\n",
        "{data}/data/etc/conformance.conf": b"",
        "{data}/headers/alpha.h": b"#pragma once\n",
        "{data}/purelib/conformance_extra.py": b"extra = 1\n",
        "{info}/entry_points.txt": b"[console_scripts]\n"
        b"alpha = conformance_alpha:main\n"
        b"Alpha.Dotted = conformance_alpha.sub:Class.method [extra]\n"
        b"[gui_scripts]\nalpha-window = conformance_alpha:main\n"
        b"[conformance.plugins]\nalpha = conformance_alpha\n",
        "{info}/licenses/LICENSE": b"none\n",
    }


def _leaving() -> dict[str, bytes]:
    return {
        "conformance_beta/__init__.py": b"",
        "conformance_beta/deep/er/module.py": b"x = 1\n",
        "{data}/scripts/beta": b"#!python\n",
    }


def _odd() -> dict[str, bytes]:
    return {
        "odd_name_pkg/__init__.py": _MODULE,
        "odd_name_pkg/py.typed": b"",
        "odd_name_pkg/spaced name.txt": b"spaces\n",
        "odd_name_pkg/na\u00efve \u2603 \u65e5\u672c.txt": b"unicode\n",
        "odd_name_pkg/comma, \"quote\" and 'tick'.txt": b"quotes\n",
        "odd_name_pkg/-dash $HOME #1 %s ~ @=+!.txt": b"signs\n",
        f"odd_name_pkg/{_LONG}/{_LONG}.txt": b"long\n",
        "odd_name_pkg/bulk.bin": _BULK,
        "conformance_shared/__init__.py": _SHARED,
    }


def _wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, bytes],
    *,
    build: str = "",
) -> Path:
    """Write a wheel. A name with a star at its end is of an executable file."""
    info, data = f"{name}-{version}.dist-info", f"{name}-{version}.data"
    own = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\n"
        f"Version: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: imagekit.testing\n"
        b"Root-Is-Purelib: true\nTag: py3-none-any\n",
    }
    named = {key.format(info=info, data=data): value for key, value in files.items()}
    members = {**named, **own}
    record = "".join(
        f"{_field(path.rstrip('*'))},{_record_hash(content)},{len(content)}\n"
        for path, content in members.items()
    )
    members[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    parts = [name, version, *([build] if build else []), "py3-none-any.whl"]
    target = folder / "-".join(parts)
    with ZipFile(target, "w") as archive:
        for path, content in members.items():
            member = ZipInfo(path.rstrip("*"), (2001, 2, 3, 4, 5, 6))
            member.external_attr = (0o100755 if path.endswith("*") else 0o100644) << 16
            # Both ways in which wheels hold files.
            member.compress_type = ZIP_DEFLATED if content else ZIP_STORED
            archive.writestr(member, content)
    return target


def _field(text: str) -> str:
    """Return *text* as a field of a CSV file."""
    if not any(character in text for character in ',"'):
        return text
    return '"' + text.replace('"', '""') + '"'


def _record_hash(content: bytes) -> str:
    digest = hashlib.sha256(content, usedforsecurity=False).digest()
    return "sha256=" + urlsafe_b64encode(digest).rstrip(b"=").decode()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes(), usedforsecurity=False).hexdigest()


def distribution_of(
    path: Path, *, requested: bool = False, direct_url: str | None = None
) -> Distribution:
    """Return what the wheel at *path* is in a plan."""
    name, version = path.name.split("-")[:2]
    return Distribution(
        name=name.replace("_", "-"),
        version=version,
        filename=path.name,
        sha256=_digest(path),
        size=path.stat().st_size,
        requested=requested,
        direct_url=direct_url,
    )
