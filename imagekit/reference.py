"""Image references: ``registry/repository:tag@digest``."""

from __future__ import annotations

import re

from imagekit.digest import Digest
from imagekit.errors import InvalidReferenceError
from imagekit.records import dataclass, replace

DOCKER_HUB = "docker.io"

# distribution-spec, "Pulling manifests": <name> and <reference>.
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
)


def check_repository(name: str) -> str:
    """Return *name*, or raise InvalidReferenceError if no repository can be so named.

    *name* may begin with a registry (``ghcr.io/team/app``).
    """
    registry, _, repository = name.partition("/")
    path = repository if repository and _looks_like_host(registry) else name
    if not _REPOSITORY.fullmatch(path) or len(path) > 255:  # noqa: PLR2004
        raise InvalidReferenceError(
            f"invalid image name {name!r}",
            hint="use lower-case letters and digits, separated by '.', '_', '-' or '/'",
        )
    return name


def check_tag(tag: str) -> str:
    """Return *tag*, or raise InvalidReferenceError if it can't be a tag."""
    if not _TAG.fullmatch(tag):
        raise InvalidReferenceError(
            f"invalid tag {tag!r}",
            hint="use at most 128 letters, digits, '_', '.' and '-', "
            "beginning with a letter, digit or '_'",
        )
    return tag


def check_registry(registry: str) -> str:
    """Return *registry*, or raise InvalidReferenceError if it can't be one.

    A registry may have a path behind the host (``ghcr.io/team``).
    """
    host, _, path = registry.partition("/")
    if not _HOST.fullmatch(host) or (path and not _REPOSITORY.fullmatch(path)):
        raise InvalidReferenceError(
            f"invalid registry {registry!r}",
            hint="write a host, an optional port and an optional path, "
            "like 'ghcr.io/team' or '127.0.0.1:5000'",
        )
    return registry


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an image is: registry, repository, and a tag or digest or both.

    Short names are Docker Hub's, as everywhere:

    >>> str(Reference.parse("python:3.11-slim"))
    'docker.io/library/python:3.11-slim'
    >>> Reference.parse("127.0.0.1:5000/app").registry
    '127.0.0.1:5000'
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Return the reference that *text* writes.

        Raises:
            InvalidReferenceError: *text* is not a reference.
        """
        rest, at, digest = text.partition("@")
        name, tag = rest, None
        head, colon, tail = rest.rpartition(":")
        if colon and "/" not in tail:
            name, tag = head, check_tag(tail)
        registry, slash, repository = name.partition("/")
        if not slash or not _looks_like_host(registry):
            registry, repository = DOCKER_HUB, name
        if registry in ("index.docker.io", "registry-1.docker.io"):
            registry = DOCKER_HUB
        if registry == DOCKER_HUB and "/" not in repository:
            repository = f"library/{repository}"
        if not _HOST.fullmatch(registry) or not _REPOSITORY.fullmatch(repository):
            raise InvalidReferenceError(
                f"invalid image reference {text!r}",
                hint="write it as [registry/]name[:tag][@sha256:digest]",
            )
        return cls(registry, repository, tag, Digest.parse(digest) if at else None)

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def target(self) -> str:
        """What a registry is asked for: the digest, else the tag, else ``latest``."""
        return str(self.digest) if self.digest else self.tag or "latest"

    def with_tag(self, tag: str | None) -> Reference:
        """Return this reference with another tag and no digest."""
        return replace(self, tag=tag, digest=None)

    def with_digest(self, digest: Digest) -> Reference:
        """Return this reference pinned to *digest*."""
        return replace(self, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


def _looks_like_host(text: str) -> bool:
    return "." in text or ":" in text or text == "localhost"
