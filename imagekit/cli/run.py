"""Run a task of a file: in this process, or in containers made from its images."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from imagekit.cli.output import Output
from imagekit.cli.usage import Parser, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagekit.errors import ImageKitError
    from imagekit.run import Runner
    from imagekit.run_events import Event
    from imagekit.run_records import RunRecord
    from imagekit.task import TaskTemplate
    from imagekit.task_errors import RuntimeUserError

EXAMPLES = """\
examples:
  imagekit run pipeline.py train --rounds 3            in this process
  imagekit run pipeline.py train --mode container      in the image of its environment
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
        "--mode", metavar="MODE", help="local, or container; by default the setting"
    )
    parser.add_argument("--name", metavar="NAME", help="name of the run")
    parser.add_argument(
        "--version", metavar="VERSION", help="version of the code; by default its hash"
    )
    parser.add_argument(
        "--copy-style",
        choices=("loaded_modules", "all", "none"),
        default="loaded_modules",
        help="the code that containers get (default: loaded_modules)",
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
    from imagekit.cli.task_files import load_task  # noqa: PLC0415  (not for --help)
    from imagekit.cli.task_options import add_inputs  # noqa: PLC0415

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
    from imagekit.cli.task_options import inputs_of  # noqa: PLC0415  (not for --help)
    from imagekit.errors import ImageKitError  # noqa: PLC0415

    task = arguments.found
    records: list[RunRecord] = []
    runner = _runner(arguments, output, records.append)
    inputs = inputs_of(arguments)
    if arguments.dry_run:
        return _outline(runner, task, inputs, output)
    # What tasks print in this process is talk; stdout is for the result.
    stdout, sys.stdout = sys.stdout, sys.stderr
    try:
        done = runner.run(task, **inputs)
    except ImageKitError as error:
        _show_run(records, output)
        _hide_secrets(error, records)
        raise
    except (Exception, SystemExit) as error:
        _show_run(records, output)
        failure = _failed(task, error, records)
        _hide_secrets(failure, records)
        raise failure from error
    finally:
        sys.stdout = stdout
    _show(done, output)
    return 0


def _show_run(records: list[RunRecord], output: Output) -> None:
    """Show where a run that failed is recorded, if it had begun."""
    from imagekit.run_records import RunRecords  # noqa: PLC0415  (not for --help)

    for record in records:
        name = record.name
        view = RunRecords(record.folder.parent).open(name)
        output.document |= view.as_json()
        output.talk(f"run {name} {view.status}; 'imagekit runs {name}' shows it")


def _hide_secrets(error: ImageKitError, records: list[RunRecord]) -> None:
    """Keep what the tasks know out of what is shown of *error*, as of their logs."""
    for record in records:
        hide = record.redactor
        error.message = hide(error.message)
        error.hint = error.hint and hide(error.hint)
        notes: list[str] = getattr(error, "__notes__", [])
        notes[:] = [hide(note) for note in notes]


def _failed(
    task: TaskTemplate[..., Any], error: BaseException, records: list[RunRecord]
) -> RuntimeUserError:
    """Return what says that *task* failed, with the user's part of the traceback."""
    from imagekit.failure_texts import message_text  # noqa: PLC0415  (not for --help)
    from imagekit.failures import encode_failure, failure_text  # noqa: PLC0415
    from imagekit.task_errors import RuntimeUserError  # noqa: PLC0415

    text = message_text(error)
    kind = type(error).__name__
    failure = RuntimeUserError(
        f"the task {task.name!r} failed: {kind}: {text}"
        if text
        else f"the task {task.name!r} failed: {kind}",
        hint=f"'imagekit runs {records[0].name} --logs' shows what the tasks printed"
        if records
        else None,
        origin=str(task.origin),
    )
    failure.add_note(failure_text(encode_failure(error)))
    return failure


def _show(done: Any, output: Output) -> None:
    from imagekit.run import Run  # noqa: PLC0415  (not for --help)

    assert isinstance(done, Run)
    view = done.details()
    output.document |= view.as_json()
    result = done.outputs()
    if result is not None:
        output.line(result if isinstance(result, str) else repr(result))
    output.talk(f"run {done.name} {done.status}; 'imagekit runs {done.name}' shows it")


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
    from imagekit.run import with_runcontext  # noqa: PLC0415

    runner = with_runcontext(
        mode=arguments.mode,
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
    if not (output.quiet or output.as_json):
        from imagekit.cli.lines import Lines  # noqa: PLC0415

        # Not live: tasks may print while images are built.
        runner = replace(runner, progress=Lines(sys.stderr))
    if output.quiet or not arguments.follow:
        silent = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (until the end)
        return replace(runner, stream=silent, begun=begun)
    return replace(runner, listener=_Follower(output), begun=begun)


class _Follower:
    """Says what begins and ends."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._names: dict[str, str] = {}

    def __call__(self, event: Event) -> None:
        from imagekit.run_events import AttemptStarted, Ended, Started  # noqa: PLC0415

        if isinstance(event, Started):
            self._names[event.id] = event.name
            self._output.talk(f"{event.id} {event.name} started")
        elif isinstance(event, AttemptStarted) and event.number > 1:
            name = self._names.get(event.id, "")
            self._output.talk(f"{event.id} {name} attempt {event.number}")
        elif isinstance(event, Ended):
            name = self._names.get(event.id, "")
            self._output.talk(f"{event.id} {name} {event.status}")


def _pairs(option: str, texts: list[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} wants NAME=VALUE, found {text!r}")
        found[name] = value
    return found
