"""The command ``imagekit``. Each command is a module, imported when it is run."""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from types import ModuleType

from imagekit.cli.output import Output
from imagekit.cli.usage import Parser, UsageError
from imagekit.nearest import suggestion

__all__ = ["main"]

#: Command to its module and what it does, in the order of the help.
COMMANDS = {
    "build": ("build", "build the images of a file"),
    "id": ("id", "print what identifies the images of a file"),
    "plan": ("plan", "show what a build would read, fetch, make and upload"),
    "dockerfile": ("dockerfile", "print an image as a Dockerfile"),
    "inspect": ("inspect", "show what is in an image"),
    "run": ("run", "run a task here, in a container or on Kubernetes"),
    "deploy": ("deploy", "deploy the environments of a file to Kubernetes"),
    "prune": ("prune", "delete old versions and runs from Kubernetes"),
    "runs": ("runs", "show past runs, with their tasks, results and logs"),
    "runs show": ("runs_show", "show a past run"),
    "runs attach": ("runs_attach", "follow a run on Kubernetes again"),
    "cancel": ("cancel", "cancel a run on Kubernetes"),
    "cache ls": ("cache_ls", "show what is in the content store"),
    "cache gc": ("cache_gc", "remove what is not needed from the content store"),
    "doctor": ("doctor", "check what imagekit finds on this machine"),
    "config": ("config", "show the settings and where they come from"),
    "version": ("version", "print the version"),
}

_OK, _FAILED, _USAGE, _INTERRUPTED = 0, 1, 2, 130


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0: done, 1: an error, 2: the command line is wrong, 130: interrupted.
    """
    # Few objects die here but those that reference counts free; looking for cycles
    # thousands of times while modules load costs a tenth of a short run.
    gc.set_threshold(200_000)
    arguments = sys.argv[1:] if argv is None else argv
    output = Output(as_json="--json" in arguments)
    try:
        code = _guarded(arguments, output)
        output.finish()
    except BrokenPipeError:
        _discard_stdout()
        code = _FAILED
    return code


def _guarded(argv: list[str], output: Output) -> int:
    """Run the command; turn every way of failing into a message and a code."""
    from imagekit.errors import ImageKitError  # noqa: PLC0415  (not for --help)

    try:
        return _run(argv, output)
    except SystemExit:  # argparse has shown the help
        output.as_json = False
        return _OK
    except UsageError as error:
        from imagekit.cli import faults  # noqa: PLC0415  (only for errors)

        output.document["error"] = {"kind": "UsageError", "message": str(error)}
        faults.show(str(error), hint=error.hint)
        return _USAGE
    except ImageKitError as error:
        from imagekit.cli import faults  # noqa: PLC0415  (only for errors)

        faults.report(error, output)
        return _FAILED
    except KeyboardInterrupt:
        output.document["error"] = {"kind": "Interrupted", "message": "interrupted"}
        print("interrupted", file=sys.stderr)  # noqa: T201  (stderr is talk)
        return _INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001  (shown in full, with its traceback)
        from imagekit.cli import faults  # noqa: PLC0415  (only for errors)

        faults.report_unexpected(error, output)
        return _FAILED


def _run(argv: list[str], output: Output) -> int:
    name, rest = _split(argv)
    if name is None:
        return _without_command(rest, output)
    module = _load(name)
    parser = Parser(
        prog=f"imagekit {name}",
        description=module.__doc__ and module.__doc__.partition("\n\n")[0],
        epilog=getattr(module, "EXAMPLES", None),
    )
    module.configure(parser)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON document on stdout"
    )
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="say nothing but errors on stderr"
    )
    prepare = getattr(module, "prepare", list)
    parse = getattr(module, "parse", None)  # for options that depend on others
    arguments = (
        parse(parser, rest) if parse else parser.parse_intermixed_args(prepare(rest))
    )
    output.as_json, output.quiet = arguments.json, arguments.quiet
    code: int = module.run(arguments, output)
    return code


def _split(argv: list[str]) -> tuple[str | None, list[str]]:
    """Return the command, of one or two words, and what follows it."""
    for words in (2, 1):
        name = " ".join(argv[:words])
        if name in COMMANDS:
            return name, argv[words:]
    return None, argv


def _load(name: str) -> ModuleType:
    return import_module(f"imagekit.cli.{COMMANDS[name][0]}")


def _without_command(argv: list[str], output: Output) -> int:
    if argv[:1] in (["--version"], ["-V"]):
        return int(_load("version").run(None, output))
    words = [word for word in argv if not word.startswith("-")]
    group = [name for name in COMMANDS if name.split()[0] in words[:1]]
    if not argv or "-h" in argv or "--help" in argv:
        sys.stdout.write(_help(group or list(COMMANDS)))
        return _OK if argv else _USAGE
    if group and len(words) == 1:
        raise UsageError(f"wanted {' or '.join(map(repr, group))}")
    wrong = " ".join(words[:2] if group else (words or argv)[:1])
    raise UsageError(f"no command {wrong!r}", hint=suggestion(wrong, group or COMMANDS))


def _help(names: list[str]) -> str:
    width = max(map(len, COMMANDS)) + 2
    rows = "".join(f"  {name:{width}}{COMMANDS[name][1]}\n" for name in names)
    return (
        "usage: imagekit COMMAND ...\n\n"
        "Turn a few lines of Python into a container image, with no container engine.\n"
        f"\ncommands:\n{rows}\n"
        "'imagekit COMMAND --help' shows the options of a command.\n"
    )


def _discard_stdout() -> None:
    """Whoever read our output has gone; let the exit of Python not complain."""
    import os  # noqa: PLC0415  (only for broken pipes)

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
