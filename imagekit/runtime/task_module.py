"""Loads the module that a task is in, and finds the task."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from imagekit import task_environment
from imagekit.task import TaskTemplate
from imagekit.task_errors import ModuleLoadError

_SUFFIX = ".py"


def load_module(module: str, code: str, paths: Sequence[str] = ()) -> ModuleType:
    """Load *module*, and return it.

    A path of a file is loaded as a script that another module imports: under the
    script's own name and as ``__main__``, though what it does if ``__name__`` is
    ``"__main__"`` is not done. Subprocesses that :mod:`multiprocessing` starts then
    find it, too.

    Args:
        module: name of a module, or the path of a ``.py`` file below *code*.
        code: folder that modules are looked for in first; may be empty.
        paths: folders that come before it.

    Raises:
        ModuleLoadError: there is no such module, or it can't be loaded.
    """
    wanted = [path for path in (*paths, code) if path]
    sys.path[:0] = [path for path in dict.fromkeys(wanted) if path not in sys.path]
    try:
        if module.endswith(_SUFFIX):
            return _script(os.path.join(code, module))
        return importlib.import_module(module)
    except ModuleLoadError:
        raise
    except BaseException as error:
        raise ModuleLoadError(
            f"can't load {module!r} in the container: {type(error).__name__}: {error}",
            hint=_hint(error),
        ) from error


def find_task(name: str) -> TaskTemplate[..., Any]:
    """Return the task of a full name that was loaded.

    Raises:
        ModuleLoadError: there is none.
    """
    task = task_environment.find_task(name)
    if task is None:
        raise ModuleLoadError(
            f"the code in the container has no task {name!r}",
            hint="define the task where its module is imported, not only in "
            "if __name__ == '__main__'",
        )
    return task


def _script(path: str) -> ModuleType:
    name = os.path.basename(path).removesuffix(_SUFFIX)
    if name in sys.modules:
        return sys.modules[name]
    folder = os.path.dirname(path)
    if folder and folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not os.path.isfile(path):
        raise ModuleLoadError(
            f"wanted the script {path!r} in the container, found no such file",
            hint="with copy_style='none' the code has to be in the image already",
        )
    module = importlib.util.module_from_spec(spec)
    before = sys.modules["__main__"]
    sys.modules[name] = sys.modules["__main__"] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        sys.modules["__main__"] = before
        raise
    return module


def _hint(error: BaseException) -> str | None:
    if isinstance(error, ModuleNotFoundError):
        return (
            f"add what has the module {error.name!r} to the image, e.g. "
            "with_pip_packages(...), or the file to the code: copy_style='all'"
        )
    return None
