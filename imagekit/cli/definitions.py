"""Images from the user's file: a module with images or environments, or a uv script."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from imagekit.errors import DefinitionError, ImageKitError, SourceNotFoundError
from imagekit.image import Image
from imagekit.nearest import suggestion
from imagekit.records import dataclass

# Inline script metadata, "script" type (PEP 723).
_HEADER = re.compile(r"^# /// script\s*$", re.MULTILINE)
_OURS = ("imagekit", "flyte")
_PACKAGE = f"{Path(__file__).parent.parent}{os.sep}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedImage:
    """An image of the user's file.

    Attributes:
        name: what selects it: the environment's name, else the variable's.
        variable: the variable that holds it; also selects it.
    """

    name: str
    image: Image
    variable: str


def split_target(target: str) -> tuple[str, tuple[str, ...]]:
    """Return the file and the names of ``FILE`` or ``FILE:NAME``."""
    file, colon, name = target.rpartition(":")
    if not colon or Path(target).exists():
        return target, ()
    return file, (name,) if name else ()


def load_images(file: str, names: tuple[str, ...] = ()) -> tuple[NamedImage, ...]:
    """Return the images that *file* defines, in order of definition.

    Without *names* these are all, save those whose variable begins with ``_``; images
    that are equal count once.

    Raises:
        SourceNotFoundError: there is no such file.
        DefinitionError: it can't be run, defines no image, or none of a given name.
    """
    path = existing_file(file)
    if _is_script(path):
        found = [NamedImage(name=path.stem, image=_from_script(path), variable="")]
    else:
        found = list(_images_of(_run_module(path)))
    if names:
        return tuple(_named(name, found, file) for name in dict.fromkeys(names))
    images = {item.image: item for item in reversed(found) if item.variable[:1] != "_"}
    if not images:
        raise DefinitionError(
            f"{file!r} defines no image",
            hint="assign one to a variable: image = Image.from_debian_base()",
        )
    return tuple(item for item in found if images.get(item.image) is item)


def load_module(file: str) -> ModuleType:
    """Run *file*, and return it as a module; its folder stays on the search path.

    A file in a package is the package's module: it may import its neighbours with a
    dot.

    Raises:
        SourceNotFoundError: there is no such file.
        DefinitionError: it can't be run.
    """
    path = existing_file(file)
    # Tasks may import its neighbours when they run.
    sys.path.insert(0, str(path.parent))
    if not (path.parent / "__init__.py").is_file():
        return _run_module(path)
    name, folder = _place_in_package(path)
    sys.path.insert(0, str(folder))
    with _reported(path):
        module = importlib.import_module(name)
    # Another package of that name may have been there before.
    return module if module.__file__ == str(path) else _run_module(path)


def _place_in_package(path: Path) -> tuple[str, Path]:
    """Return the name of the module in a package, and the folder of the package."""
    parts = [] if path.stem == "__init__" else [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts), folder


def existing_file(file: str) -> Path:
    """Return the absolute path of *file*.

    Raises:
        SourceNotFoundError: there is no such file.
        DefinitionError: it is a folder.
    """
    # Lexical: a definition that is reached by a link lies where the link does.
    path = Path(os.path.abspath(file))
    if path.is_file():
        return path
    folder = path.parent
    if path.is_dir():
        raise DefinitionError(
            f"wanted a Python file, found the folder {file!r}",
            hint="name the file in it that defines the images",
        )
    near = [item.name for item in folder.glob("*.py")] if folder.is_dir() else []
    raise SourceNotFoundError(
        f"no file {file!r}", hint=suggestion(path.name, sorted(near)) if near else None
    )


def _is_script(path: Path) -> bool:
    """Return whether *path* is itself what an image is for, and defines none.

    A script with a PEP 723 header whose code imports imagekit defines its images, as a
    module does.
    """
    text = path.read_text("utf-8", errors="replace")
    return bool(_HEADER.search(text)) and not _imports_us(text)


def _imports_us(text: str) -> bool:
    import ast  # noqa: PLC0415  (only for scripts)

    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return False  # for the script's own interpreter to say
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                modules = [alias.name for alias in node.names]
            case ast.ImportFrom(module=str(module), level=0):
                modules = [module]
            case _:
                continue
        if any(module.partition(".")[0] in _OURS for module in modules):
            return True
    return False


def _from_script(path: Path) -> Image:
    """Return the image of a script, as though its first line defined it.

    The line runs under the script's name, so that the path is named relative to the
    script's folder (:class:`imagekit.origin.SourcePath`), wherever imagekit lies.
    """
    name = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-") or "script"
    line = f"image = Image.from_uv_script({path.name!r}, name={name!r})"
    scope: dict[str, Any] = {"__file__": str(path), "__name__": name, "Image": Image}
    exec(compile(line, str(path), "exec"), scope)  # noqa: S102  (our own line)
    image = scope["image"]
    assert isinstance(image, Image)
    return image


def _run_module(path: Path) -> ModuleType:
    name = path.stem if _is_free(path) else f"definitions_{path.stem}"
    loader = SourceFileLoader(name, str(path))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__imagekit_definitions__ = True  # type: ignore[attr-defined]  # our mark
    sys.modules[name] = module
    with _first_on_path(path.parent), _reported(path):
        loader.exec_module(module)
    return module


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Have errors say where in the user's file they come from."""
    # What the file prints is talk; stdout is for our data.
    with redirect_stdout(sys.stderr):
        try:
            yield
        except ImageKitError as error:
            raise error.at(_place(error, path)) from error.__cause__
        except (Exception, SystemExit) as error:
            raise _failed(error, path) from error


def _is_free(path: Path) -> bool:
    """Return whether no other module goes by the name of *path*."""
    name = path.stem
    if name in sys.modules:
        return getattr(sys.modules[name], "__imagekit_definitions__", False)
    if not name.isidentifier():
        return True
    spec = importlib.util.find_spec(name)
    return spec is None or spec.origin == str(path)


@contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    """Let the file import its neighbours, as ``python FILE`` does.

    Only while it runs: afterwards, a ``queue.py`` beside it must not be taken for the
    standard library's.
    """
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _images_of(module: ModuleType) -> Iterator[NamedImage]:
    for variable, value in list(vars(module).items()):
        if isinstance(value, Image):
            yield NamedImage(name=variable, image=value, variable=variable)
            continue
        if isinstance(value, type | ModuleType):
            continue
        image, name = getattr(value, "image", None), getattr(value, "name", None)
        if isinstance(image, Image) and isinstance(name, str):
            yield NamedImage(name=name, image=image, variable=variable)


def _named(name: str, found: list[NamedImage], file: str) -> NamedImage:
    for item in found:
        if name in (item.name, item.variable):
            return item
    known = dict.fromkeys(item.name for item in found)
    raise DefinitionError(
        f"no image or environment {name!r} in {file!r}",
        hint=suggestion(name, known)
        if known
        else "assign an image to a variable of that name",
    )


def _failed(error: BaseException, path: Path) -> DefinitionError:
    """Return an error with the part of the traceback that is the user's code."""
    import traceback  # noqa: PLC0415  (only for errors)

    if isinstance(error, SyntaxError):
        text = "".join(traceback.format_exception_only(error))
        place = f"{error.filename}:{error.lineno}"
    else:
        own = _from_file(error.__traceback__, str(path))
        text = "".join(traceback.format_exception(type(error), error, own))
        place = _place(error, path)
    hint = None
    if isinstance(error, ModuleNotFoundError):
        hint = (
            f"install it for {sys.executable}, which runs the file, or import it in "
            "the functions that need it"
        )
    fault = DefinitionError(
        f"{path.name} can't be run: {type(error).__name__}: {error}",
        hint=hint,
        origin=place,
    )
    fault.add_note(text)
    return fault


def _place(error: BaseException, path: Path) -> str:
    """Return the line of the user's code that was last under way."""
    folder = f"{path.parent}{os.sep}"
    place, step = str(path), _from_file(error.__traceback__, str(path))
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        foreign = file.startswith(_PACKAGE) or "site-packages" in file
        if file.startswith(folder) and not foreign:
            place = f"{file}:{step.tb_lineno}"
        step = step.tb_next
    return place


def _from_file(step: TracebackType | None, file: str) -> TracebackType | None:
    """Return the traceback from the first line in *file* on."""
    while step is not None and step.tb_frame.f_code.co_filename != file:
        step = step.tb_next
    return step
