"""Options of the command line that are a task's inputs, made from its signature."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentTypeError, BooleanOptionalAction, Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from imagekit.cli.option_values import plain, read, type_text
from imagekit.cli.usage import Parser
from imagekit.errors import ImageKitError

if TYPE_CHECKING:
    from imagekit.interface import Parameter

#: Keeps inputs apart from options of the command of the same name.
_PREFIX = "input:"
#: Characters of a default in the help.
_WIDTH = 60


class Inputs(Protocol):
    """What has inputs: an interface, or what is known of one."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The inputs, in order."""


def add_inputs(parser: Parser, interface: Inputs) -> None:
    """Add an option for each parameter of a task."""
    taken = {name for action in parser._actions for name in action.option_strings}  # noqa: SLF001  (argparse has no other way to ask)
    group = parser.add_argument_group("inputs of the task")
    for parameter in interface.parameters:
        added = _add(group, parameter, taken)
        taken.update(added.option_strings)


def inputs_of(arguments: Namespace) -> dict[str, Any]:
    """Return the inputs that were given."""
    return {
        name.removeprefix(_PREFIX): value
        for name, value in vars(arguments).items()
        if name.startswith(_PREFIX)
    }


def _add(group: Any, parameter: Parameter, taken: set[str]) -> Any:
    name = _option_name(parameter.name, taken)
    common: dict[str, Any] = {
        "dest": f"{_PREFIX}{parameter.name}",
        "default": SUPPRESS,
        "required": not parameter.has_default,
        "help": _help(parameter),
    }
    annotation = plain(parameter.annotation)
    if annotation is bool and f"--no-{name}" not in taken:
        return group.add_argument(f"--{name}", action=BooleanOptionalAction, **common)
    return group.add_argument(
        f"--{name}",
        metavar=parameter.name.strip("_").upper() or parameter.name,
        type=reader(annotation),
        **common,
    )


def _option_name(parameter: str, taken: set[str]) -> str:
    """Return what no option is called yet, not even one of the command."""
    bare = parameter.strip("_").replace("_", "-") or parameter
    for name in (bare, f"input-{bare}"):
        if f"--{name}" not in taken:
            return name
    return f"input-{parameter}"


def _help(parameter: Parameter) -> str:
    text = type_text(parameter.annotation)
    if parameter.has_default:
        default = repr(parameter.default)
        if len(default) > _WIDTH:
            default = f"{default[: _WIDTH - 3]}..."
        text += f" (default: {default})"
    return text.replace("%", "%%")


def reader(annotation: Any) -> Callable[[str], Any]:
    """Return what makes a value of that type from a text, for argparse."""

    def value_of(text: str) -> Any:
        try:
            return read(annotation, text)
        except ImageKitError as error:  # a file that is not there
            raise ArgumentTypeError(error.message) from error
        except (ValueError, TypeError) as error:
            raise ArgumentTypeError(
                f"wanted {type_text(annotation)}, found {text!r} ({error})"
            ) from error

    return value_of
