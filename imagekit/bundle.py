"""Code bundles: the user's code as a tree of files, which goes into images as a layer.

A bundle is made anew each time it is asked for, so that a long-lived process never runs
code that has been edited since. Its digest is made from paths, executable bits and
bytes: the same in every process and checkout.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias, assert_never

from imagekit import ignore, sources
from imagekit.errors import (
    DefinitionError,
    PlanError,
    SourceChangedError,
    SourceNotFoundError,
)
from imagekit.loaded_modules import (
    LoadedModule,
    folder_below,
    interpreter_folder,
    loaded_module,
    module_of,
    user_modules,
)
from imagekit.manifest_mark import without_manifests
from imagekit.records import dataclass
from imagekit.source_text import read_text
from imagekit.sources import Entry, Tree
from imagekit.task_errors import DeploymentError

if TYPE_CHECKING:
    from types import ModuleType

    from imagekit.stat_index import StatIndex

__all__ = [
    "Bundle",
    "CopyStyle",
    "bundle_root",
    "check_version",
    "code_bundle",
    "module_of",
]

CopyStyle: TypeAlias = Literal["loaded_modules", "all", "none"]
COPY_STYLES: tuple[CopyStyle, ...] = ("loaded_modules", "all", "none")

#: A folder with one of these is a project, whose parts import each other.
_PROJECT_MARKS = ("pyproject.toml", "imagekit.toml", "setup.py", "setup.cfg", ".git")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The user's code.

    Attributes:
        tree: its files; paths are relative to *root*.
        root: absolute path of the folder that they are from.
        import_paths: folders below the root, relative to it, that have to be on
            ``sys.path`` for the code to find its modules as it does here; ``.`` is
            the root itself.
        main_module: name under which the program's own file is imported; None if it
            is no part of the bundle.
    """

    kind: ClassVar[str] = "bundle"

    copy_style: CopyStyle
    root: str
    tree: Tree
    import_paths: tuple[str, ...]
    main_module: str | None

    @property
    def digest(self) -> str:
        """The version of the code, as 64 hex digits."""
        return self.tree.digest

    def copy_bundle_to(self, folder: Path | str) -> None:
        """Write the bundle's files into *folder*, over those of the same names.

        Raises:
            SourceChangedError: a file was edited after the bundle was made.
            PlanError: *folder* can't be written to.
        """
        place = Path(folder)
        try:
            place.mkdir(parents=True, exist_ok=True)
            for entry in self.tree.entries:
                _write(entry, place / entry.path)
        except OSError as error:
            raise PlanError(
                f"can't write the code bundle to {str(place)!r}: {error.strerror}",
                hint="name another folder with copy_bundle_to=",
            ) from error


def code_bundle(
    copy_style: CopyStyle,
    root: Path | str,
    *,
    modules: Mapping[str, ModuleType] | None = None,
    rules: ignore.IgnoreRules | None = None,
    index: StatIndex | None = None,
) -> Bundle:
    """Return the code below *root*.

    Args:
        copy_style: ``all``: the whole folder, but for what the default ignore patterns
            and its ``.dockerignore`` leave out, and manifests that were deployed;
            ``loaded_modules``: the files of the modules that are loaded now, without
            installed ones; ``none``: nothing.
        root: the folder that modules and files are looked for in.
        modules: the loaded modules; by default ``sys.modules``.
        rules: what ``all`` leaves out, instead of the ignore patterns.
        index: remembers hashes of files that have not changed since.

    Raises:
        PlanError: a file can't be read, or a link leaves the folder.
        DefinitionError: *copy_style* is none of the three, or the ignore file is
            malformed.
    """
    check_copy_style(copy_style)
    root = os.path.abspath(root)
    loaded = user_modules(root, modules)
    match copy_style:
        case "all":
            found = sources.walk(root, rules or _rules(root), index=index)
            tree = without_manifests(found)
        case "loaded_modules":
            tree = _tree_of(root, loaded)
        case "none":
            tree = Tree(entries=())
        case _:
            assert_never(copy_style)
    main = next((item for item in loaded if item.is_main), None)
    return Bundle(
        copy_style=copy_style,
        root=root,
        tree=tree,
        import_paths=_import_paths(root, loaded),
        main_module=main.import_name if main else None,
    )


def check_copy_style(copy_style: str) -> None:
    """Raise DefinitionError unless *copy_style* is one."""
    if copy_style not in COPY_STYLES:
        raise DefinitionError(
            f"wanted a copy_style of {', '.join(map(repr, COPY_STYLES))}, "
            f"found {copy_style!r}"
        )


def check_version(copy_style: CopyStyle, version: object) -> None:
    """Check that the code has a version, and that what is given can be one.

    Raises:
        DeploymentError: nothing is copied, and no version is given; or it is no text
            that people can read.
    """
    check_copy_style(copy_style)
    if version is None:
        if copy_style == "none":
            raise DeploymentError(
                "wanted a version for the code, since copy_style='none' copies none of "
                "it",
                hint="give version=..., or another copy_style",
            )
        return
    if not isinstance(version, str) or not version or not version.isprintable():
        raise DeploymentError(
            f"wanted a version that is a text of printable characters, found "
            f"{version!r}",
            hint="leave it out for one that is made from the code",
        )


def bundle_root(root_dir: Path | str | None = None) -> Path:
    """Return the folder that code bundles are made from.

    Args:
        root_dir: the folder that the user named. Without it, it is the project (the
            nearest folder upward with a ``pyproject.toml`` or the like) of the program
            that is run, or else that of the working directory; where there is no
            project, the program's folder, or else the working directory.

    Raises:
        SourceNotFoundError: *root_dir* is no folder.
    """
    if root_dir is not None:
        root = Path(os.path.abspath(root_dir))
        if not root.is_dir():
            raise SourceNotFoundError(
                f"wanted a folder as root_dir, found {str(root_dir)!r}",
                hint="give init() the folder of your code",
            )
        return root
    main = loaded_module("__main__", sys.modules["__main__"])
    own = main is not None and not main.is_installed and not main.is_ours
    return project_of(Path(main.import_folder) if main and own else Path.cwd())


def project_of(folder: Path) -> Path:
    """Return the nearest folder upward that is a project; else *folder* itself."""
    outermost = (Path(os.path.expanduser("~")), Path("/"))
    for above in (folder, *folder.parents):
        if above in outermost:
            break
        if any((above / mark).exists() for mark in _PROJECT_MARKS):
            return above
    return folder


def _rules(root: str) -> ignore.IgnoreRules:
    path = os.path.join(root, ".dockerignore")
    rules = (
        ignore.IgnoreRules.parse(read_text(path), name=path)
        if os.path.isfile(path)
        else ignore.DEFAULT
    )
    # The image has its own interpreter, whatever the folder of this one is called.
    own = interpreter_folder(root)
    if own is None:
        return rules
    escaped = "".join(f"\\{char}" if char in "*?[]\\!-" else char for char in own)
    return ignore.IgnoreRules((*rules.patterns, escaped))


def _tree_of(root: str, loaded: tuple[LoadedModule, ...]) -> Tree:
    """Return the files of modules, with the packages that they are in."""
    files: dict[str, str] = {}
    folders: set[str] = set()
    for module in loaded:
        path = module.below(root)
        assert path is not None
        files[path] = module.file
        while "/" in path:
            path = path.rpartition("/")[0]
            folders.add(path)
            init = os.path.join(root, path, "__init__.py")
            if os.path.isfile(init):
                files[f"{path}/__init__.py"] = init
    entries = [Entry(path=path, type="directory") for path in folders]
    for path, location in files.items():
        entries += sources.single_file(location, path).entries
    return Tree(entries=tuple(sorted(entries, key=_order)))


def _order(entry: Entry) -> bytes:
    return entry.path.encode("utf-8", "surrogateescape")


def _import_paths(root: str, loaded: tuple[LoadedModule, ...]) -> tuple[str, ...]:
    """Return the folders below *root* that modules are found in, in Python's order."""
    folders = {module.import_folder for module in loaded}
    wanted = {folder_below(folder, root) for folder in folders} - {None}
    found: dict[str, None] = {}
    for item in sys.path:
        path = folder_below(os.path.abspath(item), root)
        if path is not None and path in wanted:
            found[path] = None
    # What was on the path only while the modules were loaded.
    found |= dict.fromkeys(sorted(path for path in wanted if path is not None))
    found["."] = None
    return tuple(found)


def _write(entry: Entry, place: Path) -> None:
    match entry.type:
        case "directory":
            place.mkdir(exist_ok=True)
        case "symlink":
            assert entry.target is not None
            place.unlink(missing_ok=True)
            place.symlink_to(entry.target)
        case "file":
            data = _read(entry)
            place.unlink(missing_ok=True)
            place.write_bytes(data)
            place.chmod(0o755 if entry.executable else 0o644)
        case _:
            assert_never(entry.type)


def _read(entry: Entry) -> bytes:
    from imagekit.digest import Digest  # noqa: PLC0415  (only where files are written)

    try:
        data = Path(entry.location).read_bytes()
    except FileNotFoundError:
        data = None
    if data is None or Digest.of(data).hex != entry.sha256:
        raise SourceChangedError(
            f"{entry.location!r} was edited after the code bundle was made",
            hint="run again when nothing writes to the folder",
        )
    return data
