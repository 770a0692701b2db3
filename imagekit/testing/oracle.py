"""What an image has to be, worked out from its plan and its base alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from imagekit.plan import (
    CopyTree,
    CreateVenv,
    Distribution,
    InstallDistributions,
    PlatformPlan,
    SetEnv,
    SetWorkdir,
)
from imagekit.testing.files import FileTree, Node
from imagekit.testing.installed import Installed, environment, installed, library


def expected_files(
    plan: PlatformPlan, base: FileTree, wheels: Mapping[str, Path]
) -> FileTree:
    """Return the files of the image that *plan* describes.

    Steps that execute leave no trace here: what they do is not known before.
    """
    tree = base.copy()
    for step in plan.steps:
        match step:
            case CopyTree():
                _copy(tree, step)
            case SetWorkdir():
                tree.make_folder(step.path)
            case CreateVenv():
                root = tree.make_folder(step.prefix)
                site = f"{root}/{library(step.interpreter)}/site-packages"
                tree.make_folder(site)
                _place(tree, root, environment(step.interpreter))
            case InstallDistributions():
                pass  # below: what a later step replaces leaves nothing
            case _:
                pass
    for item, root in installations(plan, wheels):
        _place(tree, tree.resolve(root), item.files)
    return tree


def installations(
    plan: PlatformPlan, wheels: Mapping[str, Path]
) -> list[tuple[Installed, str]]:
    """Return what is installed in the end, and in which environment."""
    found: dict[str, tuple[Distribution, InstallDistributions]] = {}
    for step in plan.steps:
        if isinstance(step, InstallDistributions):
            for name in step.removed:
                del found[name]
            found |= {item.name: (item, step) for item in step.distributions}
    return [
        (
            installed(
                wheels[item.sha256],
                item,
                interpreter=step.interpreter,
                prefix=step.prefix,
            ),
            step.prefix,
        )
        for item, step in found.values()
    ]


def expected_environment(plan: PlatformPlan) -> dict[str, str]:
    """Return the environment variables: the base's, with those of the steps."""
    found = dict(item.partition("=")[::2] for item in _runtime(plan).get("Env") or ())
    for step in plan.steps:
        if isinstance(step, SetEnv):
            found.update(step.variables)
    return found


def expected_workdir(plan: PlatformPlan) -> str:
    """Return the working directory: the last one that a step sets, or the base's."""
    paths = [step.path for step in plan.steps if isinstance(step, SetWorkdir)]
    return paths[-1] if paths else _runtime(plan).get("WorkingDir") or ""


def expected_runtime(plan: PlatformPlan) -> dict[str, Any]:
    """Return what else the config says, all of which is the base's."""
    runtime = {k: v for k, v in _runtime(plan).items() if v not in (None, "", {}, [])}
    return {k: v for k, v in runtime.items() if k not in ("Env", "WorkingDir")}


def _runtime(plan: PlatformPlan) -> dict[str, Any]:
    assert plan.base is not None
    runtime: dict[str, Any] = json.loads(plan.base.config).get("config") or {}
    return runtime


def _copy(tree: FileTree, step: CopyTree) -> None:
    root = tree.make_folder(step.destination)
    for entry in step.tree.entries:
        path = f"{root}/{entry.path}" if root else entry.path
        folder, _, name = path.rpartition("/")
        if entry.type == "directory":
            tree.make_folder(path)
            continue
        folder = tree.resolve(folder)
        target = f"{folder}/{name}" if folder else name
        if entry.type == "symlink":
            tree.put(target, Node.link(entry.target or ""))
            continue
        data = Path(entry.location).read_bytes()
        tree.put(target, Node.file(data, executable=entry.executable))


def _place(tree: FileTree, root: str, files: Mapping[str, Node]) -> None:
    for path, node in files.items():
        tree.put(f"{root}/{path}", node)


def without_bytes(tree: FileTree, paths: Iterable[str]) -> FileTree:
    """Return *tree*, the contents of some files left out of it."""
    changed = tree.copy()
    for path in paths:
        node = changed.nodes.get(path)
        if node is not None and node.type == "file":
            changed.nodes[path] = replace(node, content="", data=None)
    return changed
