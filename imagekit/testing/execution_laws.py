"""Laws of builders that execute: what commands see, and what is left of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from imagekit.errors import BuildFailedError
from imagekit.oci.config import read_config
from imagekit.plan import (
    BuildDockerfile,
    CopyTree,
    Plan,
    PlatformPlan,
    RunCommands,
    SetEnv,
    SetWorkdir,
)
from imagekit.sources import Tree
from imagekit.testing.bench import Bench, Work
from imagekit.testing.files import FOLDER, FileTree, Node, differences
from imagekit.testing.law import law
from imagekit.testing.oracle import expected_environment, expected_files
from imagekit.testing.plans import (
    CREATED,
    HOSTILE,
    WORKDIR,
    origin,
    settings_steps,
)
from imagekit.testing.trees import files

_FAILURE = "echo words of the command >&2; exit 37"
_DOCKERFILE = """\
FROM scratch AS wanted
ARG GREETING=unset
ENV GREETING=$GREETING
COPY . /app/
WORKDIR /app/work
USER 7
FROM wanted AS unwanted
COPY hello.txt /unwanted.txt
"""
_GREETING = 'it\'s "quoted" $HOME \\ é'


@law("commands")
def commands(bench: Bench) -> Iterator[str]:
    """Commands see variables, folder and files of earlier steps, as root."""
    bench.need(RunCommands, CopyTree, SetEnv, SetWorkdir)
    work = bench.build(_commands_plan(bench))
    for plan, image in work.pairs():
        assert plan.base is not None
        wanted = expected_files(plan, bench.base_files(plan.base), {})
        _execute(wanted, expected_environment(plan))
        yield from differences(wanted, bench.files(work, image))
        found = read_config(work.config(image))
        if dict(found.env) != expected_environment(plan):
            yield "the commands changed the environment variables of the image"
    for _, entry in bench.added(work):
        if entry.mtime > CREATED:
            yield f"{entry.raw!r} is younger than the plan's time stamp"
    yield from _told(bench, work)


def _commands_plan(bench: Bench) -> Plan:
    names = " ".join(f"HOSTILE_{name}" for name in HOSTILE)
    source = bench.folder / "sources" / "commands"
    tree = files(source, {"hello.txt": b"hello\n", "removed.txt": b"removed\n"})
    later = files(bench.folder / "sources" / "on-top", {"later.txt": b"later\n"})
    return bench.plans.of(
        *settings_steps(),
        CopyTree(tree=tree, destination=WORKDIR, label="files", origin=origin(20)),
        RunCommands(
            commands=(
                f"echo {bench.plans.nonce}",
                f'for name in {names}; do printenv "$name" > "seen $name"; done',
                "pwd > 'seen folder'; cat hello.txt > 'seen file'; id -u > 'seen user'",
                "rm removed.txt && printf changed > hello.txt",
                "mkdir -m 750 made && cd made && ln -s ../hello.txt link",
            ),
            origin=origin(21),
        ),
        CopyTree(
            tree=later, destination=f"{WORKDIR}/made", label="x", origin=origin(22)
        ),
        RunCommands(
            commands=("cat made/later.txt made/link > 'seen later'",),
            origin=origin(23),
        ),
    )


def _execute(tree: FileTree, environment: dict[str, str]) -> None:
    """Do to *tree*, which has all that was copied, what the commands do."""
    folder = WORKDIR.strip("/")
    made = {
        **{
            f"seen HOSTILE_{name}": f"{environment[f'HOSTILE_{name}']}\n".encode()
            for name in HOSTILE
        },
        "seen folder": f"{WORKDIR}\n".encode(),
        "seen file": b"hello\n",
        "seen user": b"0\n",
        "seen later": b"later\nchanged",
        "hello.txt": b"changed",
    }
    for name, content in made.items():
        tree.put(f"{folder}/{name}", Node.file(content))
    tree.remove(f"{folder}/removed.txt")
    tree.put(f"{folder}/made", Node(type="directory", mode=0o750))
    tree.put(f"{folder}/made/link", Node.link("../hello.txt"))


def _told(bench: Bench, work: Work) -> Iterator[str]:
    if bench.plans.nonce not in work.built.log:
        yield "Built.log has not what the commands printed"
    if not work.built.steps:
        yield "Built.steps tells of no step that was executed"


@law("commands-again")
def commands_again(bench: Bench) -> Iterator[str]:
    """Executing the same commands anew gives the same digest."""
    bench.need(RunCommands)
    # What engines leave behind: times, folders that are gone again, links in two ways.
    plan = bench.plans.of(
        RunCommands(
            commands=(
                "mkdir -p /srv/again/empty /srv/again/gone && rmdir /srv/again/gone",
                "cd /srv/again && echo one > one && ln one two && touch -d @5 old",
                "cd /srv/again && mkdir b a c && touch b/x a/x c/x",
            ),
            origin=origin(27),
        )
    )
    anew = replace(bench.execution, no_cache=True)
    digests = [bench.build(plan, execution=anew).built.digest for _ in range(2)]
    if digests[0] != digests[1]:
        yield f"found {digests[0]}, and then {digests[1]}"


@law("failure")
def failure(bench: Bench) -> Iterator[str]:
    """A failing command is told with its exit code, output and origin."""
    bench.need(RunCommands)
    plan = bench.plans.of(
        RunCommands(commands=("true",), origin=origin(24)),
        RunCommands(commands=("true", _FAILURE), origin=origin(25)),
    )
    try:
        bench.build(plan)
    except BuildFailedError as error:
        if _FAILURE not in f"{error} {' '.join(error.argv)}":
            yield f"the error does not name the command {_FAILURE!r}: {error}"
        if error.exit_code != 37:  # noqa: PLR2004  (of the command)
            yield f"wanted the exit code 37, found {error.exit_code!r}"
        if error.origin != str(origin(25)):
            yield f"wanted the origin {str(origin(25))!r}, found {error.origin!r}"
        if "words of the command" not in error.log_tail:
            yield f"log_tail has not what the command printed: {error.log_tail!r}"
    except Exception as error:  # noqa: BLE001  (a builder may raise anything)
        yield f"wanted BuildFailedError, found {type(error).__name__}: {error}"
    else:
        yield "the command failed, and the build did not"


@law("dockerfile")
def dockerfile(bench: Bench) -> Iterator[str]:
    """A Dockerfile is built with its context, arguments and target."""
    bench.need(BuildDockerfile)
    context = files(bench.folder / "sources" / "dockerfile", {"hello.txt": b"hello\n"})
    work = bench.build(_dockerfile_plan(bench, context))
    folder = Node(type="directory", mode=FOLDER.mode)
    wanted = FileTree()
    wanted.put("app", folder)
    wanted.put("app/hello.txt", Node.file(b"hello\n"))
    wanted.put("app/work", folder)
    for image in work.built.images:
        yield from differences(wanted, bench.files(work, image))
        found = read_config(work.config(image))
        if dict(found.env).get("GREETING") != _GREETING:
            yield f"wanted GREETING={_GREETING!r}, found {found.env!r}"
        if (found.user, found.workdir) != ("7", "/app/work"):
            yield f"found user {found.user!r} and folder {found.workdir!r}"
    for _, entry in bench.added(work):
        if entry.mtime > CREATED:
            yield f"{entry.raw!r} is younger than the plan's time stamp"


def _dockerfile_plan(bench: Bench, context: Tree) -> Plan:
    step = BuildDockerfile(
        file="Conformance.Dockerfile",
        text=_DOCKERFILE,
        context=context,
        build_args=(("GREETING", _GREETING),),
        target="wanted",
        origin=origin(26),
    )
    platform = next(iter(bench.plans.bases))
    return Plan(
        identifier="ik1-conformance",
        content_id="ik1-conformance-dockerfile",
        platforms=(PlatformPlan(platform=platform, base=None, steps=(step,)),),
        created=CREATED,
    )
