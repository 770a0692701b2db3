"""Deploy the environments of a file to Kubernetes, and print their versions."""

from __future__ import annotations

import time
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from imagekit.cli.code_options import add_code_options, check_code_options
from imagekit.cli.display import display
from imagekit.cli.output import Output
from imagekit.cli.sizes import seconds_text, size_text
from imagekit.cli.usage import Parser
from imagekit.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagekit.cluster.applying import Applied
    from imagekit.deploying import Deploying
    from imagekit.deployment_plan import DeploymentPlan
    from imagekit.environment import Environment

EXAMPLES = """\
examples:
  imagekit deploy pipeline.py                    all environments of the file
  imagekit deploy pipeline.py train --version 7  one, with all that it depends on
  imagekit deploy pipeline.py --dry-run          print the manifests, and do nothing
  imagekit deploy pipeline.py --output deploy/   push images, and write the manifests
"""


def configure(parser: Parser) -> None:
    """Add the command's options."""
    parser.add_argument("file", metavar="FILE", help="module that defines environments")
    parser.add_argument(
        "names",
        metavar="NAME",
        nargs="*",
        default=(),  # without one, argparse calls it required
        help="environment, or the variable that holds it; by default all of the file",
    )
    add_code_options(
        parser,
        version="the version; by default made from the code, images and settings",
        copy_style="the code that goes along",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the manifests, with images by tag: no network, no writes",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="write the manifests to files, for kustomize, in place of applying them",
    )


def run(arguments: Namespace, output: Output) -> int:
    """Deploy the environments."""
    from imagekit.bundle import check_version  # noqa: PLC0415  (not for --help)
    from imagekit.cli.environment_files import load_environments  # noqa: PLC0415

    began = time.monotonic()
    check_code_options(arguments.copy_style, arguments.version)
    check_version(arguments.copy_style, arguments.version)
    environments = load_environments(arguments.file, tuple(arguments.names))
    if arguments.dry_run:
        return _outline(arguments, environments, output)
    with display(output) as progress:
        deploying = _deploying(arguments, progress)
        plans = deploying.plan(environments, arguments.version)
        if arguments.output is None:
            done = deploying.carry_out(plans)
        else:
            _check_folder(arguments.output, deploying.manifests(plans, pinned=False))
            done = deploying.push(plans)
    _describe(done.plans, output, dry_run=False)
    output.document["uploaded"] = done.uploaded
    took = seconds_text(time.monotonic() - began)
    sent = f"{size_text(done.uploaded)} uploaded" if done.uploaded else "no upload"
    if arguments.output is not None:
        objects = deploying.manifests(done.plans, pinned=True)
        _write(objects, arguments.output, output)
        output.talk(f"pushed in {took}: {sent}; nothing was applied")
        return 0
    _report(done.applied, output)
    output.talk(f"deployed in {took}: {sent}, {_summary(done.applied)}")
    for plan in done.plans:
        output.line(f"{plan.environments[0].name}@{plan.version}")
    return 0


def _deploying(arguments: Namespace, progress: Progress) -> Deploying:
    from imagekit.bundle import bundle_root, code_bundle  # noqa: PLC0415
    from imagekit.deploying import Deploying  # noqa: PLC0415
    from imagekit.initialization import configuration  # noqa: PLC0415

    configured = configuration()
    return Deploying.of(
        code_bundle(arguments.copy_style, bundle_root(configured.root_dir)),
        settings=configured.settings(),
        configuration=configured,
        progress=progress,
    )


def _outline(
    arguments: Namespace, environments: Sequence[Environment], output: Output
) -> int:
    """Show what would be applied."""
    from imagekit.cluster.yaml_text import yaml_stream  # noqa: PLC0415

    deploying = _deploying(arguments, silent)
    plans = deploying.plan(environments, arguments.version)
    _describe(plans, output, dry_run=True)
    _warn(deploying, environments, output)
    objects = deploying.manifests(plans, pinned=False)
    output.document["manifests"] = list(objects)
    if arguments.output is not None:
        _write(objects, arguments.output, output)
    else:
        output.line(yaml_stream(objects).removesuffix("\n"))
    return 0


def _warn(
    deploying: Deploying, environments: Sequence[Environment], output: Output
) -> None:
    """Say what a deploy would want that is not known here."""
    from imagekit.environment_images import with_dependencies  # noqa: PLC0415
    from imagekit.task_errors import InitializationError  # noqa: PLC0415

    try:
        deploying.deployer.check(with_dependencies(environments))
    except InitializationError as error:
        output.talk(f"warning: {error.message}, so that a deploy would fail")
        output.talk(f"hint: {error.hint}")


def _check_folder(folder: str, objects: Sequence[Any]) -> None:
    from pathlib import Path  # noqa: PLC0415  (not for --help)

    from imagekit.cluster.manifest_files import check_folder  # noqa: PLC0415

    check_folder(Path(folder), objects)


def _write(objects: Sequence[Any], folder: str, output: Output) -> None:
    from pathlib import Path  # noqa: PLC0415  (not for --help)

    from imagekit.cluster.manifest_files import write_manifests  # noqa: PLC0415

    files = write_manifests(Path(folder), objects)
    output.document["files"] = [str(path) for path in files]
    for path in files:
        output.line(str(path))


def _describe(
    plans: Sequence[DeploymentPlan], output: Output, *, dry_run: bool
) -> None:
    output.document |= {
        "dry_run": dry_run,
        "deployments": [
            {
                "name": plan.environments[0].name,
                "version": plan.version,
                "environments": [item.name for item in plan.environments],
                "tasks": list(plan.tasks),
                "images": {item.name: item.image.reference for item in plan.documents},
            }
            for plan in plans
        ],
    }


def _report(applied: Sequence[Applied], output: Output) -> None:
    rows: list[dict[str, Any]] = [
        {"kind": item.kind, "name": item.name, "outcome": item.outcome}
        for item in applied
    ]
    output.document["objects"] = rows
    for item in applied:
        if item.outcome != "unchanged":
            output.talk(f"{item.outcome} {item.kind} {item.name}")


def _summary(applied: Sequence[Applied]) -> str:
    counts = {
        outcome: sum(item.outcome == outcome for item in applied)
        for outcome in ("created", "changed", "unchanged")
    }
    shown = [f"{count} {outcome}" for outcome, count in counts.items() if count]
    return f"objects: {', '.join(shown)}"
