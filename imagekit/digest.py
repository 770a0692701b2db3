"""Content digests: the SHA-256 of bytes that exist."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Protocol

from imagekit.errors import InvalidDigestError
from imagekit.records import dataclass

_HEX = re.compile(r"[0-9a-f]{64}")


class Hash(Protocol):
    """What imagekit uses of a :mod:`hashlib` object."""

    def update(self, data: bytes, /) -> None:
        """Add *data*."""

    def hexdigest(self) -> str:
        """Return the digest so far."""


def sha256() -> Hash:
    """Return a new SHA-256, also on hosts in FIPS mode."""
    return hashlib.sha256(usedforsecurity=False)


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A digest as the OCI image spec writes it (descriptor.md, "Digests").

    >>> Digest.of(b"") == Digest.parse(str(Digest.of(b"")))
    True
    >>> Digest.of(b"").hex[:8]
    'e3b0c442'
    """

    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Return the digest that *text* names.

        Raises:
            InvalidDigestError: *text* is not ``sha256:`` and 64 hex digits.
        """
        algorithm, _, hexdigits = text.partition(":")
        if algorithm != "sha256" or not _HEX.fullmatch(hexdigits):
            raise InvalidDigestError(
                f"wanted a digest like 'sha256:' and 64 hex digits, found {text!r}"
            )
        return cls(hexdigits)

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """Return the digest of *data*."""
        return cls(hashlib.sha256(data, usedforsecurity=False).hexdigest())

    @classmethod
    def of_chunks(cls, chunks: Iterable[bytes]) -> Digest:
        """Return the digest of the concatenated *chunks*."""
        hasher = sha256()
        for chunk in chunks:
            hasher.update(chunk)
        return cls(hasher.hexdigest())

    def __str__(self) -> str:
        return f"sha256:{self.hex}"
