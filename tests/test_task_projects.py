"""Tasks as people lay them out: packages, scripts, folders; here and in containers.

Each project is a program that prints what it found; it has to print the same in this
process and in containers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest
from machine.engine import Engine

pytestmark = pytest.mark.engine

_IMAGE = 'flyte.Image.from_debian_base(python_version=(3, 11), name="projects")'


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for what need not be made twice."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture
def environ(
    engine: Engine, registry: str, base_layout: Path, shared: Path, tmp_path: Path
) -> dict[str, str]:
    """What a person has in the shell."""
    return {
        **os.environ,
        **(engine.environment or {}),
        "IMAGEKIT_REGISTRY_MIRRORS": f"docker.io={registry}",
        "IMAGEKIT_RECORD_DIR": str(tmp_path / "records"),
        "IMAGEKIT_CACHE_DIR": str(shared / "cache"),
        "REGISTRY": registry,
        "LAYOUT": str(base_layout),
    }


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


def python(
    environ: Mapping[str, str], *words: str, folder: Path, mode: str = "", code: int = 0
) -> str:
    """Run Python, and return what it prints."""
    done = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**environ, "IMAGEKIT_MODE": mode} if mode else dict(environ),
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


_PACKAGE = {
    "pyproject.toml": "",
    "src/pkg/__init__.py": "",
    "src/pkg/inner/__init__.py": "",
    "src/pkg/envs.py": f"""
        import flyte

        image = {_IMAGE}
        left = flyte.TaskEnvironment("left", image=image)
        right = flyte.TaskEnvironment(
            "right", image=image.with_env_vars({{"SIDE": "right"}}), depends_on=[left]
        )
    """,
    "src/pkg/ping.py": """
        from . import pong as other
        from .envs import left
        from .inner.values import Colour, OwnError, Point

        @left.task
        async def ping(count: int) -> list[str]:
            return ["ping"] + (await other.pong(count - 1) if count else [])

        @left.task
        def move(point: Point, colour: Colour) -> Point:
            return Point(point.x + 1, colour, {"was": point.colour})

        @left.task
        def fails(code: int) -> None:
            raise OwnError(code, "on purpose")
    """,
    "src/pkg/pong.py": """
        import os

        from . import ping as other
        from .envs import right

        @right.task
        async def pong(count: int) -> list[str]:
            return ["pong"] + (await other.ping(count - 1) if count else [])
    """,
    "src/pkg/inner/values.py": """
        import enum
        from dataclasses import dataclass, field

        class Colour(enum.Enum):
            RED = 1
            BLUE = "blue"

        @dataclass
        class Point:
            x: int
            colour: Colour = Colour.RED
            more: dict[str, Colour] = field(default_factory=dict)

        class OwnError(Exception):
            def __init__(self, code, why):
                super().__init__(code, why)
                self.code = code
    """,
    "src/pkg/__main__.py": """
        import flyte

        from .inner.values import Colour, OwnError, Point
        from .ping import fails, move, ping

        if __name__ == "__main__":
            print(flyte.run(ping, 2).outputs())
            print(flyte.run(move, Point(1), Colour.BLUE).outputs())
            try:
                flyte.run(fails, 7)
            except OwnError as error:
                print("caught", error.code, error.args)
    """,
    "scripts/go.py": f"""
        import os
        import sys

        import flyte

        sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "src"))
        from pkg.ping import ping

        env = flyte.TaskEnvironment("go", image={_IMAGE})

        @env.task
        async def outer(count: int) -> list[str]:
            return ["go", *await ping(count)]

        if __name__ == "__main__":
            print(flyte.run(outer, 1).outputs())
    """,
}


def test_a_package_whose_modules_call_each_other(
    environ: dict[str, str], tmp_path: Path
) -> None:
    project = tmp_path / "project"
    write(project, _PACKAGE)

    here = python(environ, "-m", "pkg", folder=project / "src", mode="local")
    there = python(environ, "-m", "pkg", folder=project / "src", mode="container")

    assert here == there
    assert here.splitlines() == [
        "['ping', 'pong', 'ping']",
        "Point(x=2, colour=<Colour.BLUE: 'blue'>, more={'was': <Colour.RED: 1>})",
        "caught 7 (7, 'on purpose')",
    ]


def test_files_are_run_from_anywhere(environ: dict[str, str], tmp_path: Path) -> None:
    project = tmp_path / "project"
    write(project, _PACKAGE)
    script = str(project / "scripts" / "go.py")

    assert python(environ, script, folder=Path("/"), mode="container") == (
        "['go', 'ping', 'pong']\n"
    )
    for file, task in (
        ("project/scripts/go.py", "outer"),
        ("project/src/pkg/ping.py", "ping"),
    ):
        shown = python(
            environ,
            *("-m", "imagekit", "run", file, task, "--count", "1", "-q"),
            folder=tmp_path,
            mode="container",
        )
        assert shown.endswith("'ping', 'pong']\n")


_MAIN = f"""
    from __future__ import annotations

    import asyncio
    import datetime as dt
    import enum
    import os
    from dataclasses import dataclass, field
    from pathlib import Path
    from typing import Any, NamedTuple, TypedDict

    import flyte
    import numpy as np
    import pydantic
    from flyte.io import Dir, File

    env = flyte.TaskEnvironment(
        "main", image={_IMAGE}.with_pip_packages("numpy", "pydantic")
    )
    FOLDER = Path(__file__).parent

    class Colour(enum.Enum):
        RED = "red"

    class Model(pydantic.BaseModel):
        name: str
        when: dt.datetime
        colour: Colour

    @dataclass
    class Tree:
        size: int
        below: list[Tree] = field(default_factory=list)

    class Pair(NamedTuple):
        x: int
        y: str

    class Options(TypedDict):
        fast: bool

    class OwnError(Exception):
        def __init__(self, code: int, *, tree: Tree | None = None) -> None:
            super().__init__(f"code {{code}}")
            self.code = code
            self.tree = tree

    @env.task
    async def values(
        model: Model, tree: Tree, pair: Pair, options: Options, array: np.ndarray,
        anything: Any,
    ) -> tuple[Model, Tree, Pair, Options, np.ndarray, Any]:
        assert type(anything) is Tree, type(anything)
        return model, Tree(2, [tree]), pair, options, array * 2, anything

    @env.task
    def raises() -> None:
        try:
            raise OwnError(3, tree=Tree(1))
        except OwnError as error:
            raise ValueError("outer") from error

    @env.task
    async def catches() -> str:
        try:
            await raises.aio()
        except ValueError as error:
            return f"{{error}}, {{error.__cause__!r}}, {{error.__cause__.tree}}"
        return "nothing was raised"

    @env.task
    async def files(file: File, folder: Dir, path: Path) -> tuple[File, Dir, Path]:
        out = Path("out.txt")
        out.write_text(file.open("r").read() + path.read_text())
        made = Path("made")
        made.mkdir(exist_ok=True)
        (made / "names").write_text(",".join(sorted(os.listdir(folder))))
        return File.from_local(out), Dir.from_local(made), out

    @env.task
    def data() -> list[str]:
        return [Path("data/a.txt").read_text(), (FOLDER / "data/a.txt").read_text()]

    @env.task
    async def squares() -> list[str]:
        found = []
        async for item in flyte.map.aio(square, range(4), concurrency=2):
            found.append(repr(item))
        return found + [repr(item) for item in flyte.map(square, [5], group_name="g")]

    @env.task
    def square(number: int) -> int:
        if number == 3:
            raise OwnError(number)
        return number * number

    if __name__ == "__main__":
        run = flyte.with_runcontext(copy_style="all").run
        moment = dt.datetime(2020, 1, 2)
        model = Model(name="a", when=moment, colour=Colour.RED)
        print(
            run(
                values, model, Tree(1), Pair(1, "b"), {{"fast": True}}, np.arange(3),
                anything=Tree(5),
            ).outputs()
        )
        print(asyncio.run(run.aio(catches)).outputs())
        here = FOLDER / "data"
        file, folder, path = run(
            files, File.from_local(here / "a.txt"), Dir.from_local(here), here / "b.txt"
        ).outputs()
        print(file.open("r").read(), os.listdir(folder), path.read_text())
        print(run(data).outputs())
        done = run(squares)
        print(done.outputs())
        for depth, node in done.details().tree().walk():
            print(depth, node.id, node.kind, node.name, node.status)
"""


def test_values_errors_and_files_of_a_script(
    environ: dict[str, str], tmp_path: Path
) -> None:
    project = tmp_path / "project"
    data = {"data/a.txt": "A", "data/b.txt": "B", "pyproject.toml": ""}
    write(project, {"main.py": _MAIN, **data})

    here = python(environ, "main.py", folder=project, mode="local")
    there = python(environ, "main.py", folder=project, mode="container")

    assert here == there
    lines = here.splitlines()
    assert lines[0].startswith("(Model(name='a', when=datetime.datetime(2020, 1, 2, ")
    assert lines[0].endswith("array([0, 2, 4]), Tree(size=5, below=[]))")
    assert lines[1] == "outer, OwnError('code 3'), Tree(size=1, below=[])"
    assert lines[2] == "AB ['names'] AB"
    assert lines[3] == "['A', 'A']"
    assert lines[4] == """['0', '1', '4', "OwnError('code 3')", '25']"""
    assert "1 a0.1 group main.square_map succeeded" in lines
    assert "2 a0.1.4 task main.square failed" in lines
    assert "1 a0.2 group g succeeded" in lines


_IMAGES = """
    import os
    import sys
    from pathlib import Path

    import flyte
    from flyte import Image, TaskEnvironment

    registry = os.environ.get("REGISTRY", "x")
    based = Image.from_base(f"{registry}/library/python:3.11-slim-bookworm")
    folder = Path(__file__).parent
    images = {
        "auto": "auto",
        "reference": f"{registry}/library/python:3.11-slim-bookworm",
        "layers": based.clone(name="based").with_env_vars({"MADE": "of layers"}),
        "dockerfile": Image.from_dockerfile(folder / "Dockerfile", name="written"),
        "layout": "oci:layout",
        "nothing": Image.from_dockerfile(folder / "Dockerfile.empty", name="empty"),
        "missing": f"{registry}/no/such:1",
        "wrong": "oci:no-such-folder",
    }

    def told() -> str:
        return f"{os.environ.get('MADE')} {sys.version_info[:2]}"

    tasks = {
        name: TaskEnvironment(name, image=image).task(told)
        for name, image in images.items()
    }
    if __name__ == "__main__":
        for name, task in tasks.items():
            try:
                print(name, flyte.run(task).outputs())
            except flyte.errors.BaseRuntimeError as error:
                print(name, type(error).__name__, error, error.hint)
"""


def test_images_of_every_kind(
    environ: dict[str, str], tmp_path: Path, engine: Engine, base_layout: Path
) -> None:
    base = f"{environ['REGISTRY']}/library/python:3.11-slim-bookworm"
    write(
        tmp_path,
        {
            "images.py": _IMAGES,
            "pyproject.toml": "",
            "Dockerfile": f"FROM {base}\nENV MADE=by-docker\nRUN true\n",
            "Dockerfile.empty": "FROM scratch\nCOPY hello /hello\n",
            "hello": "hello",
        },
    )
    (tmp_path / "layout").symlink_to(base_layout)
    before = engine.docker("ps", "--all", "--quiet")

    shown = python(environ, "images.py", folder=tmp_path, mode="container")

    lines = dict(line.split(" ", 1) for line in shown.splitlines() if " " in line)
    assert lines["auto"] == "None (3, 11)"
    assert lines["reference"] == lines["layout"] == "None (3, 11)"
    assert lines["layers"] == "of layers (3, 11)"
    assert lines["dockerfile"] == "by-docker (3, 11)"
    assert lines["nothing"].startswith("RuntimeSystemError no Python can be started")
    assert "no image" in lines["missing"]
    assert f"{tmp_path}/images.py" in lines["missing"]
    # A relative path starts in the folder of the file that defines the environment.
    assert "wrong ImageBuildError" in shown
    assert f"{tmp_path}/no-such-folder" in shown
    assert engine.docker("ps", "--all", "--quiet") == before


@pytest.mark.parametrize(
    ("body", "start", "match"),
    [
        ("return 1", "flyte.run(task)", "below if __name__ == '__main__'"),
        ("import late\n    return 1", "", "import it at the top of a module"),
        ("return len(open('data.txt').read())", "", "send all with copy_style='all'"),
    ],
    ids=["starts a run", "module", "file"],
)
def test_what_containers_lack_is_said(
    environ: dict[str, str], tmp_path: Path, body: str, start: str, match: str
) -> None:
    text = (
        f"import flyte\nenv = flyte.TaskEnvironment('lacking', image={_IMAGE})\n"
        f"@env.task\ndef task() -> int:\n    {body}\n{start}\n"
    )
    (tmp_path / "program.py").write_text(text)
    (tmp_path / "late.py").write_text("")
    (tmp_path / "data.txt").write_text("x")
    start = "" if start else "if __name__ == '__main__':\n    flyte.run(task)\n"
    with (tmp_path / "program.py").open("a") as file:
        file.write(start)

    shown = python(environ, "program.py", folder=tmp_path, mode="container", code=1)

    assert match in shown
    assert "imagekit/running" not in shown
    view = python(environ, "-m", "imagekit", "runs", "--json", folder=tmp_path)
    assert [item["status"] for item in json.loads(view)["runs"]] == ["failed"]
