"""What imagekit has to know of a base image: its Python, C library and links."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from imagekit.plan import Interpreter, Libc
from imagekit.records import dataclass

#: Number of the record's form; others are ignored and made anew.
_FORM = 1

_MERGED = (("/bin", "usr/bin"), ("/lib", "usr/lib"), ("/sbin", "usr/sbin"))
_RUN = (("/var/lock", "/run/lock"), ("/var/run", "/run"))
_DEBIAN_LINKS = (*_MERGED, *_RUN)

# Release of the distribution to its C library and links. A release never changes them;
# Debian's images have a merged /usr since bookworm, Alpine's not by 3.22.
_RELEASES: Mapping[str, tuple[Libc, tuple[tuple[str, str], ...]]] = {
    "bullseye": (Libc(name="glibc", version=(2, 31)), _RUN),
    "bookworm": (Libc(name="glibc", version=(2, 36)), _DEBIAN_LINKS),
    "trixie": (Libc(name="glibc", version=(2, 41)), _DEBIAN_LINKS),
    "alpine3.19": (Libc(name="musl", version=(1, 2)), _RUN),
    "alpine3.20": (Libc(name="musl", version=(1, 2)), _RUN),
    "alpine3.21": (Libc(name="musl", version=(1, 2)), _RUN),
    "alpine3.22": (Libc(name="musl", version=(1, 2)), _RUN),
}
#: Where amd64 has its dynamic loader, on glibc with a merged /usr.
_LIB64 = ("/lib64", "usr/lib64")

_OFFICIAL = "docker.io/library/python"
_DEBIAN_STEP = re.compile(r"debian\.sh .*'([a-z]+)'")
_ALPINE_STEP = re.compile(r"alpine-minirootfs-(\d+\.\d+)")
_VERSION = re.compile(r"(3)\.(\d+)\.\d+\S*")


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseFacts:
    """What was found in the layers of a base.

    Attributes:
        interpreters: its Pythons, in the order in which PATH finds them.
        libc: its C library; None where it has none that is known.
        links: symbolic links that stand for folders, in the top two levels, sorted.
        has_venv: whether ``/opt/venv`` is a virtual environment already.
    """

    interpreters: tuple[Interpreter, ...]
    libc: Libc | None
    links: tuple[tuple[str, str], ...]
    has_venv: bool = False

    def to_record(self) -> dict[str, Any]:
        """Return the facts as a record of the store."""
        return {
            "form": _FORM,
            "interpreters": [
                [item.path, list(item.version), item.full_version]
                for item in self.interpreters
            ],
            "libc": [self.libc.name, *self.libc.version] if self.libc else None,
            "links": [list(link) for link in self.links],
            "has_venv": self.has_venv,
        }

    @classmethod
    def from_record(cls, record: Any) -> BaseFacts | None:
        """Return the facts of a record, or None where it is of another form."""
        if not isinstance(record, dict) or record.get("form") != _FORM:
            return None
        libc = record["libc"]
        return cls(
            interpreters=tuple(
                Interpreter(path=path, version=(major, minor), full_version=full)
                for path, (major, minor), full in record["interpreters"]
            ),
            libc=Libc(name=libc[0], version=(libc[1], libc[2])) if libc else None,
            links=tuple((path, target) for path, target in record["links"]),
            has_venv=record["has_venv"],
        )


def official_facts(
    name: str,
    tag: str | None,
    *,
    architecture: str,
    env: Mapping[str, str],
    history: Sequence[str],
) -> BaseFacts | None:
    """Return the facts of an official Python image, from its config alone.

    What the config says is trusted for Docker Hub's own images only: an image that was
    built on one inherits the variables, and may have changed what they tell.

    Args:
        name: registry and repository.
        tag: the tag that was asked for.
        architecture: of the image.
        env: environment variables of its config.
        history: how its layers were made.
    """
    version = _VERSION.fullmatch(env.get("PYTHON_VERSION", ""))
    first = env.get("PATH", "").partition(":")[0]
    if name != _OFFICIAL or version is None or first != "/usr/local/bin":
        return None
    release = _release(tag, history)
    if release is None or release not in _RELEASES:
        return None
    libc, links = _RELEASES[release]
    if _MERGED[0] in links and architecture == "amd64":
        links = (*links, _LIB64)
    minor = (int(version[1]), int(version[2]))
    interpreter = Interpreter(
        path=f"/usr/local/bin/python{minor[0]}.{minor[1]}",
        version=minor,
        full_version=version[0],
    )
    return BaseFacts(interpreters=(interpreter,), libc=libc, links=tuple(sorted(links)))


def _release(tag: str | None, history: Sequence[str]) -> str | None:
    """Return ``bookworm`` or ``alpine3.20``; the bytes' own history goes first."""
    for step in history:
        if found := _DEBIAN_STEP.search(step):
            return found[1]
        if found := _ALPINE_STEP.search(step):
            return f"alpine{found[1]}"
    words = (tag or "").split("-")
    return next((word for word in reversed(words) if word in _RELEASES), None)
