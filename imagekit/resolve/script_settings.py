"""``[tool.uv]`` in a script's header, as options and indexes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagekit.resolve.indexes import Indexes
from imagekit.resolve.pins import folder_reference

if TYPE_CHECKING:
    from imagekit.python_inputs.script_header import ScriptHeader


def script_options(header: ScriptHeader) -> tuple[str, ...]:
    """Return the options of ``uv pip compile`` that the header sets."""
    settings = header.settings
    options: list[str] = []
    for name in ("exclude-newer", "prerelease", "resolution", "index-strategy"):
        if name in settings:
            options += [f"--{name}", str(settings[name])]
    for name, value in settings.get("exclude-newer-package", {}).items():
        options += ["--exclude-newer-package", f"{name}={value}"]
    for key, option in (
        ("no-binary-package", "--no-binary"),
        ("no-build-package", "--only-binary"),
    ):
        for name in settings.get(key, ()):
            options += [option, name]
    if settings.get("no-build"):
        options.append("--no-build")
    return tuple(options)


def script_indexes(header: ScriptHeader, folder: Path) -> Indexes:
    """Return the indexes that the header names; paths are relative to *folder*."""
    settings = header.settings
    default = settings.get("index-url")
    extra = list(settings.get("extra-index-url", ()))
    for index in settings.get("index", ()):
        if index.get("explicit"):
            continue  # for the dependencies that name it, and no other
        if index.get("default"):
            default = index["url"]
        else:
            name = index.get("name")
            extra.append(f"{name}={index['url']}" if name else index["url"])
    links = settings.get("find-links", ())
    return Indexes(
        default=default,
        extra=tuple(extra),
        find_links=tuple(
            item if "://" in item else folder_reference(str((folder / item).resolve()))
            for item in links
        ),
        no_index=bool(settings.get("no-index")),
    )


def script_document(header: ScriptHeader, folder: Path) -> str:
    """Return a pyproject.toml with the dependencies of the header and their sources.

    uv follows ``[tool.uv.sources]`` in such a file, but for a script it does not:
    there it would look for local projects in the index.
    """
    import tomlkit  # noqa: PLC0415  (slow, and only for scripts with sources)

    sources = {
        name: [_absolute(item, folder) for item in source]
        if isinstance(source, list)
        else _absolute(source, folder)
        for name, source in header.settings["sources"].items()
    }
    uv = {"sources": sources}
    if "index" in header.settings:
        uv["index"] = header.settings["index"]
    project = {
        "name": "imagekit-script",
        "version": "0",
        "dependencies": list(header.dependencies),
    }
    if header.requires_python is not None:
        project["requires-python"] = header.requires_python
    return tomlkit.dumps({"project": project, "tool": {"uv": uv}})


def _absolute(source: dict[str, Any], folder: Path) -> dict[str, Any]:
    if "path" not in source:
        return source
    path = os.path.normpath(folder / source["path"])
    return {**source, "path": path}
