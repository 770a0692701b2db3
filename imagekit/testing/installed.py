"""What installing a wheel leaves in an environment, worked out with ``zipfile`` alone.

This is the contract of ``docs/builders.md``, written a second time: from the wheel
specification, not from a builder.
"""

from __future__ import annotations

import configparser
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

from imagekit.plan import Distribution, Interpreter
from imagekit.testing.files import Node

_LAUNCHER = """\
#!{prefix}/bin/python
# -*- coding: utf-8 -*-
import sys
from {module} import {name}
if __name__ == "__main__":
    if sys.argv[0].endswith("-script.pyw"):
        sys.argv[0] = sys.argv[0][:-11]
    elif sys.argv[0].endswith(".exe"):
        sys.argv[0] = sys.argv[0][:-4]
    sys.exit({call}())
"""
_REFERENCE = re.compile(r"([\w.]+)\s*:\s*([\w.]+)")
_INSTALLERS_OWN = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """The files of a distribution in an environment.

    Attributes:
        site: site-packages, relative to the environment.
        info: its ``.dist-info`` folder, relative to site-packages.
        files: what has to be there, by path relative to the environment. ``RECORD`` and
            ``INSTALLER`` are among them, but their bytes are the installer's to choose.
    """

    site: str
    info: str
    files: dict[str, Node]

    @property
    def free(self) -> frozenset[str]:
        """The files whose bytes are free."""
        return frozenset(
            f"{self.site}/{self.info}/{name}" for name in ("INSTALLER", "RECORD")
        )


def library(interpreter: Interpreter) -> str:
    """Return the folder of the standard library, relative to the environment."""
    return f"lib/python{interpreter.version[0]}.{interpreter.version[1]}"


def environment(interpreter: Interpreter) -> dict[str, Node]:
    """Return the files and links of an empty environment, by relative path."""
    config = (
        f"home = {posixpath.dirname(interpreter.path)}\n"
        "include-system-site-packages = false\n"
        f"version = {interpreter.full_version}\n"
        f"version_info = {interpreter.full_version}\n"
    )
    major, minor = interpreter.version
    return {
        "bin/python": Node.link(interpreter.path),
        "bin/python3": Node.link("python"),
        f"bin/python{major}.{minor}": Node.link("python"),
        "lib64": Node.link("lib"),
        "pyvenv.cfg": Node.file(config.encode()),
    }


def installed(
    wheel: Path, distribution: Distribution, *, interpreter: Interpreter, prefix: str
) -> Installed:
    """Return what is installed of *wheel* into the environment at *prefix*."""
    site = f"{library(interpreter)}/site-packages"
    with ZipFile(wheel) as archive:
        members = {
            info.filename: (archive.read(info), bool(info.external_attr >> 16 & 0o111))
            for info in archive.infolist()
            if not info.is_dir()
        }
    info = next(n for n in members if n.endswith(".dist-info/WHEEL")).split("/")[0]
    data = info.removesuffix(".dist-info") + ".data"
    roots = {
        "purelib": site,
        "platlib": site,
        "data": "",
        "headers": f"include/site/{library(interpreter)[4:]}/{distribution.name}",
    }
    files: dict[str, Node] = {}
    for name, (content, executable) in members.items():
        top, _, rest = name.partition("/")
        if top == data:
            scheme, _, rest = rest.partition("/")
            if scheme == "scripts":
                files[f"bin/{rest}"] = _script(content, prefix)
            else:
                path = posixpath.join(roots[scheme], rest)
                files[path] = Node.file(content, executable=executable)
        elif top != info or rest not in _INSTALLERS_OWN:
            files[f"{site}/{name}"] = Node.file(content, executable=executable)
    points = members.get(f"{info}/entry_points.txt", (b"", False))[0]
    files |= _launchers(points.decode(), prefix)
    own = {"INSTALLER": b"", "RECORD": b""}
    if distribution.requested:
        own["REQUESTED"] = b""
    if distribution.direct_url is not None:
        own["direct_url.json"] = distribution.direct_url.encode()
    files |= {f"{site}/{info}/{name}": Node.file(text) for name, text in own.items()}
    return Installed(site=site, info=info, files=files)


def _script(content: bytes, prefix: str) -> Node:
    if content.startswith(b"#!python"):
        content = f"#!{prefix}/bin/python".encode() + content[len(b"#!python") :]
    return Node.file(content, executable=True)


def _launchers(text: str, prefix: str) -> dict[str, Node]:
    points = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    setattr(points, "optionxform", str)  # noqa: B010  (mypy takes it for a method)
    points.read_string(text)
    found = {}
    for section in ("console_scripts", "gui_scripts"):
        if not points.has_section(section):
            continue
        for name, value in points.items(section):
            match = _REFERENCE.match(value)
            assert match is not None, value
            module, call = match.groups()
            first = call.partition(".")[0]
            launcher = _LAUNCHER.format(
                prefix=prefix, module=module, name=first, call=call
            )
            found[f"bin/{name}"] = Node.file(launcher.encode(), executable=True)
    return found
