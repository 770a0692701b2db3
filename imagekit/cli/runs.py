"""Show past runs of tasks, or one of them with all that it called.

A run is shown as lost if the process that ran it died without saying how it ended, or
stopped to follow it on Kubernetes: 'imagekit runs attach NAME' follows it again.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from imagekit.cli.output import Output
from imagekit.cli.sizes import seconds_text
from imagekit.cli.usage import Parser, UsageError

if TYPE_CHECKING:
    from imagekit.run_records import RunRecords
    from imagekit.run_tree import ActionNode
    from imagekit.run_view import RunView

EXAMPLES = """\
examples:
  imagekit runs --limit 5
  imagekit runs r20250611-142530-3f9a61
  imagekit runs r20250611-142530-3f9a61 --logs a0.2
  imagekit runs --remote                            those on Kubernetes
  imagekit runs attach r20250611-142530-3f9a61      follow one of them
"""

_ALL = ""
_LIMIT = 20
#: Longer values are cut; --json has all of them.
_WIDTH = 200


def configure(parser: Parser) -> None:
    """Add the command's options."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="the run to show")
    add_logs(parser)
    parser.add_argument(
        "--remote",
        action="store_true",
        help="list the runs on Kubernetes, whoever began them",
    )
    parser.add_argument(
        "--limit",
        metavar="N",
        type=int,
        default=_LIMIT,
        help=f"show the latest N runs (default: {_LIMIT})",
    )


def add_logs(parser: Parser) -> None:
    """Add the option that prints logs."""
    parser.add_argument(
        "--logs",
        metavar="ACTION",
        nargs="?",
        const=_ALL,
        help="print what the run's tasks printed, or only that of one action",
    )


def run(arguments: Namespace, output: Output) -> int:
    """Print runs, a run, or its logs."""
    if arguments.limit < 1:
        raise UsageError(f"--limit wants a number from 1, found {arguments.limit}")
    if arguments.logs is not None and arguments.name is None:
        raise UsageError(
            "--logs wants the name of a run",
            hint="write it first: imagekit runs NAME --logs",
        )
    if arguments.remote:
        _list_remote(arguments, output)
        return 0
    if arguments.name is None:
        _list(_records(), arguments.limit, output)
    else:
        show(arguments.name, arguments.logs, output)
    return 0


def show(name: str, logs: str | None, output: Output) -> None:
    """Print a run, or what its tasks printed: all of it if *logs* is empty."""
    view = _records().open(name)
    if logs is not None:
        _print_logs(view, logs, output)
        return
    output.document |= view.as_json()
    for line in _lines(view):
        output.line(line)


def _records() -> RunRecords:
    from imagekit.run_records import RUNS, RunRecords  # noqa: PLC0415  (not for --help)
    from imagekit.settings import load_settings  # noqa: PLC0415

    return RunRecords(load_settings().record_dir / RUNS)


def _list(records: RunRecords, limit: int, output: Output) -> None:
    from imagekit.errors import ImageKitError  # noqa: PLC0415  (not for --help)

    runs: list[dict[str, Any]] = []
    output.document |= {"folder": str(records.folder), "runs": runs}
    names = records.names()
    rows: list[tuple[str, ...]] = []
    for name in names[:limit]:
        try:
            view = records.open(name)
        except ImageKitError as error:  # one that is damaged hides no others
            runs.append({"name": name, "status": "unreadable", "error": error.message})
            rows.append((name, "unreadable", "", "", error.message, ""))
            continue
        document = view.as_json()
        del document["tree"]
        runs.append(document)
        rows.append(
            (
                name,
                view.status,
                _time(view.started),
                _duration(view.seconds),
                view.task,
                view.image or "",
            )
        )
    for line in _table(rows):
        output.line(line)
    if len(names) > limit:
        output.talk(f"{len(names) - limit} more; --limit shows more of them")
    if not names:
        output.talk(f"no runs in {str(records.folder)!r}")


def _list_remote(arguments: Namespace, output: Output) -> None:
    from imagekit.cluster.client import client_cluster  # noqa: PLC0415  (not for --help)
    from imagekit.initialization import configuration  # noqa: PLC0415
    from imagekit.remote.listing import list_runs  # noqa: PLC0415

    if arguments.name is not None:
        raise UsageError(
            "--remote lists runs, and wants no name",
            hint=f"imagekit runs attach {arguments.name}",
        )
    configured = configuration()
    cluster = client_cluster(configured.settings(), configured)
    found, more = list_runs(cluster, limit=arguments.limit)
    output.document |= {
        "namespace": cluster.namespace,
        "runs": [run.as_json() for run in found],
    }
    rows: list[tuple[str, ...]] = [
        (
            run.name,
            run.status,
            "" if run.started is None else _time(run.started),
            run.task,
            run.version,
        )
        for run in found
    ]
    for line in _table(rows):
        output.line(line)
    if more:
        output.talk(f"{more} more; --limit shows more of them")
    if not found:
        output.talk(f"no runs in the namespace {cluster.namespace!r}")


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()


def _lines(view: RunView) -> Iterator[str]:
    yield f"{view.name}  {_state(view.status, view.seconds)}"
    yield f"  task     {view.task}"
    yield f"  mode     {view.mode}"
    yield f"  started  {_time(view.started)}"
    if view.version:
        yield f"  version  {view.version}"
    for image in view.images:
        yield f"  image    {image}"
    for name, value in view.labels:
        yield f"  label    {name}={value}"
    yield f"  folder   {view.folder}"
    if view.error is not None and (view.root is None or view.root.error is None):
        yield f"  error    {_error(view.error)}"
    root = view.tree()
    for depth, action in root.walk() if root else ():
        if depth == 0:
            yield ""
        indent = "  " * depth
        for line in _action(action, view):
            yield f"{indent}{line}"


def _action(action: ActionNode, view: RunView) -> Iterator[str]:
    state = _state(action.status, action.seconds)
    kind = "" if action.kind == "task" else f" ({action.kind})"
    yield f"{action.id}  {action.name}{kind}  {state}"
    if action.inputs is not None:
        yield f"    inputs   {_cut(json.dumps(action.inputs))}"
    if action.outputs is not None:
        yield f"    outputs  {_cut(json.dumps(action.outputs))}"
    if action.error is not None:
        yield f"    error    {_error(action.error)}"
    if len(action.attempts) > 1:
        for attempt in action.attempts:
            took = attempt.ended and attempt.ended - attempt.started
            why = f": {_error(attempt.error)}" if attempt.error is not None else ""
            yield f"    attempt {attempt.number}  {_state(attempt.status, took)}{why}"
    if action.image is not None and action.image != view.image:
        yield f"    image    {action.image}"
    if action.report:
        yield f"    report   {view.report_path(action.id)}"


def _print_logs(view: RunView, action: str, output: Output) -> None:
    from imagekit.nearest import suggestion  # noqa: PLC0415  (not for --help)
    from imagekit.task_errors import RuntimeUserError  # noqa: PLC0415

    known = {node.id: node for _, node in (view.root.walk() if view.root else ())}
    chosen = view.logs if action == _ALL else (action,)
    if action != _ALL and action not in known:
        raise RuntimeUserError(
            f"no action {action!r} in the run {view.name!r}",
            hint=suggestion(action, known),
        )
    if output.as_json:
        logs = {name: view.log(name).decode("utf-8", "replace") for name in chosen}
        output.document |= {"name": view.name, "logs": logs}
        return
    for name in chosen:
        if len(chosen) > 1:
            task = known[name].name if name in known else ""
            output.line(f"==> {name} {task}".rstrip())
        _copy(view, name)
    if not chosen:
        output.talk("no task of the run printed anything")


def _copy(view: RunView, action: str) -> None:
    """Write a log to stdout as it is; it may be larger than memory."""
    sys.stdout.flush()
    stdout = sys.stdout.buffer
    try:
        file = view.log_path(action).open("rb")
    except FileNotFoundError:
        return
    with file:
        shutil.copyfileobj(file, stdout)
        if file.tell():
            file.seek(-1, 1)
            if file.read() != b"\n":
                stdout.write(b"\n")
    stdout.flush()


def _state(status: str, seconds: float | None) -> str:
    if seconds is None:
        return status
    between = " for " if status == "running" else " in "
    return f"{status}{between}{_duration(seconds)}"


def _duration(seconds: float | None) -> str:
    return "" if seconds is None else seconds_text(max(0.0, seconds))


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _error(error: Any) -> str:
    """Return an encoded failure as one line."""
    if isinstance(error, dict) and "message" in error:
        kind = str(error.get("class", "")).rpartition(":")[2]
        text = error["message"]
        text = text if isinstance(text, str) else json.dumps(text)
        return _cut(f"{kind}: {text}" if kind and text else kind or text)
    return _cut(json.dumps(error))


def _cut(text: str) -> str:
    line = " ".join(text.splitlines())
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 3]}..."
