"""Checks a wheel once, before it enters the store: every hash, and its own name."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from pathlib import Path

from imagekit.errors import BuildFailedError
from imagekit_oci.wheel import Member, Wheel, parse_headers

_HINT = "the wheel is damaged or was made wrongly: pin another version or build of it"
#: "sha256 or better" (wheel spec, "The .dist-info directory").
_STRONG = ("sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512", "blake2b")


def verify_wheel(path: Path) -> None:
    """Read the wheel at *path* completely and check it.

    Files that ``RECORD`` does not list are accepted, as in pip and uv; their CRC-32 is
    checked all the same, and what is installed has a ``RECORD`` that lists them.

    Raises:
        BuildFailedError: it can't be installed safely, it is not the distribution that
            its file name says, or a file is not the one that ``RECORD`` lists.
    """
    with Wheel.open(path) as wheel:
        _check_name(wheel)
        unsigned = {
            f"{wheel.dist_info}/{name}"
            for name in ("RECORD", "RECORD.jws", "RECORD.p7s")
        }
        for member in wheel.members.values():
            line = wheel.record.get(member.name)
            wanted = line.hash if line and member.name not in unsigned else ""
            _check_member(wheel, member, wanted)


def _check_member(wheel: Wheel, member: Member, wanted: str) -> None:
    algorithm = wanted.partition("=")[0] or "sha256"
    if algorithm not in _STRONG:
        raise BuildFailedError(
            f"{wheel.filename}: RECORD has a hash of kind {algorithm!r} for "
            f"{member.name!r}; wanted sha256 or better",
            hint=_HINT,
        )
    digest = hashlib.new(algorithm, usedforsecurity=False)
    for piece in wheel.content(member) if member.size else ():
        digest.update(piece)
    encoded = urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
    found = f"{algorithm}={encoded}"
    if wanted and wanted.rstrip("=") != found:
        raise BuildFailedError(
            f"{wheel.filename}: member {member.name!r} is not the one in RECORD: "
            f"wanted {wanted}, found {found}",
            hint=_HINT,
        )


def _check_name(wheel: Wheel) -> None:
    """Check that the metadata are those that the file name promises."""
    from packaging.utils import (  # noqa: PLC0415  (slow to import)
        InvalidWheelFilename,
        canonicalize_name,
        parse_wheel_filename,
    )
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415

    headers = parse_headers(wheel.metadata("METADATA"))
    name, version = headers.get("name", ""), headers.get("version", "")
    try:
        wanted_name, wanted_version, _, _ = parse_wheel_filename(wheel.filename)
        # uv takes a wheel whose metadata lack the local part of the version, too.
        versions = (wanted_version, Version(wanted_version.public))
        same = canonicalize_name(name) == wanted_name and Version(version) in versions
    except (InvalidWheelFilename, InvalidVersion) as error:
        raise BuildFailedError(f"{wheel.filename}: {error}", hint=_HINT) from error
    if not same:
        raise BuildFailedError(
            f"{wheel.filename}: its metadata are those of {name!r} {version!r}",
            hint=_HINT,
        )
