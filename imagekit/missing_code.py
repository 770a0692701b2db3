"""Says why a task in a container lacks a module or a file that is there outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagekit.bundle import CopyStyle

_MODULE = {
    "loaded_modules": "containers get the modules that are loaded when the run begins: "
    "import it at the top of a module, send all with copy_style='all', or add its "
    "package to the image",
    "all": "add its package to the image, e.g. with_pip_packages(...)",
    "none": "with copy_style='none' the image has to have all code: "
    "with_source_folder(...), in a folder of its PYTHONPATH",
}
_FILE = {
    "loaded_modules": "containers get modules, and no other files: send all with "
    "copy_style='all', or pass the file to the task as a File",
    "all": "containers get what is below the root folder, without what .dockerignore "
    "names, and start in it",
    "none": "with copy_style='none' containers get no files of this machine",
}


def note_missing(error: BaseException, copy_style: CopyStyle) -> None:
    """Add a note to what a task in a container raised, if it lacks code or data."""
    match error:
        case ModuleNotFoundError():
            error.add_note(f"imagekit: {_MODULE[copy_style]}")
        case FileNotFoundError(filename=str()):
            error.add_note(f"imagekit: {_FILE[copy_style]}")
        case _:
            pass
