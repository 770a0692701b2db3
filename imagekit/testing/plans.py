"""The plans that builders are given here."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imagekit.canonical import fingerprint
from imagekit.origin import Origin
from imagekit.plan import (
    BaseImage,
    BuildDockerfile,
    CopyTree,
    CreateVenv,
    Distribution,
    InstallAptPackages,
    InstallDistributions,
    Interpreter,
    Plan,
    PlatformPlan,
    RunCommands,
    SetEnv,
    SetWorkdir,
    Step,
)
from imagekit.platform import Platform
from imagekit.secret import Secret
from imagekit.sources import Tree
from imagekit.testing import trees
from imagekit.testing.wheels import Wheels

#: Time stamp of everything that is built here: 2023-11-14.
CREATED = 1_700_000_000

WORKDIR = "/srv/conformance app \u00e9"

#: Values that shells, Dockerfiles and JSON documents are tempted to change.
HOSTILE: dict[str, str] = {
    "PLAIN": "plain",
    "EMPTY": "",
    "SPACES": "  two  spaces, three at the end   ",
    "QUOTES": """it's "quoted" `here` '\"'\"'""",
    "DOLLARS": "$HOME ${HOME} $$ $(id) ${UNSET:-x} \\$HOME $",
    "BACKSLASHES": "\\ \\\\ \\n \\t c:\\new\\table \\",
    "NEWLINES": "first\nsecond\r\n\tthird\n\nlast\n",
    "HASH": "# no comment # here",
    "OPERATORS": "a && b || c; d | e > f < g & !h",
    "UNICODE": "\u00e9 e\u0301 \u2603 \u65e5\u672c \U0001f40d \u202e\u200b",
    "EQUALS": "=a=b==",
    "PERCENT": "%s %d %(x)s %%",
    "BRACES": "{a,b} {{x}} [c] *?",
    "OPTION": "--build-arg=x -rf",
    "HEREDOC": "<<EOF\ncat\nEOF\n",
    "DOCKERFILE": "x\nRUN touch /injected\n# syntax=evil\n",
    "CONTROL": "\x01\x1b[31m\x7f",
    "JSON": '{"a": ["b", null, "\\u0000"]}',
    "PATHS": "../../../etc/passwd:~/x",
    "LONG": "long " * 2000,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plans:
    """Makes plans out of what lies in *folder*, for builders that refuse *refuses*.

    Attributes:
        folder: where source folders are written.
        bases: a base image a platform.
        installer: uv, for what is installed inside the image of the first base.
        nonce: a word that is new in every run, for what no cache may answer.
    """

    folder: Path
    bases: dict[Platform, BaseImage]
    wheels: Wheels
    refuses: frozenset[type[Step]]
    installer: Distribution | None = None
    nonce: str = field(default_factory=lambda: secrets.token_hex(8))

    def of(self, *steps: Step, platform: Platform | None = None) -> Plan:
        """Return a plan of these steps, for the first platform unless told otherwise.

        Steps that the builder refuses are left out.
        """
        wanted = platform or next(iter(self.bases))
        kept = tuple(step for step in steps if type(step) not in self.refuses)
        return self.joined([(wanted, kept)])

    def joined(self, parts: Sequence[tuple[Platform, tuple[Step, ...]]]) -> Plan:
        """Return a plan for several platforms, in this order."""
        return Plan(
            identifier="ik1-conformance",
            content_id=f"ik1-{fingerprint('conformance', 'plan')[:40]}",
            platforms=tuple(
                PlatformPlan(
                    platform=platform,
                    base=self.bases[platform],
                    steps=steps,
                    installer=self.installer,
                )
                for platform, steps in parts
            ),
            created=CREATED,
        )

    @property
    def interpreter(self) -> Interpreter | None:
        """The Python of the first base."""
        return next(iter(self.bases.values())).interpreter

    def complete(self, platform: Platform | None = None) -> Plan:
        """Return a plan with every step that the builder takes without executing."""
        base = self.bases[platform] if platform else next(iter(self.bases.values()))
        application = self.tree("application")
        early: list[Step] = []
        late: list[Step] = []
        if base.interpreter is not None and self.installs:
            wheels, python = self.wheels, base.interpreter
            early = [
                CreateVenv(interpreter=python, origin=origin(1)),
                InstallDistributions(
                    interpreter=python,
                    distributions=(wheels.plain, wheels.leaving),
                    origin=origin(2),
                ),
            ]
            late = [
                InstallDistributions(
                    interpreter=python,
                    distributions=(wheels.newer, wheels.odd),
                    removed=(wheels.leaving.name,),
                    origin=origin(3),
                )
            ]
        return self.of(
            *early,
            *settings_steps(),
            CopyTree(
                tree=application,
                destination=f"{WORKDIR}/application",
                label="application",
                origin=origin(6),
            ),
            CopyTree(
                tree=self.tree("home"),
                destination="/root",
                label="home",
                origin=origin(7),
            ),
            *late,
            CopyTree(
                tree=self.tree("later"),
                destination=f"{WORKDIR}/application",
                label="later",
                origin=origin(8),
            ),
            CopyTree(
                tree=Tree(entries=()),
                destination="/srv/empty folder",
                label="empty",
                origin=origin(9),
            ),
            platform=base.platform,
        )

    @property
    def installs(self) -> bool:
        """Whether the builder takes the steps that install Python packages."""
        return not {CreateVenv, InstallDistributions} & self.refuses

    def tree(self, name: str) -> Tree:
        """Return one of the source folders, written when first asked for."""
        folder = self.folder / name
        if folder.exists():
            folder = self.folder / f"{name}-{secrets.token_hex(4)}"
        match name:
            case "application":
                return trees.application(folder)
            case "later":
                changed = {"hello.txt": b"changed\n", "deep/new.txt": b"new\n"}
                return trees.files(folder, changed)
            case "home":
                return trees.files(folder, {".conformance/rc": b"rc\n"})
            case _:
                return trees.files(folder, {"hello.txt": b"hello\n"})

    def single(self, kind: type[Step]) -> tuple[Step, str]:
        """Return a step of *kind*, and a word that names it."""
        python = Interpreter(path="/usr/bin/python3", version=(3, 11), full_version="3")
        samples: dict[type[Step], tuple[Step, str]] = {
            CreateVenv: (
                CreateVenv(interpreter=python, prefix="/opt/named", origin=origin(41)),
                "/opt/named",
            ),
            InstallDistributions: (
                InstallDistributions(
                    interpreter=python,
                    distributions=(self.wheels.plain,),
                    origin=origin(42),
                ),
                self.wheels.plain.name,
            ),
            CopyTree: (
                CopyTree(
                    tree=Tree(entries=()),
                    destination="/srv/named",
                    label="named",
                    origin=origin(43),
                ),
                "named",
            ),
            SetEnv: (SetEnv(variables=(("NAMED", "1"),), origin=origin(44)), "NAMED"),
            SetWorkdir: (SetWorkdir(path="/srv/named", origin=origin(45)), "named"),
            InstallAptPackages: (
                InstallAptPackages(packages=("named-package",), origin=origin(46)),
                "named-package",
            ),
            RunCommands: (
                RunCommands(commands=("echo named-command",), origin=origin(47)),
                "named-command",
            ),
            BuildDockerfile: (
                BuildDockerfile(
                    file="Named.Dockerfile",
                    text="FROM scratch\nCOPY . /\n",
                    context=Tree(entries=()),
                    origin=origin(48),
                ),
                "Named.Dockerfile",
            ),
        }
        return samples[kind]

    def of_kind(self, kind: type[Step]) -> Plan:
        """Return a plan whose last platform has one step of *kind*."""
        step, _ = self.single(kind)
        if isinstance(step, BuildDockerfile):
            platform = next(iter(self.bases))
            alone = PlatformPlan(platform=platform, base=None, steps=(step,))
            return Plan(
                identifier="ik1-conformance",
                content_id="ik1-conformance",
                platforms=(alone,),
                created=CREATED,
            )
        *others, last = self.bases
        return self.joined([*((item, ()) for item in others), (last, (step,))])


#: The kinds of steps that plans are made of, other than what builders add themselves.
KINDS: tuple[type[Step], ...] = (
    CreateVenv,
    InstallDistributions,
    CopyTree,
    SetEnv,
    SetWorkdir,
    InstallAptPackages,
    RunCommands,
    BuildDockerfile,
)
EXECUTING: frozenset[type[Step]] = frozenset(
    {InstallAptPackages, RunCommands, BuildDockerfile}
)


def settings_steps() -> tuple[Step, ...]:
    """Return steps that set environment and working directory, each more than once."""
    first = {f"HOSTILE_{name}": value for name, value in HOSTILE.items()}
    first |= {"PATH": f"/opt/venv/bin:{_PATH}", "REPLACED": "first"}
    return (
        SetWorkdir(path="/srv/first", origin=origin(4)),
        SetEnv(variables=tuple(sorted(first.items())), origin=origin(4)),
        SetEnv(variables=(("REPLACED", "second $PATH"),), origin=origin(5)),
        SetWorkdir(path=WORKDIR, origin=origin(5)),
    )


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def origin(line: int) -> Origin:
    """Return a place in a definition, for a layer."""
    return Origin(file="/project/definition.py", line=line, folder="/project")


def command_secrets(nonce: str) -> tuple[Secret, Secret, Secret]:
    """Return secrets given as a variable, as a file, and as a file from a variable."""
    return (
        Secret(f"conformance-{nonce}", as_env_var="CONFORMANCE_TOKEN"),
        Secret(f"conformance-file-{nonce}", mount="/run/secrets/conformance-file"),
        Secret(f"conformance-{nonce}", group="group", mount="/run/conformance/token"),
    )
