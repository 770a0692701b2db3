"""``make bench``: imagekit beside BuildKit, whole processes, in one run on one machine.

Both build and push the same thing to the same loopback registry: a Python base, ten
requirements (34 distributions or so), 200 source files. BuildKit gets the Dockerfile
that an expert would write: uv, a cache mount, bind mounts, linked copies. Each figure
is the median of the rounds, which alternate between the two.

    python benchmarks/bench.py [--rounds N] [--write docs/benchmarks.md]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "fixtures"))

from machine import debian_base  # noqa: E402
from machine.engine import Engine, start_engine  # noqa: E402
from machine.push import push_layout  # noqa: E402
from machine.registry import Registry  # noqa: E402

REQUIREMENTS = [
    "numpy",
    "pandas",
    "scikit-learn",
    "pyarrow",
    "fastapi",
    "uvicorn",
    "httpx",
    "boto3",
    "requests",
    "pydantic-settings",
]
#: A round adds one of them, so that neither has seen the set before.
ADDED = ["tabulate", "toolz", "termcolor", "xmltodict", "wcwidth", "shellingham"]

DOCKERFILE = """\
# syntax=docker/dockerfile:1
FROM {base}
{apt}ENV VIRTUAL_ENV=/opt/venv PATH=/opt/venv/bin:$PATH UV_LINK_MODE=copy
WORKDIR /app
RUN --mount=type=bind,from=uv,source=uv,target=/bin/uv \\
    --mount=type=bind,source=requirements.txt,target=/tmp/requirements.txt \\
    --mount=type=cache,id=uv,target=/root/.cache/uv \\
    --mount=type=secret,id=ca,target=/run/ca.crt \\
    SSL_CERT_FILE=/run/ca.crt uv venv -q /opt/venv && \\
    SSL_CERT_FILE=/run/ca.crt uv pip install -q -r /tmp/requirements.txt
COPY --link app /app
"""

#: Before the rest, in the rows that say so. hybrid: BuildKit runs this and no more.
APT = """\
RUN --mount=type=cache,id=apt,target=/var/cache/apt,sharing=locked \\
    --mount=type=cache,id=lists,target=/var/lib/apt/lists,sharing=locked \\
    apt-get update -qq && apt-get install -qqy --no-install-recommends tree
"""

IMAGES = """\
from pathlib import Path
from imagekit import Image

image = (
    Image.from_base("docker.io/library/python:3.11-slim-bookworm")
    .clone(name="{name}")
    {apt}.with_pip_packages(*{requirements!r})
    .with_workdir("/app")
    .with_source_folder(Path(__file__).parent / "app", dst="/app")
)
"""


COLD = "cold, downloads at hand"
SAME = "nothing changed"
CHANGED = "one source file changed"
MORE = "one small package added"
HYBRID = "one source file changed, below it apt"
#: Short runs vary, so each round has several.
SHORT = 5


@dataclass
class Measured:
    """What one command took."""

    seconds: float
    peak: int


@dataclass
class Bench:
    """The two builders, and a project folder that both build."""

    engine: Engine
    registry: str
    folder: Path
    round: int = 0
    name: str = ""
    figures: dict[tuple[str, str], list[Measured]] = field(default_factory=dict)

    def project(self, requirements: list[str], *, apt: bool = False) -> None:
        self.name = f"{'apt' if apt else 'plain'}-{self.round}"
        (self.folder / "requirements.txt").write_text("\n".join(requirements) + "\n")
        text = IMAGES.format(
            name=f"bench-{self.name}",
            requirements=tuple(requirements),
            apt='.with_apt_packages("tree")\n    ' if apt else "",
        )
        (self.folder / "images.py").write_text(text)
        base = f"{self.registry}/library/python:3.11-slim-bookworm"
        # The engine carries the frontend that the syntax line would fetch.
        dockerfile = DOCKERFILE.format(base=base, apt=APT if apt else "").split(
            "\n", 1
        )[1]
        (self.folder / "Dockerfile").write_text(dockerfile)

    def edit(self, stamp: str) -> None:
        (self.folder / "app" / "pkg0" / "module0.py").write_text(f"x = {stamp!r}\n")

    def imagekit(self) -> list[str]:
        words = ["build", str(self.folder / "images.py"), "--push", "--quiet"]
        words += ["--platform", "linux/amd64"]
        return [str(Path(sys.executable).parent / "imagekit"), *words]

    def buildkit(self, *, cold: bool = False) -> list[str]:
        ca = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
        client = shutil.which("docker", path=self.engine.environment["PATH"])
        assert client is not None
        name = f"{self.registry}/bench-buildkit-{self.name}:latest"
        uv = self.folder.parent / "uv"
        words = ["buildx", "build", "-q", "--push", "-t", name, "--provenance=false"]
        # uv's cache mount stays, as the wheels stay in imagekit's store.
        words += ["--no-cache"] if cold else []
        words += ["--build-context", f"uv={uv}", "--secret", f"id=ca,src={ca}"]
        return [client, *words, str(self.folder)]

    def measure(self, scenario: str) -> None:
        for who, words in (
            ("buildkit", self.buildkit(cold=scenario == COLD)),
            ("imagekit", self.imagekit()),
        ):
            took = run(words, self.environment(who), self.folder)
            if not scenario:
                continue  # only what comes after it is of interest
            self.figures.setdefault((scenario, who), []).append(took)
            line = f"round {self.round} {scenario:<38} {who:<9} {took.seconds:7.2f} s"
            print(line, f"{took.peak / 1e6:6.0f} MB", file=sys.stderr, flush=True)

    def environment(self, who: str) -> dict[str, str]:
        if who == "buildkit":
            return dict(self.engine.environment)
        # Installed packages have their bytecode beside them; so must a checkout.
        kept = dict(os.environ)
        kept.pop("PYTHONDONTWRITEBYTECODE", None)
        return {
            **kept,
            **self.engine.environment,
            "IMAGEKIT_REGISTRY": self.registry,
            "IMAGEKIT_REGISTRY_MIRRORS": f"docker.io={self.registry}",
            "IMAGEKIT_CACHE_DIR": str(self.folder.parent / "store"),
        }

    def forget_layers(self) -> None:
        """Drop what imagekit has made, and keep its wheels."""
        run(
            [self.imagekit()[0], "cache", "gc", "--layers", "--quiet"],
            self.environment("imagekit"),
            self.folder,
        )


#: Runs a command from a small process: a child's peak memory includes its parent's
#: at the fork, so ours must not be the parent.
TRAMPOLINE = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
code = subprocess.call(sys.argv[2:], stdout=2, stdin=subprocess.DEVNULL)
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
with open(sys.argv[1], "w") as file:
    json.dump({"code": code, "seconds": seconds, "peak": peak}, file)
"""


def run(words: list[str], environment: dict[str, str], folder: Path) -> Measured:
    """Run a command to its end; return its time and peak memory."""
    with tempfile.NamedTemporaryFile() as report, tempfile.TemporaryFile() as talk:
        trampoline = [sys.executable, "-S", "-c", TRAMPOLINE, report.name]
        subprocess.run(
            [*trampoline, *words],
            check=True,
            env=environment,
            cwd=folder,
            stdout=talk,
            stderr=subprocess.STDOUT,
        )
        found = json.load(report)
        if found["code"] != 0:
            talk.seek(0)
            raise SystemExit(f"{words} failed:\n{talk.read().decode()[-3000:]}")
    return Measured(found["seconds"], found["peak"])


def make_sources(folder: Path) -> None:
    """Write 200 source files of a few kilobytes."""
    for package in range(10):
        home = folder / "app" / f"pkg{package}"
        home.mkdir(parents=True)
        for module in range(20):
            body = "".join(f"def f{n}(x):\n    return x + {n}\n" for n in range(60))
            (home / f"module{module}.py").write_text(f"# {package} {module}\n{body}")


def bench(rounds: int) -> Bench:
    with tempfile.TemporaryDirectory(prefix="imagekit-bench-") as text:
        folder = Path(text) / "project"
        folder.mkdir()
        make_sources(folder)
        uv = Path(text) / "uv"
        uv.mkdir()
        shutil.copy(Path(sys.executable).parent / "uv", uv / "uv")
        with start_engine("containerd") as engine, Registry() as registry:
            layout = debian_base.base_layout()
            push_layout(layout, registry.address, debian_base.NAME, debian_base.TAG)
            made = Bench(engine=engine, registry=registry.address, folder=folder)
            warm_up(made)
            for number in range(1, rounds + 1):
                one_round(made, number)
            return made


def warm_up(made: Bench) -> None:
    """Fill uv's cache in the engine and the wheels in the store, outside the clock."""
    print("warming up: downloads for both", file=sys.stderr, flush=True)
    for apt in (False, True):
        made.project([*REQUIREMENTS, *ADDED], apt=apt)
        for who, words in (
            ("buildkit", made.buildkit()),
            ("imagekit", made.imagekit()),
        ):
            run(words, made.environment(who), made.folder)


def one_round(made: Bench, number: int) -> None:
    made.round = number
    made.forget_layers()
    edits = itertools.count()
    added = ADDED[number % len(ADDED)]
    steps: list[tuple[str, int, Callable[[], None]]] = [
        (COLD, 1, lambda: made.project(REQUIREMENTS)),
        (SAME, SHORT, lambda: None),
        (CHANGED, SHORT, lambda: made.edit(f"round {number} {next(edits)}")),
        (MORE, 1, lambda: made.project([*REQUIREMENTS, added])),
        ("", 1, lambda: made.project(REQUIREMENTS, apt=True)),
        (HYBRID, SHORT, lambda: made.edit(f"round {number} {next(edits)}")),
    ]
    for scenario, times, prepare in steps:
        for _ in range(times):
            prepare()
            made.measure(scenario)


def startup(words: list[str]) -> float:
    """Return the median of ten runs of a small command, in milliseconds."""
    taken = []
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    for _ in range(10):
        began = time.perf_counter()
        subprocess.run(words, check=True, capture_output=True, env=environment)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000


def table(made: Bench) -> str:
    """Return the figures as Markdown."""
    lines = [
        "| step | BuildKit | imagekit | factor | imagekit's peak memory |",
        "|---|---|---|---|---|",
    ]
    for scenario in dict.fromkeys(name for name, _ in made.figures):
        theirs = median(made.figures[scenario, "buildkit"])
        ours = median(made.figures[scenario, "imagekit"])
        peak = max(item.peak for item in made.figures[scenario, "imagekit"])
        lines.append(
            f"| {scenario} | {theirs:.2f} s | {ours:.2f} s | {theirs / ours:.1f} x | "
            f"{peak / 1e6:.0f} MB |"
        )
    python = sys.executable
    bare = startup([python, "-c", "pass"])
    imported = startup([python, "-c", "import imagekit; imagekit.Image"]) - bare
    asked = startup([str(Path(python).parent / "imagekit"), "--help"])
    start = (
        f"`import imagekit` with its `Image`: {imported:.0f} ms over bare Python's "
        f"{bare:.0f} ms. `imagekit --help`: {asked:.0f} ms in all."
    )
    lines += ["", start]
    return "\n".join(lines)


def median(items: list[Measured]) -> float:
    return statistics.median(item.seconds for item in items)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path, help="also write the page")
    options = parser.parse_args()
    made = bench(options.rounds)
    found = table(made)
    print(found)
    if options.write:
        machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
        text = PAGE.format(rounds=options.rounds, machine=machine, table=found)
        options.write.write_text(text + other_sections(options.write))


def other_sections(page: Path) -> str:
    """Return what else is on the page, which other programs have measured."""
    if not page.exists():
        return ""
    _, heading, rest = page.read_text().partition("\n## ")
    return heading + rest


PAGE = """\
# Benchmarks

Made by `make bench` ({machine}, medians of {rounds} rounds). Whole processes, side by side in one run: each builds and pushes a Debian
base with Python 3.11, ten requirements with all that they need (34 distributions or so), and 200 source files, for linux/amd64, to a registry on the
loopback interface. BuildKit is Docker 28's, with the Dockerfile that an expert would write (`benchmarks/bench.py`): uv, a cache mount
that is warm, linked copies. Short steps are measured five times a round. In the last row both images begin with a Debian package; imagekit has
BuildKit install it once (`hybrid`) and needs no engine afterwards.

{table}

*Cold* has the downloads at hand: wheels in imagekit's store, uv's cache mount in BuildKit; no layer of either. Memory is the peak
of the imagekit process; what uv takes while resolving is not in it.
"""


if __name__ == "__main__":
    main()
