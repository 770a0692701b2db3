"""Requirements that name files and folders of this machine."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from imagekit.records import dataclass

#: ``name [extras] @ target``, the direct references of PEP 508.
_DIRECT = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*\s*(?:\[[^\]]*\])?)\s*@\s*(?P<target>\S.*)"
)
_EXTRAS = re.compile(r"(?P<path>.*?)(?P<extras>\[[A-Za-z0-9._, -]*\])?$")
_MARKER = re.compile(r"\s+;|;\s+")
_ARCHIVES = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRequirement:
    """A requirement that is a file or folder of this machine.

    Attributes:
        text: the requirement, with the full path as ``file://`` URL.
        path: what it names.
    """

    text: str
    path: Path

    @property
    def is_archive(self) -> bool:
        """Whether it names a wheel or source archive, rather than a project."""
        return self.path.name.lower().endswith(_ARCHIVES)


def local_requirement(text: str, folder: Path) -> LocalRequirement | None:
    """Return what *text* names relative to *folder*; None if nothing local."""
    marker = _MARKER.search(text)
    subject, rest = (
        (text[: marker.start()], " ; " + text[marker.end() :].strip())
        if marker
        else (text, "")
    )
    direct = _DIRECT.fullmatch(subject.strip())
    target = direct["target"].strip() if direct else subject.strip()
    parts = _EXTRAS.fullmatch(target)
    assert parts is not None
    path = _local_path(parts["path"], folder, named=direct is not None)
    if path is None:
        return None
    url = f"file://{quote(str(path))}"
    extras = parts["extras"] or ""
    requirement = f"{direct['name'].strip()} @ {url}" if direct else f"{url}{extras}"
    return LocalRequirement(text=requirement + rest, path=path)


def _local_path(target: str, folder: Path, *, named: bool) -> Path | None:
    if target.startswith("file:"):
        bare = target.partition("#")[0]
        split = urlsplit(bare)
        target = unquote(split.path if split.netloc else bare[len("file:") :])
        target = target.removeprefix("//")
    elif (
        "://" in target
        or target.startswith(("git+", "hg+", "svn+", "bzr+"))
        or not (
            named
            or target.startswith((".", "/"))
            or os.sep in target
            or target.lower().endswith(_ARCHIVES)
        )
    ):
        return None
    return Path(os.path.normpath(folder / target))
