"""The facts of a base image, found by reading its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from imagekit.oci.decompress import decompressed
from imagekit.plan import Interpreter, Libc
from imagekit.platform import Platform
from imagekit.records import dataclass
from imagekit.resolve.base_facts import BaseFacts
from imagekit.resolve.base_tree import PROGRAM, Node, Tree

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LINK_DEPTH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerStream:
    """A layer that can be read.

    Attributes:
        open: begins to give the bytes of the blob, verified at the end.
    """

    media_type: str
    open: Callable[[], Iterator[bytes]]


def scan_layers(
    layers: Sequence[LayerStream], *, platform: Platform, env: Mapping[str, str]
) -> BaseFacts:
    """Return the facts of an image, by streaming its layers once, bottom first.

    Args:
        layers: its layers.
        platform: what it is for.
        env: environment variables of its config.

    Raises:
        LayoutError: a layer is damaged, or of a kind that can't be read here.
        RegistryError: a layer could not be fetched.
    """
    tree = Tree()
    for layer in layers:
        tree.apply(decompressed(layer.open(), layer.media_type))
    found = _programs(tree, env.get("PATH") or _DEFAULT_PATH)
    loader = next((node.loader for _, node in found if node.loader), None)
    return BaseFacts(
        interpreters=tuple(_interpreters(tree, found, env)),
        libc=_libc(tree, platform, loader),
        links=_folder_links(tree),
        has_venv=any(node.kind == "venv" for node in tree.nodes.values()),
    )


def _programs(tree: Tree, search_path: str) -> list[tuple[str, Node]]:
    """Return the Pythons that PATH finds, then those in other usual places."""
    programs = {
        path: node for path, node in tree.nodes.items() if node.kind == "program"
    }
    folders = [tree.resolve(folder) for folder in search_path.split(":") if folder]
    folders += ["usr/local/bin", "usr/bin"]
    folders += sorted(
        folder
        for folder in {path.rpartition("/")[0] for path in tree.nodes}
        if folder.startswith("opt/") and folder.endswith("/bin")
    )
    names = _names(tree)
    found: dict[str, Node] = {}
    for folder in dict.fromkeys(folders):
        for name in names.get(folder, ()):
            real = tree.resolve(f"{folder}/{name}")
            if real in programs:
                found.setdefault(real, programs[real])
    return list(found.items())


def _names(tree: Tree) -> dict[str, list[str]]:
    """Return the names like ``python3.11`` of each folder: ``python3``, then newest."""
    names: dict[str, list[str]] = {}
    for path, node in tree.nodes.items():
        folder, _, name = path.rpartition("/")
        if node.kind in ("program", "link") and PROGRAM.fullmatch(name):
            names.setdefault(folder, []).append(name)
    for found in names.values():
        found.sort(key=lambda name: (name != "python3", -(_minor(name) or 0)))
    return names


def _interpreters(
    tree: Tree, programs: Sequence[tuple[str, Node]], env: Mapping[str, str]
) -> Iterator[Interpreter]:
    seen: set[str] = set()
    for path, _ in programs:
        folder, _, name = path.rpartition("/")
        minor = _minor(name)
        if minor is None:
            # A program named python3 that is no link: a hard link of its sibling.
            siblings = [
                other
                for other in _names(tree).get(folder, ())
                if _minor(other) is not None
            ]
            if len(siblings) != 1:
                continue
            path, minor = f"{folder}/{siblings[0]}", _minor(siblings[0])  # noqa: PLW2901  (the name that says the version)
        assert minor is not None
        if path not in seen:
            seen.add(path)
            yield Interpreter(
                path=f"/{path}",
                version=(3, minor),
                full_version=_full_version(minor, env),
            )


def _minor(name: str) -> int | None:
    match = PROGRAM.fullmatch(name)
    return int(match[1]) if match and match[1] else None


def _full_version(minor: int, env: Mapping[str, str]) -> str:
    """Return the version that the image says it has, where it can be this one."""
    said = env.get("PYTHON_VERSION", "")
    return said if said.startswith(f"3.{minor}.") else f"3.{minor}"


def _libc(tree: Tree, platform: Platform, loader: str | None) -> Libc | None:
    """Return the C library that Python is linked to; without a Python, the first."""
    triple = f"{platform.machine}-linux-gnu"
    usual = (f"usr/lib/{triple}", f"lib/{triple}", "usr/lib64", "lib64", "usr/lib")

    def rank(item: tuple[str, Libc]) -> tuple[bool, int, str]:
        path, libc = item
        folder = path.rpartition("/")[0]
        place = usual.index(folder) if folder in usual else len(usual)
        return (libc.name != "glibc", place, path)

    found = [
        (path, node.libc)
        for path, node in tree.nodes.items()
        if node.libc is not None and loader in (None, node.libc.name)
    ]
    return min(found, key=rank)[1] if found else None


def _folder_links(tree: Tree) -> tuple[tuple[str, str], ...]:
    """Return the links near the root that stand for folders."""
    folders = {path for path, node in tree.nodes.items() if node.kind == "folder"}
    # A layer need not list the folders of its files.
    folders |= {path.rpartition("/")[0] for path in tree.nodes}
    return tuple(
        sorted(
            (f"/{path}", node.target)
            for path, node in tree.nodes.items()
            if node.kind == "link"
            and path.count("/") < _LINK_DEPTH
            and tree.resolve(path) in folders
        )
    )
