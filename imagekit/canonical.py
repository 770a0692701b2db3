"""Values to bytes, one way only: the encoding behind every identity.

The written specification is ``docs/identity.md``. Two values encode to the same bytes
exactly when they are equal, so that a hash of the bytes names the value.
"""

from __future__ import annotations

import json
from typing import Any

from imagekit.digest import Digest
from imagekit.records import compared, is_record

#: Version of the encoding and of what the layers mean. A change is a new identity
#: for every image: it needs an *Identifiers* entry in the changelog.
VERSION = 1


def encode(domain: str, value: object) -> bytes:
    """Return the canonical bytes of *value* in *domain*.

    *domain* keeps apart values of different purposes that look alike.

    Raises:
        TypeError: *value* holds something that has no canonical form, such as a
            float, a dict or a set.
    """
    document = {"imagekit": VERSION, "domain": domain, "value": _plain(value)}
    text = json.dumps(
        document, sort_keys=True, ensure_ascii=True, separators=(",", ":")
    )
    return text.encode("ascii")


def fingerprint(domain: str, value: object) -> str:
    """Return the SHA-256 of the canonical bytes, as 64 hex digits."""
    return Digest.of(encode(domain, value)).hex


def _plain(value: object) -> Any:
    """Turn *value* into what JSON can hold without losing a distinction."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if is_record(value):
        return _record(value)
    raise TypeError(f"no canonical form for {type(value).__name__}: {value!r}")


def _record(value: Any) -> dict[str, Any]:
    """Return a dataclass as an object with its kind.

    Fields that are empty (None or an empty tuple) are left out, so that a field which
    is added later leaves the identities of old values alone. One field uses one of the
    two as its empty value, never both.
    """
    record: dict[str, Any] = {"kind": value.kind}
    for name in compared(value):
        content = getattr(value, name)
        if content is None or content == ():
            continue
        record[name] = _plain(content)
    return record
