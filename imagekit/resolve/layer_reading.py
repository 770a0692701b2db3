"""Python layers read: their files, options and indexes, as what they ask for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

from imagekit.canonical import fingerprint
from imagekit.digest import Digest
from imagekit.errors import SourceNotFoundError
from imagekit.layers import (
    PipPackages,
    PythonLayer,
    Requirements,
    UVProject,
    UVScript,
)
from imagekit.python_inputs.install_args import InstallArgs, parse_extra_args
from imagekit.python_inputs.local_path import local_requirement
from imagekit.python_inputs.reading import read_text
from imagekit.python_inputs.requirements_file import (
    RequirementLine,
    read_requirements,
)
from imagekit.records import replace
from imagekit.resolve.credentials import redact
from imagekit.resolve.indexes import Indexes
from imagekit.resolve.pins import folder_reference
from imagekit.resolve.script_settings import (
    script_document,
    script_indexes,
    script_options,
)
from imagekit.resolve.tree_digests import TreeDigests, local_digest
from imagekit.resolve.wanted import Wanted, merged_options

if TYPE_CHECKING:
    from imagekit.python_inputs.uv_project import ProjectFiles

_ARCHIVES = (".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def read_layer(layer: PythonLayer, digests: TreeDigests) -> Wanted:
    """Read what *layer* names.

    Raises:
        PlanError: a file does not exist or can't be read.
        DefinitionError: a file or an option has no meaning.
    """
    is_project = isinstance(layer, UVProject)
    args = parse_extra_args(
        layer.options.extra_args, folder=layer.origin.folder, project=is_project
    )
    match layer:
        case PipPackages():
            return _packages(layer, args, digests)
        case Requirements():
            return _requirements(layer, args, digests)
        case UVProject():
            return _project(layer, args, digests)
        case UVScript():
            return _script(layer, args, digests)
        case _:
            assert_never(layer)


def _packages(layer: PipPackages, args: InstallArgs, digests: TreeDigests) -> Wanted:
    lines, reads = [], []
    for text in layer.packages:
        local = local_requirement(text, Path(layer.origin.folder))
        if local is not None:
            reads.append(local_digest(local.path, digests))
            text = local.text  # noqa: PLW2901  (the same, with its full path)
        lines.append(RequirementLine(text=text, where=str(layer.origin)))
    return _wanted(layer, args, tuple(lines), reads=reads)


def _requirements(
    layer: Requirements, args: InstallArgs, digests: TreeDigests
) -> Wanted:
    found = read_requirements(layer.file.location)
    options = found.options
    reads = [local_digest(Path(path), digests) for _, path in found.folders]
    reads += [
        local_digest(Path(path), digests)
        for _, path in found.files
        if local_requirement(path, Path())
        and Path(path).suffix in (".whl", ".gz", ".zip")
    ]
    passed = ["--prerelease", "allow"] if options.pre else []
    for option, names in (
        ("--no-binary", options.no_binary),
        ("--only-binary", options.only_binary),
        ("--allow-insecure-host", options.trusted_hosts),
    ):
        for name in names:
            passed += [option, name]
    return _wanted(
        layer,
        args,
        found.requirements,
        constraints=tuple(line.text for line in found.constraints),
        options=tuple(passed),
        no_binary=tuple(options.no_binary),
        indexes=Indexes(
            default=options.index_url,
            extra=tuple(options.extra_index_urls),
            find_links=tuple(map(_link, options.find_links)),
            no_index=options.no_index,
        ),
        require_hashes=options.require_hashes,
        reads=reads,
    )


def _script(layer: UVScript, args: InstallArgs, digests: TreeDigests) -> Wanted:
    path = Path(layer.script.location)
    from imagekit.python_inputs.script_header import (  # noqa: PLC0415
        parse_script,
    )

    header = parse_script(read_text(path, what="script"), name=str(path))
    reads = [
        local_digest(Path(place), digests) for _, place in header.folders + header.files
    ]
    lines: tuple[RequirementLine, ...] = ()
    document = None
    if header.settings.get("sources"):
        # Where a dependency comes from is written apart from it: uv puts it together.
        document = script_document(header, path.parent)
        reads.append(header.text)
    else:
        texts = (
            local_requirement(text, path.parent) if "@" in text else None
            for text in header.dependencies
        )
        lines = tuple(
            RequirementLine(text=local.text if local else text, where=str(path))
            for text, local in zip(header.dependencies, texts, strict=True)
        )
    return _wanted(
        layer,
        args,
        lines,
        constraints=tuple(header.settings.get("constraint-dependencies", ())),
        overrides=tuple(header.settings.get("override-dependencies", ())),
        options=script_options(header),
        document=document,
        indexes=script_indexes(header, path.parent),
        reads=reads,
    )


def _project(layer: UVProject, args: InstallArgs, digests: TreeDigests) -> Wanted:
    lock = layer.uvlock.location if layer.uvlock else None
    if lock is not None and not Path(lock).is_file():
        raise SourceNotFoundError(
            f"no uv.lock at {lock!r}",
            hint="run 'uv lock' in the project, or leave uvlock= out",
        )
    from imagekit.python_inputs.uv_project import read_project  # noqa: PLC0415

    files = read_project(layer.pyproject.location, lock, layer.mode)
    reads = [local_digest(Path(path), digests) for _, path in files.files]
    reads += [local_digest(Path(path), digests) for _, path in files.folders]
    if files.lock is not None:
        return _wanted(layer, args, (), project=files, reads=reads)
    lines: tuple[RequirementLine, ...] = ()
    folder = Path(layer.pyproject.location).parent
    if layer.mode == "install_project":
        reference = folder_reference(str(folder))
        lines = (RequirementLine(text=reference, where=layer.pyproject.location),)
    return _wanted(
        layer,
        args,
        lines,
        sources=(layer.pyproject.location,),
        options=_unlocked_options(args),
        reads=reads,
    )


def _unlocked_options(args: InstallArgs) -> tuple[str, ...]:
    """Return the options of ``uv pip compile`` for parts of a project."""
    options: list[str] = []
    items = iter(args.project)
    for name in items:
        if name in ("--extra", "--group"):
            options += [name, next(items)]
        elif name == "--all-extras":
            options.append(name)
        elif name == "--dev":
            options += ["--group", "dev"]
        elif not name.startswith(("--all-", "--only-dev", "--no-d")):
            next(items)
    return tuple(options)


def _wanted(
    layer: PythonLayer,
    args: InstallArgs,
    lines: tuple[RequirementLine, ...],
    *,
    constraints: tuple[str, ...] = (),
    overrides: tuple[str, ...] = (),
    sources: tuple[str, ...] = (),
    document: str | None = None,
    options: tuple[str, ...] = (),
    no_binary: tuple[str, ...] = (),
    indexes: Indexes | None = None,
    require_hashes: bool = False,
    project: ProjectFiles | None = None,
    reads: Iterable[str] = (),
) -> Wanted:
    """Add what all layers have: options, indexes, and the identity of it all."""
    given = layer.options
    if given.pre:
        options += ("--prerelease", "allow")
    options += args.resolve
    for name, path in args.files:
        options += (f"{name}s", path)
    digests = tuple(
        Digest.of(read_text(Path(path), what=name[2:]).encode()).hex
        for name, path in args.files
    )
    own, indexes = _own_indexes(layer, args), indexes or Indexes()
    if own.default is not None:
        indexes = replace(indexes, default=None)
    indexes = indexes.joined(own)
    args = _with_no_binary(args, no_binary)
    identity: tuple[Any, ...] = (
        layer.kind,
        tuple(map(redact, constraints)),
        tuple(map(redact, overrides)),
        tuple(option for option in options if option not in sources),
        indexes.identity,
        digests,
        tuple(reads),
        args.build,
        args.no_binary,
        args.project,
        args.no_deps,
        require_hashes or args.require_hashes,
        layer.mode if isinstance(layer, UVProject) else None,
    )
    return Wanted(
        layer=layer,
        lines=lines,
        constraints=constraints,
        overrides=overrides,
        sources=sources,
        document=document,
        options=merged_options(options),
        indexes=indexes,
        args=args,
        require_hashes=require_hashes or args.require_hashes,
        project=project,
        rest=fingerprint("python-layer", identity),
    )


def _with_no_binary(args: InstallArgs, names: tuple[str, ...]) -> InstallArgs:
    return replace(args, no_binary=args.no_binary + names) if names else args


def _own_indexes(layer: PythonLayer, args: InstallArgs) -> Indexes:
    given = layer.options
    default = given.index_url
    extra = list(given.extra_index_urls)
    links = []
    for name, value in args.index:
        if name in ("--index-url", "--default-index"):
            default = value
        elif name == "--find-links":
            links.append(_link(value))
        else:
            extra.append(value)
    return Indexes(
        default=default,
        extra=tuple(extra),
        find_links=tuple(links),
        no_index=args.no_index,
    )


def _link(value: str) -> str:
    return value if "://" in value else folder_reference(value)
