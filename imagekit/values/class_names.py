"""Classes by name: ``module:qualname``.

A name comes with a document, maybe from a container: it is looked up among what is
loaded here, and never makes Python import a module.

The main module goes by the name that others would import it by, so that a script and
what imports it, in a container say, mean the same.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from imagekit.values.misfit import Misfit

_MAIN = "__main__"


def class_name(of: type, renamed: Mapping[str, str]) -> str:
    """Return the name by which :func:`find_class` finds *of*.

    Args:
        of: the class.
        renamed: modules of this process, and what to call them.
    """
    module = of.__module__
    if module not in renamed:
        module = common_name(module)
    return f"{renamed.get(module, module)}:{of.__qualname__}"


def common_name(module: str) -> str:
    """Return what names of classes call *module*, whether it is the main one or not."""
    return (_main_name() or module) if module == _MAIN else module


def find_class(name: str, renamed: Mapping[str, str]) -> type | None:
    """Return the class of that name; None where none is loaded.

    Args:
        name: as :func:`class_name` makes it.
        renamed: modules of other processes, and what they are called here.
    """
    module, _, qualname = name.partition(":")
    module = renamed.get(module, module)
    if module not in sys.modules and module == _main_name():
        module = _MAIN
    found: object = sys.modules.get(module)
    for part in qualname.split("."):
        # Not getattr: it may run a module's __getattr__, which may import.
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
    return found if isinstance(found, type) else None


def findable(of: type) -> None:
    """Check that the name of *of* leads to it.

    Raises:
        Misfit: it does not, as for a class made in a function.
    """
    if find_class(class_name(of, {}), {}) is not of:
        raise Misfit(
            f"class {of.__qualname__} can't be found by its name",
            hint="define it at the top of a module",
        )


def _main_name() -> str | None:
    """Return what others would import the main module as; None if they have."""
    main = sys.modules.get(_MAIN)
    spec = getattr(main, "__spec__", None)
    if spec is not None:  # python -m
        name: str = spec.name
    else:
        file = getattr(main, "__file__", None)
        if file is None:
            return None
        name = os.path.basename(file).removesuffix(".py")
    return None if name in sys.modules else name
