"""The bytes behind a definition: what an image reads, and the id that follows from it.

This is the only place that reads an image's own files. One walk gives the trees that
are hashed here and packed into layers later, so what is hashed is what is shipped.
"""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, assert_never

from imagekit import ignore, sources
from imagekit.bases import base_key, base_reference, python_of
from imagekit.canonical import fingerprint
from imagekit.errors import DefinitionError
from imagekit.layers import (
    AptPackages,
    CodeBundle,
    Commands,
    DockerfileBase,
    DockerIgnore,
    Env,
    Layer,
    PipPackages,
    Requirements,
    Runtime,
    SourceFile,
    SourceFolder,
    UVProject,
    UVScript,
    WorkDir,
)
from imagekit.origin import SourcePath
from imagekit.plan import DEFAULT_EPOCH
from imagekit.python_reads import option_reads, python_reads
from imagekit.records import dataclass
from imagekit.runtime_files import checkout_fault, runtime_tree
from imagekit.source_text import located, read_text, text_digest
from imagekit.sources import Tree

if TYPE_CHECKING:
    from imagekit.image import Image
    from imagekit.stat_index import StatIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerContents:
    """A layer and what it reads.

    Attributes:
        tree: files of a source layer or of the runtime.
        reads: names and sha256 of other inputs, such as requirements files.
    """

    layer: Layer
    tree: Tree | None = None
    reads: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Everything that a definition reads from this machine.

    Attributes:
        base: reference of the base; None for a Dockerfile.
        base_key: what of the base enters the content id: the reference, or the digest
            of what a layout on disk holds.
        python: minor version that was asked for or follows from the interpreter or
            the script; None where the base decides.
        dockerfile: what the Dockerfile says; None for another base.
        dockerfile_key: what of it enters the content id.
        context: the build context of a Dockerfile, or None.
        created: time stamp of the image and its files, in seconds since the epoch.
    """

    base: str | None
    base_key: str | None
    python: tuple[int, int] | None
    platform: tuple[str, ...]
    layers: tuple[LayerContents, ...]
    context: Tree | None
    dockerfile: str | None
    dockerfile_key: str | None
    created: int

    @property
    def content_id(self) -> str:
        """``ik1-`` and 64 hex digits, as ``docs/identity.md`` defines it."""
        key = (
            self.base_key,
            self.python,
            self.platform,
            tuple(_key(item) for item in self.layers),
            self.context.digest if self.context else None,
            self.dockerfile_key,
            None if self.created == DEFAULT_EPOCH else self.created,
        )
        return f"ik1-{fingerprint('content', key)}"


def read_contents(image: Image, *, index: StatIndex | None = None) -> Contents:
    """Read all that *image* names.

    Raises:
        PlanError: something is missing or can't be read.
        DefinitionError: something that was read is invalid.
    """
    rules = ignore_rules(image)
    context = dockerfile = dockerfile_key = None
    with located(image.base.origin):
        base, key, python = (
            base_reference(image),
            base_key(image),
            python_of(image),
        )
        if isinstance(image.base, DockerfileBase):
            context, dockerfile = read_context(image.base.file, index)
            dockerfile_key = _dockerfile_key(image.base, dockerfile)
    return Contents(
        base=base,
        base_key=key,
        python=python,
        platform=image.platform,
        layers=tuple(read_layer(layer, rules, index) for layer in image.layers),
        context=context,
        dockerfile=dockerfile,
        dockerfile_key=dockerfile_key,
        created=_created(),
    )


def read_layer(
    layer: Layer, rules: ignore.IgnoreRules | None, index: StatIndex | None
) -> LayerContents:
    """Read what *layer* names; without *rules* a folder's own ignore file holds.

    Raises:
        PlanError: something is missing or can't be read.
        DefinitionError: something that was read is invalid.
    """
    with located(layer.origin):
        match layer:
            case SourceFile():
                tree = sources.single_file(layer.src.location, _file_name(layer))
                return LayerContents(layer=layer, tree=tree)
            case SourceFolder():
                return LayerContents(
                    layer=layer, tree=_read_folder(layer, rules, index)
                )
            case CodeBundle():
                return LayerContents(layer=layer, tree=layer.tree)
            case Runtime():
                if layer.checkout:
                    checkout_fault()
                return LayerContents(
                    layer=layer, tree=None if layer.version else runtime_tree()
                )
            case PipPackages() | Requirements() | UVProject() | UVScript():
                reads = (*python_reads(layer), *option_reads(layer))
                return LayerContents(layer=layer, reads=tuple(sorted(reads)))
            case AptPackages() | Commands() | DockerIgnore() | Env() | WorkDir():
                return LayerContents(layer=layer)
            case _:
                assert_never(layer)


def _file_name(layer: SourceFile) -> str:
    if layer.dst.endswith("/") or PurePosixPath(layer.dst).name in ("", ".", ".."):
        return os.path.basename(layer.src.location)
    return PurePosixPath(layer.dst).name


def _read_folder(
    layer: SourceFolder, rules: ignore.IgnoreRules | None, index: StatIndex | None
) -> Tree:
    if rules is None:
        own = os.path.join(layer.src.location, ".dockerignore")
        rules = _rules_of(own) if os.path.isfile(own) else ignore.DEFAULT
    tree = sources.walk(layer.src.location, rules, index=index)
    if layer.copy_contents_only:
        return tree
    name = os.path.basename(layer.src.location)
    return tree.below(name)


def read_context(file: SourcePath, index: StatIndex | None) -> tuple[Tree, str]:
    """Return the build context of the Dockerfile *file*, and its text."""
    folder = os.path.dirname(file.location)
    text = read_text(file.location)
    for candidate in (f"{file.location}.dockerignore", f"{folder}/.dockerignore"):
        if os.path.isfile(candidate):
            rules = ignore.IgnoreRules.parse(
                read_text(candidate), name=candidate, defaults=False
            )
            break
    else:
        rules = ignore.NOTHING
    # BuildKit takes links as they are: what they mean is the Dockerfile's to say.
    return sources.walk(folder, rules, index=index, any_links=True), text


def _dockerfile_key(base: DockerfileBase, text: str) -> str:
    name = os.path.basename(base.file.location)
    key = text_digest(f"{name}\0{text}")
    if not base.build_args and base.target is None:
        return key
    return fingerprint("dockerfile", (key, base.build_args, base.target))


def ignore_rules(image: Image) -> ignore.IgnoreRules | None:
    """Return the rules of the image's last ignore file, or None if it names none."""
    rules = None
    for layer in image.layers:
        if isinstance(layer, DockerIgnore):
            with located(layer.origin):
                rules = _rules_of(layer.path.location)
    return rules


def _rules_of(path: str) -> ignore.IgnoreRules:
    return ignore.IgnoreRules.parse(read_text(path), name=path)


def _created() -> int:
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if not text:
        return DEFAULT_EPOCH
    if not text.isascii() or not text.isdigit() or int(text) >= 1 << 33:
        raise DefinitionError(
            f"SOURCE_DATE_EPOCH must be seconds since 1970, found {text!r}",
            hint="unset it, or set it to a whole number",
        )
    return int(text)


def _key(contents: LayerContents) -> tuple[object, ...]:
    """Return what of a layer enters the content id: no path of this machine."""
    layer, tree = contents.layer, contents.tree
    match layer:
        case SourceFile():
            assert tree is not None
            return (layer.kind, _folder_of(layer), tree.digest)
        case SourceFolder():
            assert tree is not None
            return (layer.kind, layer.dst, tree.digest)
        case CodeBundle():
            return (layer.kind, layer.dst, layer.digest)
        case Runtime():
            # A checkout and an installation with the same files are the same runtime.
            return (layer.kind, layer.version, tree.digest if tree else None)
        case Requirements() | UVScript():
            return (layer.kind, layer.options, contents.reads)
        case PipPackages():
            return (layer.kind, layer.packages, layer.options, contents.reads)
        case UVProject():
            return (layer.kind, layer.mode, layer.options, contents.reads)
        case AptPackages() | Commands() | Env() | WorkDir():
            return (layer.kind, layer)
        case DockerIgnore():
            return (layer.kind,)
        case _:
            assert_never(layer)


def _folder_of(layer: SourceFile) -> str:
    """Return the folder that receives the file; its name is in the tree."""
    if layer.dst.endswith("/") or PurePosixPath(layer.dst).name in ("", ".", ".."):
        return layer.dst
    return str(PurePosixPath(layer.dst).parent)
