"""Run a task of a file: in this process, or in containers made from its images."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from imagekit.cli.output import Output
from imagekit.cli.usage import Parser, UsageError

if TYPE_CHECKING:
    from imagekit.run import Runner
    from imagekit.run_events import Event
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
    from imagekit.cli.task_options import add_inputs  # noqa: PLC0415  (not for --help)

    wanted = [word for word in argv if word not in ("-h", "--help")]
    if len(_positional(parser, wanted)) < 2:  # noqa: PLR2004  (FILE and TASK)
        return parser.parse_args(argv)
    known, _ = parser.parse_known_args(wanted)
    task = load_task(known.file, known.task)
    parser.prog = f"imagekit run {known.file} {known.task}"
    parser.description = task.docs or parser.description
    add_inputs(parser, task.interface)
    found = parser.parse_args(argv)
    found.found = task
    return found


def _positional(parser: Parser, argv: list[str]) -> list[str]:
    try:
        known, _ = parser.parse_known_args(argv)
    except UsageError:
        return []
    return [known.file, known.task]


def load_task(file: str, name: str) -> TaskTemplate[..., Any]:
    """Return the task of *file* that *name* means.

    Raises:
        ImageKitError: the file can't be run, or has no such task, or several.
    """
    from imagekit.cli.definitions import load_module  # noqa: PLC0415  (see above)
    from imagekit.errors import DefinitionError  # noqa: PLC0415
    from imagekit.nearest import suggestion  # noqa: PLC0415
    from imagekit.settings import load_settings  # noqa: PLC0415

    module = load_module(file)
    known = {task.name: task for task in _tasks(module)}
    if name in known:
        return known[name]
    found = [task for task in known.values() if name in _names(task)]
    if len(found) > 1:
        preferred = load_settings().environment
        chosen = [task for task in found if task.environment.name == preferred]
        found = chosen or found
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(task.name for task in found)
        raise DefinitionError(
            f"several tasks in {file!r} are called {name!r}",
            hint=f"name one in full: {shown}; or set 'environment'",
        )
    short = [item for task in known.values() for item in _names(task)]
    raise DefinitionError(
        f"no task {name!r} in {file!r}",
        hint=suggestion(name, short) if short else "define one with @env.task",
    )


def _tasks(module: Any) -> list[TaskTemplate[..., Any]]:
    from imagekit.task import TaskTemplate  # noqa: PLC0415  (not for --help)
    from imagekit.task_environment import TaskEnvironment  # noqa: PLC0415

    found: list[TaskTemplate[..., Any]] = []
    for value in list(vars(module).values()):
        if isinstance(value, TaskTemplate):
            found.append(value)
        elif isinstance(value, TaskEnvironment):
            found += value.tasks.values()
    return found


def _names(task: TaskTemplate[..., Any]) -> tuple[str, str]:
    return task.name.rpartition(".")[2], task.short_name


def run(arguments: Namespace, output: Output) -> int:
    """Run the task, and print what it returns."""
    from imagekit.cli.task_options import inputs_of  # noqa: PLC0415  (not for --help)
    from imagekit.errors import ImageKitError  # noqa: PLC0415

    task = arguments.found
    runner = _runner(arguments, output)
    inputs = inputs_of(arguments)
    if arguments.dry_run:
        return _outline(runner, task, inputs, output)
    # What tasks print in this process is talk; stdout is for the result.
    stdout, sys.stdout = sys.stdout, sys.stderr
    try:
        done = runner.run(task, **inputs)
    except ImageKitError:
        raise
    except Exception as error:
        raise _failed(task, error) from error
    finally:
        sys.stdout = stdout
    _show(done, output)
    return 0


def _failed(task: TaskTemplate[..., Any], error: Exception) -> RuntimeUserError:
    """Return what says that *task* failed, with the user's part of the traceback."""
    from imagekit.failures import encode_failure, failure_text  # noqa: PLC0415
    from imagekit.task_errors import RuntimeUserError  # noqa: PLC0415

    kind = type(error).__name__
    failure = RuntimeUserError(
        f"the task {task.name!r} failed: {kind}: {error}",
        hint="'imagekit runs' lists this run; 'imagekit runs NAME --logs' has its logs",
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


def _runner(arguments: Namespace, output: Output) -> Runner:
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
    if output.quiet or not arguments.follow:
        return replace(runner, stream=open(os.devnull, "w", encoding="utf-8"))
    return replace(runner, listener=_Follower(output))


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
