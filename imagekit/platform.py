"""Platforms that images are built for."""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

from imagekit.errors import InvalidPlatformError
from imagekit.records import dataclass

Architecture: TypeAlias = Literal["linux/amd64", "linux/arm64"]

#: OCI architecture to what wheels and uv call the machine.
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_ALIASES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """An operating system and architecture (OCI image-index, "platform").

    >>> Platform.parse("linux/aarch64")
    Platform(os='linux', architecture='arm64')
    >>> str(Platform.parse("linux/amd64"))
    'linux/amd64'
    """

    kind: ClassVar[str] = "platform"

    os: str
    architecture: str

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Return the platform that *text* names.

        Raises:
            InvalidPlatformError: *text* is not ``linux/amd64`` or ``linux/arm64``.
        """
        os, _, architecture = text.partition("/")
        architecture = _ALIASES.get(architecture, architecture)
        if architecture == "arm64/v8":
            architecture = "arm64"
        if os != "linux" or architecture not in _MACHINES:
            raise InvalidPlatformError(
                f"unknown platform {text!r} (known: linux/amd64, linux/arm64)",
                hint="write it as 'linux/amd64' or 'linux/arm64'",
            )
        return cls(os, architecture)

    @classmethod
    def host(cls) -> Platform:
        """Return the platform that containers on this machine have."""
        from platform import machine  # noqa: PLC0415  (the stdlib's, slow to import)

        return cls.parse(f"linux/{machine().lower()}")

    @property
    def machine(self) -> str:
        """The machine as wheel tags name it: ``x86_64`` or ``aarch64``."""
        return _MACHINES[self.architecture]

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}"
