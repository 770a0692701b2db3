"""The virtual environment before anything is in it: as files, or as a script."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Sequence

from imagekit import venv
from imagekit.plan import CreateVenv
from imagekit.sources import Entry, Tree
from imagekit_buildkit.recipe import ContextEntry, LinkEntry, TextEntry, TreeEntry


def venv_entries(step: CreateVenv, folder: str) -> Sequence[ContextEntry]:
    """Return the environment as files of the context, in *folder*."""
    site = f"{venv.library(step.interpreter)}/site-packages"
    folders = ["bin", "lib", posixpath.dirname(site), site]
    tree = Tree(entries=tuple(Entry(path=path, type="directory") for path in folders))
    return (
        TreeEntry(path=folder, tree=tree),
        TextEntry(
            path=f"{folder}/pyvenv.cfg", content=venv.configuration(step.interpreter)
        ),
        *(
            LinkEntry(path=f"{folder}/{path}", target=target)
            for path, target in venv.symlinks(step.interpreter).items()
        ),
    )


def venv_script(step: CreateVenv) -> str:
    """Return a shell script that makes the same files."""
    root = step.prefix
    site = f"{root}/{venv.library(step.interpreter)}/site-packages"
    lines = venv.configuration(step.interpreter).decode(errors="surrogateescape")
    texts = " ".join(map(shlex.quote, lines.splitlines()))
    return "".join(
        (
            f"set -eu\nmkdir -p {shlex.quote(f'{root}/bin')} {shlex.quote(site)}\n",
            *(
                f"ln -s {shlex.quote(target)} {shlex.quote(f'{root}/{path}')}\n"
                for path, target in venv.symlinks(step.interpreter).items()
            ),
            f"printf '%s\\n' {texts} > {shlex.quote(f'{root}/pyvenv.cfg')}\n",
        )
    )
