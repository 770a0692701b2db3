"""Laws of files: what is in the layers, and what they add up to."""

from __future__ import annotations

import csv
import io
import posixpath
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import replace

from imagekit.errors import ImageKitError, SourceChangedError
from imagekit.oci.model import Descriptor
from imagekit.plan import (
    CopyTree,
    CreateVenv,
    InstallDistributions,
    Plan,
    SetWorkdir,
)
from imagekit.sources import Tree
from imagekit.testing.bench import Bench, Work
from imagekit.testing.files import FileTree, LayerEntry, Node, differences
from imagekit.testing.installed import Installed
from imagekit.testing.law import NotApplicableError, law
from imagekit.testing.oracle import expected_files, installations, without_bytes
from imagekit.testing.plans import origin
from imagekit.testing.trees import files as source_files
from imagekit.testing.trees import odd_file

#: Names that not everything on the way to an image can hold.
_ODD_NAMES = (b"new\nline", b"not utf-8 \xff\xfe", b"back\\slash", b"tab\there")


@law("entries")
def entries(bench: Bench) -> Iterator[str]:
    """Added entries are safe to unpack, in order, and each there once."""
    work = bench.complete
    for image in work.built.images:
        for layer in bench.upper(work, image):
            yield from _entry_faults(layer, bench.entries(work, layer))


def _entry_faults(layer: Descriptor, found: list[LayerEntry]) -> Iterator[str]:
    place = str(layer.digest)[:19]
    seen: set[str] = set()
    for entry in found:
        if entry.raw.startswith("/"):
            yield f"{place}: {entry.raw!r} is absolute"
        if ".." in entry.raw.split("/"):
            yield f"{place}: {entry.raw!r} leads out of the image"
        if entry.path in seen:
            yield f"{place}: {entry.path!r} is there twice"
        if entry.node.type == "other":
            yield f"{place}: {entry.path!r} is no file, folder or link"
        if entry.hardlink is not None and entry.hardlink not in seen:
            yield f"{place}: {entry.path!r} is a hard link to what is not in the layer"
        seen.add(entry.path)
    paths = [entry.path for entry in found if entry.path]
    whole = [path.encode("utf-8", "surrogateescape") for path in paths]
    parts = [path.split(b"/") for path in whole]
    if whole != sorted(whole) and parts != sorted(parts):
        yield f"{place}: the entries are not sorted by their paths"


@law("files")
def files(bench: Bench) -> Iterator[str]:
    """The files are the base's and the plan's: paths, modes, links and bytes."""
    work = bench.complete
    yield from file_faults(bench, work, outside=_prefixes(work.plan))


@law("environment-files")
def environment_files(bench: Bench) -> Iterator[str]:
    """Wheels are installed as the specification says."""
    work = bench.complete
    prefixes = _prefixes(work.plan)
    if not prefixes:
        raise NotApplicableError("no wheels are installed")
    yield from file_faults(bench, work, inside=prefixes)


@law("records")
def records(bench: Bench) -> Iterator[str]:
    """RECORD lists the installed files and their hashes, INSTALLER a name."""
    work = bench.complete
    if not _prefixes(work.plan):
        raise NotApplicableError("no wheels are installed")
    for plan, image in work.pairs():
        found = bench.files(work, image)
        for item, prefix in installations(plan, bench.plans.wheels.files):
            yield from _record_faults(found, item, found.resolve(prefix))


def _record_faults(found: FileTree, item: Installed, root: str) -> Iterator[str]:
    folder = f"{root}/{item.site}/{item.info}"
    installer = found.nodes.get(f"{folder}/INSTALLER")
    if installer is None or not (installer.data or b"").strip():
        yield f"{item.info}: INSTALLER names nothing"
    record = found.nodes.get(f"{folder}/RECORD")
    if record is None or record.data is None:
        yield f"{item.info}: no RECORD"
        return
    rows = list(csv.reader(io.StringIO(record.data.decode(), newline="")))
    site = f"{root}/{item.site}"
    listed = {posixpath.normpath(f"{site}/{row[0]}"): row for row in rows if row}
    wanted = {f"{root}/{path}" for path in item.files}
    for path in sorted(wanted - set(listed)):
        yield f"{item.info}: RECORD does not list {path!r}"
    for path in sorted(set(listed) - wanted):
        yield f"{item.info}: RECORD lists {path!r}, which is not of the distribution"
    for path, row in listed.items():
        node = found.nodes.get(path)
        if node is None or path == f"{folder}/RECORD":
            continue
        if row[1] != _record_hash(node):
            yield f"{item.info}: RECORD has {row[1]!r} for {path!r}"


def _record_hash(node: Node) -> str:
    digest = urlsafe_b64encode(bytes.fromhex(node.content))
    return "sha256=" + digest.rstrip(b"=").decode()


@law("base-links")
def base_links(bench: Bench) -> Iterator[str]:
    """Files go where links of the base lead, and the links stay."""
    bench.need(CopyTree)
    base = next(iter(bench.plans.bases.values()))
    # The program that others need is not in danger: all goes into folders of our own.
    links = [path for path, target in base.links if path.count("/") == 1]
    if not links:
        raise NotApplicableError("the base has no links to folders")
    link = links[0].strip("/")
    tree = source_files(
        bench.folder / "sources" / "through-link",
        {f"{link}/conformance/through.txt": b"through\n", f"{link}/top.txt": b"top\n"},
    )
    through = source_files(
        bench.folder / "sources" / "at-link", {"at.txt": b"at\n", "b/c.txt": b"c\n"}
    )
    plan = bench.plans.of(
        CopyTree(tree=tree, destination="/", label="root", origin=origin(11)),
        CopyTree(
            tree=through,
            destination=f"/{link}/conformance-at",
            label="at",
            origin=origin(12),
        ),
        SetWorkdir(path=f"/{link}/conformance-work", origin=origin(13)),
    )
    yield from file_faults(bench, bench.build(plan))


@law("odd-names")
def odd_names(bench: Bench) -> Iterator[str]:
    """A file name of any bytes is exact in the image, or refused by name."""
    bench.need(CopyTree)
    for number, name in enumerate(_ODD_NAMES):
        tree = odd_file(bench.folder / "sources" / f"odd-{number}", name)
        text = tree.entries[0].path
        plan = bench.plans.of(
            CopyTree(tree=tree, destination="/srv/odd", label="odd", origin=origin(14))
        )
        try:
            work = bench.build(plan)
        except ImageKitError as error:
            if repr(text) not in str(error) and text not in str(error):
                yield f"refused {text!r} without naming it: {error}"
        else:
            yield from file_faults(bench, work)


@law("changed-source")
def changed_source(bench: Bench) -> Iterator[str]:
    """A file that changed since it was hashed is never shipped."""
    bench.need(CopyTree)
    for word, content in (("as long", b"HELLO\n"), ("longer", b"hello and more\n")):
        tree = bench.plans.tree("changing")
        plan = bench.plans.of(
            CopyTree(
                tree=tree, destination="/srv/changed", label="x", origin=origin(15)
            )
        )
        _overwrite(tree, content)
        try:
            bench.build(plan)
        except SourceChangedError as error:
            if "hello.txt" not in str(error):
                yield f"the error does not name the file: {error}"
        except ImageKitError as error:
            yield (
                f"wanted SourceChangedError for a file that is {word}, found "
                f"{type(error).__name__}: {error}"
            )
        else:
            yield f"a changed file that is {word} went into the image"


def _overwrite(tree: Tree, content: bytes) -> None:
    with open(tree.files[0].location, "wb") as file:
        file.write(content)


def _prefixes(plan: Plan) -> tuple[str, ...]:
    """Return the folders of virtual environments."""
    found = {
        step.prefix.strip("/")
        for part in plan.platforms
        for step in part.steps
        if isinstance(step, CreateVenv | InstallDistributions)
    }
    return tuple(sorted(found))


def file_faults(
    bench: Bench,
    work: Work,
    *,
    inside: tuple[str, ...] = (),
    outside: tuple[str, ...] = (),
) -> Iterator[str]:
    """Yield how the images differ from what the plan says."""
    wheels = bench.plans.wheels.files
    for plan, image in work.pairs():
        assert plan.base is not None
        base = bench.base_files(plan.base)
        free = {
            f"{prefix.strip('/')}/{path}"
            for item, prefix in installations(plan, wheels)
            for path in item.free
        }
        wanted = without_bytes(expected_files(plan, base, wheels), free)
        found = without_bytes(bench.files(work, image), free)
        for tree in (wanted, found):
            tree.nodes = {
                path: replace(node, data=None)
                for path, node in tree.nodes.items()
                if (not inside or _is_below(path, inside))
                and not _is_below(path, outside)
            }
        for line in differences(wanted, found):
            yield f"{plan.platform}: {line}"


def _is_below(path: str, folders: tuple[str, ...]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)
