"""Pins: what was resolved, in a form that records hold.

A pin names one version of one distribution: a wheel, or what one is built from.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias
from urllib.parse import quote

from imagekit.records import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of an index; *url* holds no login."""

    kind: ClassVar[str] = "file"

    filename: str
    url: str = field(compare=False)
    sha256: str
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceArchive:
    """A source distribution."""

    kind: ClassVar[str] = "archive"

    file: File
    subdirectory: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFolder:
    """A project on this machine; *digest* is that of its tree."""

    kind: ClassVar[str] = "folder"

    path: str = field(compare=False)
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceGit:
    """A commit of a repository."""

    kind: ClassVar[str] = "git"

    url: str
    commit: str
    subdirectory: str | None = None


Source: TypeAlias = SourceArchive | SourceFolder | SourceGit


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One distribution, pinned.

    Attributes:
        name: normalized name.
        version: version, or None where only a build will tell.
        wheel: the wheel to install; None where it is built from *source*.
        reference: what a requirement writes behind ``name @``, where the user named a
            URL or path; None for distributions of an index.
        direct_url: text of ``direct_url.json`` (PEP 610), or None.
        no_wheel: why *wheel* is None, for people.
    """

    name: str
    version: str | None
    wheel: File | None = None
    source: Source | None = None
    reference: str | None = None
    direct_url: str | None = None
    no_wheel: str = ""

    @property
    def choice(self) -> str:
        """What a change of which means that another thing is installed."""
        if self.wheel is not None:
            return f"{self.version} {self.wheel.sha256}"
        match self.source:
            case SourceArchive():
                return f"{self.version} {self.source.file.sha256}"
            case SourceFolder():
                return f"folder {self.source.digest}"
            case SourceGit():
                return f"git {self.source.commit} {self.source.subdirectory}"
            case None:
                return f"{self.version}"

    @property
    def requirement(self) -> str:
        """A requirement that only this pin satisfies."""
        if self.reference is not None:
            return f"{self.name} @ {self.reference}"
        return f"{self.name}=={self.version}"


def folder_reference(path: str) -> str:
    """Return the URL of a folder or file of this machine."""
    return f"file://{quote(path)}"


def pin_record(pin: Pin) -> dict[str, Any]:
    """Return *pin* as JSON."""
    record: dict[str, Any] = {"name": pin.name, "version": pin.version}
    if pin.wheel is not None:
        record["wheel"] = _file_record(pin.wheel)
    match pin.source:
        case SourceArchive(file=file, subdirectory=subdirectory):
            record["source"] = {
                "kind": "archive",
                "file": _file_record(file),
                "subdirectory": subdirectory,
            }
        case SourceFolder(path=path, digest=digest):
            record["source"] = {"kind": "folder", "path": path, "digest": digest}
        case SourceGit(url=url, commit=commit, subdirectory=subdirectory):
            record["source"] = {
                "kind": "git",
                "url": url,
                "commit": commit,
                "subdirectory": subdirectory,
            }
        case None:
            pass
    for name in ("reference", "direct_url", "no_wheel"):
        if getattr(pin, name):
            record[name] = getattr(pin, name)
    return record


def pin_from_record(record: dict[str, Any]) -> Pin:
    """Return the pin that *record* was made from."""
    wheel = record.get("wheel")
    return Pin(
        name=record["name"],
        version=record["version"],
        wheel=File(**wheel) if wheel else None,
        source=_source(record.get("source")),
        reference=record.get("reference"),
        direct_url=record.get("direct_url"),
        no_wheel=record.get("no_wheel", ""),
    )


def _source(record: dict[str, Any] | None) -> Source | None:
    if record is None:
        return None
    fields = {key: value for key, value in record.items() if key != "kind"}
    match record["kind"]:
        case "archive":
            return SourceArchive(**{**fields, "file": File(**fields["file"])})
        case "folder":
            return SourceFolder(**fields)
        case _:
            return SourceGit(**fields)


def _file_record(file: File) -> dict[str, Any]:
    return {
        "filename": file.filename,
        "url": file.url,
        "sha256": file.sha256,
        "size": file.size,
    }
