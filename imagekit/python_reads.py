"""What Python layers read from this machine: files and local projects, by digest."""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

from imagekit import ignore, sources
from imagekit.bases import script_header
from imagekit.layers import (
    PipPackages,
    PythonLayer,
    Requirements,
    UVProject,
    UVScript,
)
from imagekit.source_text import text_digest


def python_reads(layer: PythonLayer) -> tuple[tuple[str, str], ...]:
    """Return names and digests of what *layer* reads."""
    match layer:
        case PipPackages():
            return _read_packages(layer)
        case Requirements():
            return _read_requirements(layer)
        case UVProject():
            return _read_project(layer)
        case UVScript():
            header = script_header(layer.script)
            local = _digests(header.files, header.folders)
            return (("header", text_digest(header.text)), *local)
        case _:
            assert_never(layer)


def option_reads(layer: PythonLayer) -> tuple[tuple[str, str], ...]:
    """Return the files that ``extra_args`` name, such as constraints."""
    if not layer.options.extra_args:
        return ()
    from imagekit.python_inputs.install_args import (  # noqa: PLC0415
        parse_extra_args,
    )

    found = parse_extra_args(
        layer.options.extra_args,
        folder=layer.origin.folder,
        project=isinstance(layer, UVProject),
    )
    return _digests(found.files, ())


def _read_packages(layer: PipPackages) -> tuple[tuple[str, str], ...]:
    """Return local projects and archives; most packages are none."""
    suspects = [text for text in layer.packages if "/" in text or text[0] == "."]
    if not suspects:
        return ()
    from imagekit.python_inputs.local_path import local_requirement  # noqa: PLC0415

    folder = Path(layer.origin.folder)
    found = [
        (text, local)
        for text in suspects
        if (local := local_requirement(text, folder)) is not None
    ]
    return _digests(
        tuple((text, str(local.path)) for text, local in found if local.is_archive),
        tuple((text, str(local.path)) for text, local in found if not local.is_archive),
    )


def _read_requirements(layer: Requirements) -> tuple[tuple[str, str], ...]:
    from imagekit.python_inputs.requirements_file import (  # noqa: PLC0415
        read_requirements,
    )

    found = read_requirements(layer.file.location)
    return _digests(found.files, found.folders)


def _read_project(layer: UVProject) -> tuple[tuple[str, str], ...]:
    from imagekit.python_inputs.uv_project import read_project  # noqa: PLC0415

    lock = layer.uvlock.location if layer.uvlock else None
    found = read_project(layer.pyproject.location, lock, layer.mode)
    return _digests(found.files, found.folders)


def _digests(
    files: tuple[tuple[str, str], ...], folders: tuple[tuple[str, str], ...]
) -> tuple[tuple[str, str], ...]:
    reads = [
        (name, sources.single_file(location, "file").entries[0].sha256 or "")
        for name, location in files
    ]
    for name, location in folders:
        tree = sources.walk(location, ignore.DEFAULT)
        reads.append((f"{name}/", tree.digest))
    return tuple(sorted(reads))
