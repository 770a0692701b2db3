"""Run a task: in this process, in containers made from its images, or on Kubernetes.

A run on Kubernetes goes on whatever becomes of this command: Ctrl-C only ends that it
is followed.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from imagekit.cli.code_options import add_code_options, check_code_options
from imagekit.cli.output import Output
from imagekit.cli.usage import Parser, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagekit.run import Runner
    from imagekit.run_records import RunRecord
    from imagekit.task import TaskTemplate

EXAMPLES = """\
examples:
  imagekit run pipeline.py train --rounds 3            in this process
  imagekit run pipeline.py train --mode container      in the image of its environment
  imagekit run pipeline.py train --mode remote         on Kubernetes, deployed for it
  imagekit run --deployed env.train@v7 --rounds 3      as it is deployed, without files
  imagekit run pipeline.py train --help                the inputs of the task
  imagekit run pipeline.py train --items '[1, 2]'      lists and objects as JSON
"""


def configure(parser: Parser) -> None:
    """Add the command's options."""
    parser.add_argument("file", metavar="FILE", help="module that defines the task")
    parser.add_argument(
        "task", metavar="TASK", help="name of the task, or ENVIRONMENT.NAME"
    )
    parser.add_argument(
        "--mode",
        metavar="MODE",
        help="local, container or remote; by default the setting",
    )
    parser.add_argument(
        "--deployed",
        metavar="ENVIRONMENT.TASK[@VERSION]",
        help="a task that is deployed, in place of FILE and TASK; by default of the "
        "current version",
    )
    parser.add_argument(
        "--detach",
        action="store_true",
        help="on Kubernetes: begin the run, print its name, and don't wait",
    )
    parser.add_argument("--name", metavar="NAME", help="name of the run")
    add_code_options(
        parser,
        version="version of the code; by default its hash",
        copy_style="the code that containers get",
    )
    parser.add_argument(
        "--env",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a variable of all tasks; repeat it for more",
    )
    parser.add_argument(
        "--label",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="kept with the record of the run; repeat it for more",
    )
    parser.add_argument(
        "--overwrite-cache", action="store_true", help="compute what is known anew"
    )
    parser.add_argument(
        "--no-result-cache",
        action="store_true",
        help="neither look results up nor keep them",
    )
    parser.add_argument(
        "--follow",
        action="store_true",
        help="show the tasks as they begin and end, and what they print in containers",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would be run, and run nothing"
    )


def parse(parser: Parser, argv: list[str]) -> Namespace:
    """Return the arguments, with those that the task's own signature asks for.

    Raises:
        UsageError: the command line is wrong.
        ImageKitError: the file can't be run, or has no such task.
    """
    from imagekit.cli import run_deployed  # noqa: PLC0415  (not for --help)
    from imagekit.cli.task_files import load_task  # noqa: PLC0415
    from imagekit.cli.task_options import add_inputs  # noqa: PLC0415

    if run_deployed.is_wanted(argv):
        return run_deployed.parse(parser, argv)
    wanted = [word for word in argv if word not in ("-h", "--help")]
    if not _has_task(parser, wanted):
        return _without_task(parser, argv)
    known, _ = parser.parse_known_args(wanted)
    task = load_task(known.file, known.task)
    parser.prog = f"imagekit run {known.file} {known.task}"
    parser.description = task.docs or parser.description
    add_inputs(parser, task.interface)
    found = parser.parse_args(argv)
    found.found = task
    return found


def _has_task(parser: Parser, argv: list[str]) -> bool:
    try:
        parser.parse_known_args(argv)
    except UsageError:
        return False
    return True


def _without_task(parser: Parser, argv: list[str]) -> Namespace:
    """Parse a command line that may lack the task; say which ones the file has."""
    from imagekit.cli.task_files import NO_TASK, known_tasks  # noqa: PLC0415

    try:
        return parser.parse_args(argv)
    except UsageError as error:
        if len(argv) != 1 or not os.path.isfile(argv[0]):
            raise
        names = [task.name for task in known_tasks(argv[0]).values()]
        hint = f"tasks of {argv[0]}: {', '.join(names)}" if names else NO_TASK
        raise UsageError(str(error), hint=hint) from None


def run(arguments: Namespace, output: Output) -> int:
    """Run the task, and print what it returns."""
    from imagekit.cli import run_deployed  # noqa: PLC0415  (not for --help)
    from imagekit.cli.remote_runs import show_json  # noqa: PLC0415
    from imagekit.cli.task_options import inputs_of  # noqa: PLC0415

    records: list[RunRecord] = []
    runner = _runner(arguments, output, records.append)
    if arguments.deployed is not None:
        name = arguments.found.task.name
        return _run(
            name,
            None,
            lambda: run_deployed.begin(arguments, runner),
            show_json,
            records,
            output,
            detach=arguments.detach,
        )
    task = arguments.found
    inputs = inputs_of(arguments)
    if arguments.dry_run:
        return _outline(runner, task, inputs, output)
    return _run(
        task.name,
        str(task.origin),
        lambda: runner.run(task, **inputs),
        _show_result,
        records,
        output,
        detach=arguments.detach,
    )


def _run(
    task: str,
    origin: str | None,
    begin: Callable[[], Any],
    show: Callable[[Any, Output], None],
    records: list[RunRecord],
    output: Output,
    *,
    detach: bool,
) -> int:
    """Begin a run, wait for it, and show what it returns."""
    from imagekit.cli.remote_runs import left_alone, waited  # noqa: PLC0415
    from imagekit.cli.run_failures import reported  # noqa: PLC0415  (not for --help)

    # What tasks print in this process is talk; stdout is for the result.
    stdout, sys.stdout = sys.stdout, sys.stderr
    try:
        with reported(task, records, output, origin=origin):
            done = begin()
            code, result = (0, None) if detach else waited(done, output)
    finally:
        sys.stdout = stdout
    if detach:
        return left_alone(done, output)
    if code:
        return code
    view = done.details()
    output.document |= view.as_json()
    show(result, output)
    output.talk(f"run {view.name} {view.status}; 'imagekit runs {view.name}' shows it")
    return 0


def _show_result(result: Any, output: Output) -> None:
    if result is not None:
        output.line(result if isinstance(result, str) else repr(result))


def _outline(
    runner: Runner,
    task: TaskTemplate[..., Any],
    inputs: dict[str, Any],
    output: Output,
) -> int:
    from imagekit.run import DryRun  # noqa: PLC0415  (not for --help)

    found = runner.run(task, **inputs)
    assert isinstance(found, DryRun)
    shown = {name: repr(value) for name, value in found.inputs.items()}
    output.document |= {
        "task": found.task,
        "mode": found.mode,
        "inputs": shown,
        "images": dict(found.images),
        "version": found.version,
    }
    output.line(f"task     {found.task}")
    output.line(f"mode     {found.mode}")
    for name, text in shown.items():
        output.line(f"input    {name} = {text}")
    for name, identifier in found.images.items():
        output.line(f"image    {name}: {identifier}")
    if found.version:
        output.line(f"version  {found.version}")
    return 0


def _runner(
    arguments: Namespace, output: Output, begun: Callable[[RunRecord], None]
) -> Runner:
    from imagekit.records import replace  # noqa: PLC0415  (not for --help)
    from imagekit.run import place_of, with_runcontext  # noqa: PLC0415

    mode: Any = "remote" if arguments.deployed is not None else arguments.mode
    if arguments.deployed is None and place_of(mode) != "local":
        check_code_options(arguments.copy_style, arguments.version)
    runner = with_runcontext(
        mode=mode,
        name=arguments.name,
        version=arguments.version,
        copy_style=arguments.copy_style,
        env_vars=_pairs("--env", arguments.env),
        labels=_pairs("--label", arguments.label),
        overwrite_cache=arguments.overwrite_cache,
        disable_run_cache=arguments.no_result_cache,
        dry_run=arguments.dry_run,
        interactive_mode=False,
    )
    if arguments.detach:
        if place_of(mode) != "remote":
            raise UsageError("--detach is for runs on Kubernetes: --mode remote")
        runner = replace(runner, detach=True)
    if not (output.quiet or output.as_json):
        from imagekit.cli.lines import Lines  # noqa: PLC0415

        # Not live: tasks may print while images are built.
        runner = replace(runner, progress=Lines(sys.stderr))
    if output.quiet or not arguments.follow:
        silent = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (until the end)
        return replace(runner, stream=silent, begun=begun)
    from imagekit.cli.run_following import EventLines  # noqa: PLC0415

    return replace(runner, listener=EventLines(output), begun=begun)


def _pairs(option: str, texts: list[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} wants NAME=VALUE, found {text!r}")
        found[name] = value
    return found
