"""Scripts of a distribution: what entry points become, and which Python runs them.

The texts are those that uv writes (and pip, and distlib before it), so that an image
holds the same files as an environment that uv made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from imagekit.errors import BuildFailedError

#: What a script in a wheel begins with if its Python is to be put in (wheel spec,
#: "Recommended installer features").
PLACEHOLDER = b"#!python"

# execve(2): Linux reads no more of the first line.
_LONGEST_SHEBANG = 127
_REFERENCE = re.compile(
    r"(?P<module>[\w.-]+)\s*:\s*(?P<function>[\w.-]+)(?:\s*\[[^\]]+\])?"
)
_PIP_OF_A_VERSION = re.compile(r"pip3\.[0-9]+")
_LAUNCHER = """\
{shebang}
# -*- coding: utf-8 -*-
import sys
from {module} import {name}
if __name__ == "__main__":
    if sys.argv[0].endswith("-script.pyw"):
        sys.argv[0] = sys.argv[0][:-11]
    elif sys.argv[0].endswith(".exe"):
        sys.argv[0] = sys.argv[0][:-4]
    sys.exit({function}())
"""


class Script(NamedTuple):
    """A script that calls a function (entry points specification)."""

    name: str
    module: str
    function: str

    def launcher(self, python: str) -> bytes:
        """Return the script's text, run by the Python at the path *python*."""
        return _LAUNCHER.format(
            shebang=shebang(python),
            module=self.module,
            name=self.function.partition(".")[0],
            function=self.function,
        ).encode("utf-8", "surrogateescape")


def shebang(python: str) -> str:
    """Return the first line of a script, without its end.

    A path that the kernel can't take there is left to a shell: to sh, the next lines
    are a command; to Python, a string.
    """
    if len(f"#!{python}\n".encode()) <= _LONGEST_SHEBANG and " " not in python:
        return f"#!{python}"
    quoted = python.replace("'", "'\"'\"'")
    return f"#!/bin/sh\n'''exec' '{quoted}' \"$0\" \"$@\"\n' '''"


def parse(text: str, *, filename: str, minor: int) -> tuple[Script, ...]:
    """Return the scripts in *text*, an ``entry_points.txt``, sorted by name.

    Extras play no part, as the specification advises. Of pip's scripts with a version
    in the name, the one for this *minor* version of Python is made, as uv and pip do.

    Raises:
        BuildFailedError: *text* can't be read, or a script's name is no file name.
    """
    from configparser import ConfigParser, Error  # noqa: PLC0415  (slow to import)

    class Sections(ConfigParser):
        def optionxform(self, optionstr: str) -> str:  # names keep their case
            return optionstr

    sections = Sections(
        delimiters=("=",), strict=False, interpolation=None, empty_lines_in_values=False
    )
    try:
        sections.read_string(text)
    except Error as error:
        raise BuildFailedError(
            f"{filename}: entry_points.txt can't be read: {error}", hint=_HINT
        ) from error
    scripts = {
        script.name: script
        for section in ("gui_scripts", "console_scripts")
        if sections.has_section(section)
        for script in _scripts(dict(sections.items(section)), filename)
    }
    scripts = {
        name: script
        for name, script in scripts.items()
        if not _PIP_OF_A_VERSION.fullmatch(name)
    }
    if "pip3" in scripts:
        name = f"pip3.{minor}"
        scripts[name] = scripts["pip3"]._replace(name=name)
    return tuple(scripts[name] for name in sorted(scripts))


_HINT = "the wheel was made wrongly: pin another version of the distribution"


def _scripts(section: dict[str, str], filename: str) -> Iterator[Script]:
    for name, value in section.items():
        match = _REFERENCE.fullmatch(value.strip())
        if match is None:
            raise BuildFailedError(
                f"{filename}: script {name!r} wants 'module:function', found {value!r}",
                hint=_HINT,
            )
        if name in (".", "..") or re.search(r"[/\\\0]", name):
            raise BuildFailedError(
                f"{filename}: script {name!r} has a name that is no file name",
                hint=_HINT,
            )
        yield Script(name, match["module"], match["function"])
