"""Lock files (PEP 751) as uv writes them, to pins for one target."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from imagekit.errors import HashMismatchError, NoWheelError, ResolutionError
from imagekit.records import dataclass, field
from imagekit.resolve.credentials import without_login
from imagekit.resolve.pins import (
    File,
    Pin,
    SourceArchive,
    SourceFolder,
    SourceGit,
    folder_reference,
)
from imagekit.resolve.target import Target
from imagekit.resolve.wheel_choice import WheelName, best_wheel

_SHOWN_WHEELS = 6
_SHOWN_HASHES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What decides between the files of a distribution.

    Attributes:
        folder: where relative paths in the lock start.
        tree_digest: gives the digest of a project's folder.
        hashes: by name, ``sha256:…`` of the files that may be installed.
        require_hashes: whether every distribution needs such hashes.
        no_binary: names whose wheels may not be used; ``:all:`` for all.
    """

    target: Target
    folder: Path
    tree_digest: Callable[[str], str]
    hashes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    require_hashes: bool = False
    no_binary: tuple[str, ...] = ()


def pins_from_lock(document: dict[str, Any], selection: Selection) -> dict[str, Pin]:
    """Return the pins of a lock by name, for the target.

    Raises:
        NoWheelError: a distribution has no file that the target can use.
        HashMismatchError: none of its files has a hash that was asked for.
        ResolutionError: the lock can't be understood, or has hashes missing.
    """
    markers = _Markers(selection.target)
    pins: dict[str, Pin] = {}
    for package in document.get("packages", ()):
        if not markers.allow(package.get("marker")):
            continue
        pin = _pin(package, selection)
        if pin.name in pins:
            raise ResolutionError(
                f"the lock has two versions of {pin.name!r} for "
                f"{selection.target.identity}"
            )
        pins[pin.name] = pin
    return pins


def _pin(package: dict[str, Any], selection: Selection) -> Pin:
    name, version = package["name"], package.get("version")
    if "directory" in package:
        path = str((selection.folder / package["directory"]["path"]).resolve())
        return Pin(
            name=name,
            version=version,
            source=SourceFolder(path=path, digest=selection.tree_digest(path)),
            reference=folder_reference(path),
        )
    if "vcs" in package:
        return _git_pin(name, version, package["vcs"])
    if "archive" in package:
        return _archive_pin(name, version, package["archive"], selection)
    return _index_pin(name, version, package, selection)


def _listed(hashes: list[str]) -> str:
    """Return some of *hashes*; an index may offer a hundred files."""
    more = (
        f" and {len(hashes) - _SHOWN_HASHES} more"
        if len(hashes) > _SHOWN_HASHES
        else ""
    )
    return ", ".join(map(repr, hashes[:_SHOWN_HASHES])) + more


def _index_pin(
    name: str, version: str | None, package: dict[str, Any], selection: Selection
) -> Pin:
    wheels = [_file(item, selection.folder) for item in package.get("wheels", ())]
    sdist = _file(package["sdist"], selection.folder) if "sdist" in package else None
    title = f"{name} {version}"
    allowed = _allowed(name, title, selection)
    if allowed is not None:
        offered = [*wheels, *([sdist] if sdist else [])]
        wheels = [file for file in wheels if file.sha256 in allowed]
        sdist = sdist if sdist and sdist.sha256 in allowed else None
        if offered and not wheels and sdist is None:
            wanted, found = sorted(allowed), sorted(file.sha256 for file in offered)
            raise HashMismatchError(
                f"no file of {title} has a hash that the requirements list: wanted "
                f"sha256 {_listed(wanted)}, found {_listed(found)}",
                hint=f"update the hashes of {name!r}, for example with "
                "'uv pip compile --generate-hashes'",
            )
    if {name, ":all:"} & set(selection.no_binary):
        wheels = []
    by_name = {file.filename: file for file in wheels}
    chosen = best_wheel(by_name, selection.target)
    if chosen is None and sdist is None:
        raise NoWheelError(
            f"{title} has no wheel for {selection.target.identity} and no source "
            f"distribution{_found(by_name)}",
            hint=f"ask for another version of {name!r}, or another Python or base",
        )
    return Pin(
        name=name,
        version=version,
        wheel=by_name[chosen] if chosen else None,
        source=SourceArchive(file=sdist) if sdist and not chosen else None,
        no_wheel="" if chosen else f"no wheel fits{_found(by_name)}",
    )


def _archive_pin(
    name: str, version: str | None, archive: dict[str, Any], selection: Selection
) -> Pin:
    file = _file(archive, selection.folder)
    subdirectory = archive.get("subdirectory")
    allowed = _allowed(name, name, selection)
    if allowed is not None and file.sha256 not in allowed:
        raise HashMismatchError(
            f"{file.filename!r} has sha256 {file.sha256!r}, which the requirements do "
            "not list",
            hint=f"update the hashes of {name!r}",
        )
    direct_url = None
    if not file.url.startswith("file:"):
        hashes = {"hashes": {"sha256": file.sha256}}
        direct_url = _direct_url(file.url, subdirectory, archive_info=hashes)
    reference = file.url + (f"#subdirectory={subdirectory}" if subdirectory else "")
    if not file.filename.endswith(".whl"):
        source = SourceArchive(file=file, subdirectory=subdirectory)
        return Pin(
            name=name,
            version=version,
            source=source,
            reference=reference,
            direct_url=direct_url,
            no_wheel="it is a source distribution",
        )
    if best_wheel((file.filename,), selection.target) is None:
        raise NoWheelError(
            f"the wheel {file.filename!r} is not for {selection.target.identity}",
            hint="name a wheel for the image's platform and Python",
        )
    wheel_name = WheelName.parse(file.filename)
    return Pin(
        name=name,
        version=version or (wheel_name.version if wheel_name else None),
        wheel=file,
        reference=reference,
        direct_url=direct_url,
    )


def _git_pin(name: str, version: str | None, vcs: dict[str, Any]) -> Pin:
    if vcs.get("type") != "git":
        raise ResolutionError(
            f"{name!r} comes from {vcs.get('type')!r}, and only git is supported"
        )
    url = without_login(vcs.get("url") or folder_reference(vcs["path"]))
    commit, subdirectory = vcs["commit-id"], vcs.get("subdirectory")
    info = {"vcs": "git", "commit_id": commit}
    if "requested-revision" in vcs:
        info["requested_revision"] = vcs["requested-revision"]
    suffix = f"#subdirectory={subdirectory}" if subdirectory else ""
    local = url.startswith("file:")
    return Pin(
        name=name,
        version=version,
        source=SourceGit(url=url, commit=commit, subdirectory=subdirectory),
        reference=f"git+{url}@{commit}{suffix}",
        # A path of this machine has no business in an image.
        direct_url=None if local else _direct_url(url, subdirectory, vcs_info=info),
        no_wheel="it comes from a repository",
    )


def _direct_url(url: str, subdirectory: str | None, **info: object) -> str:
    document = {"url": url, **info}
    if subdirectory:
        document["subdirectory"] = subdirectory
    return json.dumps(document, sort_keys=True)


def _file(entry: dict[str, Any], folder: Path) -> File:
    hashes = entry.get("hashes", {})
    location = entry.get("url")
    if location is None:
        location = folder_reference(str((folder / entry["path"]).resolve()))
    url = without_login(location).partition("#")[0]
    filename = entry.get("name") or unquote(posixpath.basename(urlsplit(url).path))
    if "sha256" not in hashes:
        raise ResolutionError(
            f"the index gives no sha256 for {filename!r} (found: "
            f"{', '.join(hashes) or 'none'})",
            hint="use an index that does: nothing is installed unverified",
        )
    return File(
        filename=filename, url=url, sha256=hashes["sha256"], size=entry.get("size")
    )


def _allowed(name: str, title: str, selection: Selection) -> set[str] | None:
    listed = selection.hashes.get(name, ())
    if not listed:
        if selection.require_hashes:
            raise HashMismatchError(
                f"hashes are required, and the requirements list none for {title}",
                hint=f"add {name!r} with its hashes, for example with "
                "'uv pip compile --generate-hashes'",
            )
        return None
    found = {item[len("sha256:") :] for item in listed if item.startswith("sha256:")}
    if not found:
        raise ResolutionError(
            f"the requirements list no sha256 for {title}",
            hint="add one with 'uv pip compile --generate-hashes'",
        )
    return found


def _found(filenames: Mapping[str, File]) -> str:
    names = sorted(filenames)
    if not names:
        return ""
    more = (
        f" and {len(names) - _SHOWN_WHEELS} more" if len(names) > _SHOWN_WHEELS else ""
    )
    return f" (there are {', '.join(names[:_SHOWN_WHEELS])}{more})"


class _Markers:
    """Evaluates markers for the target; packaging is imported for the first one."""

    def __init__(self, target: Target) -> None:
        version = target.interpreter.full_version
        if version.count(".") == 1:
            version += ".0"
        self._environment = {
            "implementation_name": "cpython",
            "implementation_version": version,
            "os_name": "posix",
            "platform_machine": target.platform.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": version,
            "python_version": target.minor,
            "sys_platform": "linux",
            "extra": "",
        }

    def allow(self, marker: str | None) -> bool:
        if marker is None:
            return True
        from packaging.markers import InvalidMarker, Marker  # noqa: PLC0415  (slow)

        try:
            return Marker(marker).evaluate(self._environment)
        except InvalidMarker as error:
            raise ResolutionError(
                f"the lock has an invalid marker: {marker!r}"
            ) from error
