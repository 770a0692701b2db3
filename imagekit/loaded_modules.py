"""Which of the loaded modules are the user's own code, and where their files are."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from imagekit.records import dataclass
from imagekit.task_errors import ModuleLoadError

_MAIN = "__main__"
_INSTALLED = frozenset({"site-packages", "dist-packages"})
#: Ours: images have their own.
_OURS = frozenset({"flyte", "imagekit", "imagekit_buildkit", "imagekit_oci"})
_ENDINGS = ("/__init__.py", ".py")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModule:
    """A module that is loaded from a file.

    Attributes:
        name: the name under which it is loaded; that of its spec for the program.
        file: absolute path.
        is_main: whether it is the program that is run.
    """

    name: str
    file: str
    is_main: bool = False

    def below(self, root: str) -> str | None:
        """Return the path relative to *root* with ``/``, or None outside of it."""
        return _inside(self.file, root) or _inside(
            _real_file(self.file), _real_folder(root)
        )

    @property
    def is_named_by_file(self) -> bool:
        """Whether an import finds the file by the module's name."""
        return self._folder_of(self.name) is not None

    @property
    def import_name(self) -> str:
        """The name under which it can be imported from :attr:`import_folder`."""
        if self.is_named_by_file:
            return self.name
        name = os.path.basename(self.file)
        if name == "__init__.py":
            return os.path.basename(os.path.dirname(self.file))
        return name.removesuffix(".py")

    @property
    def import_folder(self) -> str:
        """The folder that has to be on ``sys.path`` to import it."""
        found = self._folder_of(self.import_name)
        return os.path.dirname(self.file) if found is None else found

    @property
    def is_installed(self) -> bool:
        """Whether it came with Python or by an installer."""
        if _INSTALLED.intersection(self.file.split(os.sep)):
            return True
        library = os.path.dirname(os.path.abspath(os.__file__))
        return self.file.startswith((library + os.sep, _scripts()))

    @property
    def is_ours(self) -> bool:
        """Whether it is imagekit's own: ``python -m imagekit``, not the user's code."""
        return self.name.partition(".")[0] in _OURS

    def _folder_of(self, name: str) -> str | None:
        """Return the folder from which *name* is the file, or None."""
        if not name:
            return None
        inside = name.replace(".", "/")
        # An extension module has a tag of the interpreter before its suffix. A program
        # may have no suffix: no import finds that.
        stem, dot, tag = os.path.basename(self.file).partition(".")
        has_tag = dot and stem == name.rpartition(".")[2]
        for suffix in (*_ENDINGS, f"{dot}{tag}") if has_tag else _ENDINGS:
            if self.file.endswith(f"/{inside}{suffix}"):
                return self.file[: -len(f"/{inside}{suffix}")] or "/"
        return None


def loaded_module(name: str, module: ModuleType | None) -> LoadedModule | None:
    """Return what is known of a module, or None if it was loaded from no file."""
    if module is None:
        return None
    # Not by getattr(): a module that is loaded lazily must stay so.
    try:
        values: dict[str, Any] = object.__getattribute__(module, "__dict__")
    except AttributeError:  # some put things there that are no modules
        return None
    file = values.get("__file__")
    if not isinstance(file, str) or not os.path.isfile(file):
        return None
    if name == _MAIN:
        spec = values.get("__spec__")
        name = getattr(spec, "name", None) or _MAIN
        return LoadedModule(name=name, file=os.path.abspath(file), is_main=True)
    return LoadedModule(name=name, file=os.path.abspath(file))


def user_modules(
    root: str, modules: Mapping[str, ModuleType] | None = None
) -> tuple[LoadedModule, ...]:
    """Return the modules below *root* that nobody installed, sorted by name."""
    found = []
    environments: dict[str, bool] = {}
    # A copy: other threads may import meanwhile.
    for name, module in list((sys.modules if modules is None else modules).items()):
        if name.partition(".")[0] in _OURS or not isinstance(module, ModuleType):
            continue
        item = loaded_module(name, module)
        if item is None or item.is_ours:
            continue
        path = item.below(root)
        if path is not None and not _is_foreign(root, path, environments):
            found.append(item)
    return tuple(sorted(found, key=lambda item: (item.name, item.file)))


def module_of(source: Callable[..., Any] | Path | str, root: Path | str) -> str:
    """Return the name under which a task's module is imported where the bundle is.

    Args:
        source: the task's function, or its file.
        root: the bundle's root.

    Raises:
        ModuleLoadError: it was typed in, is outside of *root*, or its file has a name
            that can't be imported.
    """
    if callable(source):
        name = source.__module__
        found = loaded_module(name, sys.modules.get(name))
        if found is None:
            raise ModuleLoadError(
                f"{source.__qualname__!r} is in no file, so that it can't be loaded "
                "elsewhere",
                hint="write it into a .py file",
            )
    else:
        found = LoadedModule(name="", file=os.path.abspath(source))
    root = os.path.abspath(root)
    inside = found.below(root) is not None
    if found.is_named_by_file and found.name != _MAIN:
        if inside and not _is_below(found.import_folder, root):
            raise ModuleLoadError(
                f"the module {found.name!r} can't be imported from {root!r}, which is "
                "inside of its package",
                hint=f"init(root_dir={found.import_folder!r})",
            )
        return found.name
    if not inside:
        raise ModuleLoadError(
            f"wanted the code of tasks below {root!r}, found {found.file!r}",
            hint="name the folder of your code with init(root_dir=...)",
        )
    name = found.import_name
    why = None
    if not found.file.endswith(".py"):
        why = "is that of a file without '.py'"
    elif "." in name:
        why = "has a '.' in it"
    elif name in (*sys.stdlib_module_names, _MAIN):
        why = "is one of Python's own"
    if why is not None:
        raise ModuleLoadError(
            f"can't import {found.file!r} elsewhere: the module's name {name!r} {why}",
            hint="rename the file",
        )
    return name


def interpreter_folder(root: str) -> str | None:
    """Return the path of this Python's environment below *root*; None outside of it."""
    prefix = LoadedModule(name="", file=sys.prefix)
    return prefix.below(root)


def folder_below(folder: str, root: str) -> str | None:
    """Return the path of *folder* relative to *root*, or None outside of it.

    Either may be reached by a link that the other is not reached by.

    Args:
        folder: absolute path.
        root: likewise; ``.`` is the root itself.
    """
    if folder == root:
        return "."
    found = _inside(folder, root)
    if found is None:
        own, above = _real_folder(folder), _real_folder(root)
        found = "." if own == above else _inside(own, above)
    return found


def _is_foreign(root: str, path: str, environments: dict[str, bool]) -> bool:
    """Return whether *path* is installed, or in an environment, below *root*.

    The root itself may lie in a folder of an interpreter, such as ``/usr/src/app``.
    """
    parts = path.split("/")[:-1]
    if _INSTALLED.intersection(parts):
        return True
    library = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
    if os.path.join(root, path).startswith(library):
        return True
    folder = root
    for part in parts:
        folder = os.path.join(folder, part)
        if folder not in environments:
            environments[folder] = os.path.isfile(os.path.join(folder, "pyvenv.cfg"))
        if environments[folder]:
            return True
    return False


def _inside(file: str, folder: str) -> str | None:
    prefix = folder.rstrip(os.sep) + os.sep
    if not file.startswith(prefix):
        return None
    return file[len(prefix) :].replace(os.sep, "/")


@cache  # each run asks it of all modules; where one was loaded from stays so
def _real_file(file: str) -> str:
    if os.path.islink(file):
        return os.path.realpath(file)
    folder, name = os.path.split(file)
    return os.path.join(_real_folder(folder), name)


@cache
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


def _is_below(folder: str, root: str) -> bool:
    own, wanted = os.path.realpath(folder), os.path.realpath(root)
    return own == wanted or own.startswith(wanted.rstrip(os.sep) + os.sep)


def _scripts() -> str:
    """Return the folder of the programs that installers write."""
    return os.path.join(sys.prefix, "bin") + os.sep
