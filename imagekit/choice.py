"""Which builder makes a plan: the one that was named, or the least that can.

What executes nothing is assembled here. What executes something is assembled but for
that, and a Dockerfile is an engine's from beginning to end.
"""

from __future__ import annotations

from imagekit.builder import Builder, BuilderContext, InsideInstaller
from imagekit.errors import DefinitionError
from imagekit.plan import BuildDockerfile, InstallAptPackages, Plan, RunCommands
from imagekit.plugins import AUTO, load

_ASSEMBLER = "embedded"
_LOCAL = "buildkit"
_REMOTE = "remote"


def installs_inside(name: str, context: BuilderContext) -> bool:
    """Return whether the builder *name* installs distributions inside the image.

    Raises:
        UnknownBuilderError: no such builder is installed.
        BuilderUnavailableError: it is, but can't be imported.
    """
    if name == AUTO:
        return False
    builder = load(name, context)
    return isinstance(builder, InsideInstaller) and builder.installs_inside


def builder_for(name: str, plan: Plan, context: BuilderContext) -> Builder:
    """Return the builder *name* for *plan*; ``auto`` chooses one that can make it.

    Raises:
        UnknownBuilderError: no such builder is installed.
        BuilderUnavailableError: it is, but can't be imported.
        UnsupportedLayerError: a step of the plan is beyond it.
    """
    if name == AUTO:
        return _chosen(plan, context)
    if name == _ASSEMBLER:
        _check_attestations(context)
    builder = load(name, context)
    builder.check(plan)
    return builder


def _chosen(plan: Plan, context: BuilderContext) -> Builder:
    steps = [step for platform in plan.platforms for step in platform.steps]
    whole = any(isinstance(step, BuildDockerfile) for step in steps)
    if not whole:
        _check_attestations(context)
    if not whole and not any(
        isinstance(step, InstallAptPackages | RunCommands) for step in steps
    ):
        return load(_ASSEMBLER, context)
    name = _REMOTE if context.execution.remote else _LOCAL
    if whole:
        return load(name, context)
    from imagekit.hybrid import HybridBuilder  # noqa: PLC0415  (only where it serves)

    return HybridBuilder(
        context,
        assembler=load(_ASSEMBLER, context),
        executor=lambda: load(name, context),
    )


def _check_attestations(context: BuilderContext) -> None:
    """Raise DefinitionError for what only BuildKit makes, of whole images only."""
    for option in ("sbom", "provenance"):
        if getattr(context.execution, option):
            raise DefinitionError(
                f"--{option} is made by BuildKit, for images that it makes as a whole",
                hint="add --builder buildkit or --builder remote",
            )
