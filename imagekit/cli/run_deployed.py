"""``imagekit run --deployed``: a task that was deployed, without its file."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from imagekit.cli.usage import Parser, UsageError
from imagekit.records import dataclass, replace

if TYPE_CHECKING:
    from imagekit.cluster.documents import Json, TaskDocument
    from imagekit.remote.remote_run import RemoteRun
    from imagekit.run import Runner
    from imagekit.values.signature import Parameter

_OPTION = "--deployed"


def is_wanted(argv: list[str]) -> bool:
    """Return whether a command line names a deployed task."""
    return any(word == _OPTION or word.startswith(f"{_OPTION}=") for word in argv)


def parse(parser: Parser, argv: list[str]) -> Namespace:
    """Return the arguments, with those that the task's description asks for.

    Raises:
        UsageError: the command line is wrong.
        ImageKitError: there is no such task, or the cluster can't be reached.
    """
    from imagekit.cli.task_options import add_inputs  # noqa: PLC0415  (not for --help)
    from imagekit.initialization import configuration  # noqa: PLC0415
    from imagekit.remote.client import Client  # noqa: PLC0415
    from imagekit.remote.deployed_tasks import find_deployed  # noqa: PLC0415
    from imagekit.run import Runner  # noqa: PLC0415

    _forget_positionals(parser)
    wanted = [word for word in argv if word not in ("-h", "--help")]
    known, _ = parser.parse_known_args(wanted)
    for name in ("version", "dry_run"):
        if getattr(known, name):
            raise UsageError(
                f"--{name.replace('_', '-')} is for tasks of files",
                hint=f"write {_OPTION} ENVIRONMENT.TASK@VERSION for another version",
            )
    if known.mode not in (None, "remote"):
        raise UsageError(f"{_OPTION} runs on the cluster, not in mode {known.mode!r}")
    configured = configuration()
    client = Client.of(configured.settings(), configured, Runner())
    deployed = find_deployed(client.cluster, known.deployed)
    parser.prog = f"imagekit run {_OPTION} {known.deployed}"
    parser.description = deployed.task.docs or parser.description
    add_inputs(parser, _Inputs(_parameters(deployed.task)))
    found = parser.parse_args(argv)
    found.client, found.found = client, deployed
    return found


def begin(arguments: Namespace, runner: Runner) -> RemoteRun:
    """Begin the run.

    Raises:
        ImageKitError: an input is not of its type, or the cluster refuses.
    """
    from imagekit.cli.task_options import inputs_of  # noqa: PLC0415  (not for --help)
    from imagekit.remote.beginning import begin_deployed  # noqa: PLC0415
    from imagekit.values import encode  # noqa: PLC0415

    task: TaskDocument = arguments.found.task
    types = {item.name: item.annotation for item in _parameters(task)}
    client = replace(arguments.client, runner=runner)
    given = {
        name: encode(
            value,
            types[name],
            client.blobs,
            subject=f"input {name!r} of {task.name}",
        )
        for name, value in inputs_of(arguments).items()
    }
    return begin_deployed(
        client, arguments.found.environments, task, {**task.defaults, **given}
    )


def _parameters(task: TaskDocument) -> tuple[Parameter, ...]:
    """Return the inputs that can be given here.

    Raises:
        DeploymentError: one has to be given, and can't be.
    """
    from imagekit.task_errors import DeploymentError  # noqa: PLC0415
    from imagekit.values.described import annotation_of  # noqa: PLC0415
    from imagekit.values.misfit import UnsupportedError  # noqa: PLC0415
    from imagekit.values.signature import MISSING, Parameter  # noqa: PLC0415

    found = []
    for name, description in task.interface["inputs"]:
        default: Any = MISSING
        if name in task.defaults:
            default = _Default(task.defaults[name])
        try:
            annotation = annotation_of(description)
        except UnsupportedError as error:
            if default is not MISSING:
                continue
            raise DeploymentError(
                f"the input {name!r} of {task.name!r} can't be given here: "
                f"{error.message}",
                hint=error.hint,
            ) from error
        found.append(Parameter(name=name, annotation=annotation, default=default))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Inputs:
    """The inputs of a deployed task."""

    parameters: tuple[Parameter, ...]


class _Default:
    """A default, as the help shows it."""

    def __init__(self, document: Json) -> None:
        self._document = document

    def __repr__(self) -> str:
        return json.dumps(self._document)


def _forget_positionals(parser: Parser) -> None:
    """Want neither a file nor a task of it."""
    positionals = parser._positionals  # noqa: SLF001  (argparse has no other way)
    for action in list(positionals._group_actions):  # noqa: SLF001
        positionals._remove_action(action)  # noqa: SLF001
