"""Containers and pickled flows as environments."""

from __future__ import annotations

import builtins
import json
import pickle
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import python_on_whales
from cryptography.fernet import Fernet
from engine_plans import reach
from machine.engine import Engine
from wheel_maker import make_wheel

from imagekit import Image, Secret
from imagekit.errors import (
    DefinitionError,
    InvalidReferenceError,
    LayoutError,
    PlanError,
)
from imagekit.prefect_environments import (
    ContainerEnvironment,
    Environment,
    Flow,
    PickleEnvironment,
    PickleRefusedError,
)
from imagekit.task_errors import (
    ImagePullBackOffError,
    InitializationError,
    RuntimeSystemError,
    RuntimeUserError,
)

VALUE = "s3cret 'value' \"with\" $HOME \\ and\na second line"


class Numbers:
    """A flow that adds numbers."""

    def __init__(self, *numbers: int) -> None:
        self.name = "numbers"
        self.numbers = list(numbers)

    def serialize(self) -> dict[str, Any]:
        return {"name": self.name, "numbers": self.numbers}

    def run(self) -> int:
        self.numbers.append(0)
        return sum(self.numbers) + len(self.numbers)


class Trap:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def test_the_base_has_nothing_to_build() -> None:
    environment = Environment(secrets=["token", Secret("other", mount="/etc/other")])

    assert [secret.key for secret in environment.secrets] == ["token", "other"]
    with pytest.raises(NotImplementedError, match="ContainerEnvironment"):
        environment.build()


# Pickles --------------------------------------------------------------------------


def test_a_flow_is_pickled_and_run() -> None:
    environment = PickleEnvironment()
    flow = Numbers(1, 2)
    assert isinstance(flow, Flow)

    built = environment.build(flow)

    assert environment.info(built) == {"name": "numbers", "numbers": [1, 2]}
    # Each run begins with the flow as it was built.
    assert [environment.run(), environment.run()] == [6, 6]
    assert b"numbers" not in built
    assert Fernet(environment.encryption_key).decrypt(built)


def test_a_key_opens_what_it_closed_elsewhere() -> None:
    key = Fernet.generate_key()
    built = PickleEnvironment(key.decode()).build(Numbers(3))
    other = PickleEnvironment(encryption_key=key)

    assert other.encryption_key == key
    assert other.info(built)["numbers"] == [3]
    assert other.run() == 5


def test_a_flow_of_another_program(tmp_path: Path) -> None:
    key = Fernet.generate_key().decode()
    program = """
import sys
from imagekit.prefect_environments import PickleEnvironment
class Hello:
    name = "hello"
    def serialize(self): return {"name": self.name}
    def run(self): return "hello from elsewhere"
sys.stdout.buffer.write(PickleEnvironment(sys.argv[1]).build(Hello()))
"""
    done = subprocess.run([sys.executable, "-c", program, key], capture_output=True)
    environment = PickleEnvironment(key)

    assert environment.info(done.stdout) == {"name": "hello"}
    assert environment.run() == "hello from elsewhere"


def test_nothing_is_unpickled_without_the_key(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    trap = pickle.dumps(Trap(mark))
    environment = PickleEnvironment()
    foreign = Fernet(Fernet.generate_key()).encrypt(trap)
    own = Fernet(environment.encryption_key).encrypt(trap)
    changed = own[:-10] + bytes(reversed(own[-10:]))

    for bad in (foreign, changed, trap, b"", own[:-1]):
        with pytest.raises(PickleRefusedError, match="refused to unpickle"):
            environment.info(bad)
    with pytest.raises(PickleRefusedError):
        environment.info(None)  # type: ignore[arg-type]
    assert not mark.exists()
    # With the key it is unpickled: that is what the key is for.
    with pytest.raises(TypeError, match="wanted a flow"):
        environment.info(own)
    assert mark.exists()


def test_what_is_no_flow() -> None:
    environment = PickleEnvironment()
    for value in (1, {"name": "x"}, Numbers):
        with pytest.raises(TypeError, match="wanted a flow"):
            environment.build(value)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="wanted a flow"):
            environment.info(
                Fernet(environment.encryption_key).encrypt(pickle.dumps(value))
            )
    flow = Numbers()
    flow.numbers = (number for number in [1])  # type: ignore[assignment]
    with pytest.raises(TypeError, match="can't pickle the flow 'numbers'"):
        environment.build(flow)
    with pytest.raises(RuntimeUserError, match="wanted a flow to run, found none"):
        environment.run()


def test_a_flow_that_says_nothing_of_itself() -> None:
    class Silent(Numbers):
        def serialize(self) -> dict[str, Any]:
            return ["no dict"]  # type: ignore[return-value]

    environment = PickleEnvironment()
    with pytest.raises(TypeError, match="wanted a dict from serialize"):
        environment.info(environment.build(Silent()))


@pytest.mark.parametrize("key", ["", "short", b"x" * 44, 7])
def test_what_is_no_key(key: Any) -> None:
    with pytest.raises(DefinitionError, match="wanted an encryption key") as caught:
        PickleEnvironment(key)
    assert "short" not in str(caught.value)


def test_packages_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = PickleEnvironment()
    import_ = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("cryptography"):
            raise ImportError(name)
        return import_(name, *args, **kwargs)

    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(InitializationError, match="'cloudpickle'") as caught:
        environment.build(Numbers())
    assert caught.value.hint == "pip install 'imagekit[pickle]'"
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(InitializationError, match="'cryptography'"):
        PickleEnvironment()


# Containers -----------------------------------------------------------------------


def test_what_is_no_image() -> None:
    with pytest.raises(TypeError, match="wanted an image as a text"):
        ContainerEnvironment(7)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="python_dependencies"):
        ContainerEnvironment("python:3.11", python_dependencies="six")
    with pytest.raises(InvalidReferenceError):
        ContainerEnvironment("python:3.11", tag="Not A Name")


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    source = b"print('the wheel')\n"
    return make_wheel(tmp_path / "wheels", {"tool.py": source}, name="tool")


@pytest.fixture
def tag(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return a name for an image, which goes with its containers after the test."""
    reach(monkeypatch, engine)
    name = f"imagekit-test-{uuid.uuid4().hex[:12]}"
    yield f"{name}:1"
    containers = engine.docker("ps", "-aq", "--filter", f"ancestor={name}:1").split()
    if containers:
        engine.docker("rm", "-f", *containers)
    engine.docker("image", "rm", "-f", f"{name}:1")


def output_of(container: Any) -> str:
    """Wait for a container's end and return what it printed, and remove it."""
    code = python_on_whales.docker.wait(container)
    text = container.logs()
    container.remove()
    assert code == 0, text
    return str(text)


def first_line(container: str, engine: Engine) -> bytes:
    """Wait for the first line that a container prints, and return it."""
    with subprocess.Popen(
        [engine.client, "logs", "--follow", container],
        env=engine.environment,
        stdout=subprocess.PIPE,
    ) as logs:
        assert logs.stdout is not None
        line = logs.stdout.readline()
        logs.kill()
    return bytes(line)


@pytest.mark.engine
def test_an_image_with_packages(
    base_layout: Path, wheel: Path, tag: str, engine: Engine
) -> None:
    environment = ContainerEnvironment(
        f"oci:{base_layout}", tag=tag, python_dependencies=[str(wheel)]
    )

    image, log = environment.build()
    lines = list(log)

    assert f"docker.io/library/{tag}" in {
        f"docker.io/library/{name}" for name in image.repo_tags
    }
    assert image.id == engine.docker("image", "inspect", "-f", "{{.Id}}", tag).strip()
    assert any("tool" in line for line in lines)
    assert output_of(environment.run(["python3", "-m", "tool"])) == "the wheel\n"
    assert output_of(environment.run("python3 -c 'print(\"a  b\")'")) == "a  b\n"


@pytest.mark.engine
def test_an_image_that_is_there(base_layout: Path, tag: str) -> None:
    environment = ContainerEnvironment(f"oci:{base_layout}", tag)
    environment.pull_image()

    assert output_of(environment.run(["python3", "-c", "print(1)"])) == "1\n"

    again = ContainerEnvironment(f"docker-daemon:{tag}")
    again.pull_image()
    image, log = again.build()
    assert tag in image.repo_tags
    assert list(log) == [f"the engine has {tag}"]


@pytest.mark.engine
def test_an_image_of_imagekit(base_layout: Path, tag: str) -> None:
    image = (
        Image.from_base(f"oci:{base_layout}")
        .clone(name="imagekit-test-prefect")
        .with_env_vars({"GREETING": "hi"})
    )
    environment = ContainerEnvironment(image, tag)

    code = "import os; print(os.environ['GREETING'])"
    assert output_of(environment.run(["python3", "-c", code])) == "hi\n"


@pytest.mark.engine
def test_with_a_terminal_a_container_stays(
    base_layout: Path, tag: str, engine: Engine
) -> None:
    environment = ContainerEnvironment(f"oci:{base_layout}", tag)
    container = environment.run(["python3"], tty=True)

    try:
        assert container.config.tty
        assert container.state.running
        # Without one, Python finds the end of its input and ends.
        assert output_of(environment.run(["python3"])) == ""
        assert (
            engine.docker("inspect", "-f", "{{.State.Running}}", container.id)
            == "true\n"
        )
    finally:
        container.remove(force=True)


@pytest.mark.engine
def test_secrets_reach_the_program_and_nothing_else(
    base_layout: Path, tag: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM_TOKEN", VALUE)
    secrets: list[str | Secret] = [
        Secret("token", group="team"),
        Secret("token", group="team", mount="/etc/app/to ken"),
    ]
    environment = ContainerEnvironment(f"oci:{base_layout}", tag, secrets=secrets)
    code = (
        "import json, os, time, pathlib;"
        "value = os.environ['TEAM_TOKEN'];"
        "file = pathlib.Path('/etc/app/to ken').read_text();"
        "print(json.dumps([value == file, len(value), os.getpid()]), flush=True);"
        "time.sleep(600)"
    )
    _, log = environment.build()
    container = environment.run(["python3", "-c", code])

    try:
        line = first_line(container.id, engine)
        inspected = engine.docker("inspect", container.id)
        top = engine.docker("top", container.id)
        image = engine.docker("image", "inspect", tag)
        history = engine.docker("history", "--no-trunc", tag)
        diff = engine.docker("diff", container.id)
        exported = subprocess.run(
            [engine.client, "export", container.id],
            env=engine.environment,
            capture_output=True,
        ).stdout
    finally:
        container.remove(force=True)

    assert json.loads(line) == [True, len(VALUE), 1]
    piece = VALUE.splitlines()[0]
    told = [inspected, top, image, history, diff, *log]
    assert not [text for text in told if "s3cret" in text or piece in text]
    assert b"s3cret" not in exported
    assert "/etc/app" in diff


@pytest.mark.engine
def test_secrets_keep_the_image_s_own_command(
    base_layout: Path, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "x")
    environment = ContainerEnvironment(f"oci:{base_layout}", tag, secrets=["token"])

    # The base's command is python3, which ends with its input.
    assert output_of(environment.run()) == ""


@pytest.mark.engine
def test_a_secret_without_a_value_starts_nothing(
    base_layout: Path, tag: str, engine: Engine
) -> None:
    environment = ContainerEnvironment(f"oci:{base_layout}", tag, secrets=["absent"])
    environment.build()

    with pytest.raises(PlanError, match="no value for the secret 'absent'"):
        environment.run()
    assert not engine.docker("ps", "-aq", "--filter", f"ancestor={tag}")


@pytest.mark.engine
def test_a_container_that_takes_no_secrets_is_removed(
    base_layout: Path, tag: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "x")
    environment = ContainerEnvironment(f"oci:{base_layout}", tag, secrets=["token"])
    environment.build()
    began = time.monotonic()
    # As in an image without the tools that it takes.
    broken = ("/bin/sh", ["-c", "exit 3"])
    monkeypatch.setattr(
        "imagekit.prefect_environments.container_environment.waiting_command",
        lambda argv: broken,
    )

    with pytest.raises(RuntimeSystemError, match="the container took no secrets"):
        environment.run()
    assert time.monotonic() - began < 30
    assert not engine.docker("ps", "-aq", "--filter", f"ancestor={tag}")


@pytest.mark.engine
def test_pulls(registry: str, engine: Engine, tag: str) -> None:
    name = f"{registry}/library/python:3.11-slim-bookworm"
    environment = ContainerEnvironment(name, tag)
    environment.pull_image()
    try:
        engine.docker("image", "inspect", name)
        image, log = environment.build()
        assert {name, tag} <= set(image.repo_tags)
        assert list(log) == [f"the engine has {name}"]
    finally:
        engine.docker("image", "rm", name)

    _, log = environment.build()
    assert list(log) == [f"pulled {name}"]
    engine.docker("image", "rm", name)


@pytest.mark.engine
def test_what_can_not_be_pulled(
    registry: str, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(monkeypatch, engine)
    for name in (f"{registry}/no/such:1", "docker-daemon:no-such-image:1"):
        with pytest.raises(ImagePullBackOffError, match="can't pull"):
            ContainerEnvironment(name).pull_image()
    with pytest.raises(LayoutError):
        ContainerEnvironment(f"oci:{tmp_path}").pull_image()
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text("FROM scratch\n")
    with pytest.raises(ImagePullBackOffError, match="it is a Dockerfile"):
        ContainerEnvironment(Image.from_dockerfile(dockerfile, name="x")).pull_image()


@pytest.mark.engine
def test_dockerfile(
    registry: str, wheel: Path, tag: str, engine: Engine, tmp_path: Path
) -> None:
    environment = ContainerEnvironment(
        f"{registry}/library/python:3.11-slim-bookworm",
        python_dependencies=[str(wheel)],
    )
    folder = tmp_path / "new" / "context"

    environment.create_dockerfile(folder)

    text = (folder / "Dockerfile").read_text()
    assert "FROM " in text
    assert registry in text
    engine.docker("build", "--tag", tag, str(folder))
    out = engine.docker("run", "--rm", tag, "python3", "-m", "tool")
    assert out == "the wheel\n"


@pytest.mark.engine
def test_a_dockerfile_in_the_working_directory(
    registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"{registry}/library/python:3.11-slim-bookworm"

    ContainerEnvironment(name).create_dockerfile()

    assert "FROM " in (tmp_path / "Dockerfile").read_text()


@pytest.mark.engine
def test_a_dockerfile_replaces_an_earlier_one_and_nothing_else(
    registry: str, wheel: Path, tmp_path: Path
) -> None:
    name = f"{registry}/library/python:3.11-slim-bookworm"
    environment = ContainerEnvironment(name, python_dependencies=[str(wheel)])
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    environment.create_dockerfile(folder)
    first = sorted(path.name for path in folder.iterdir())
    (folder / "venv" / "stale").write_text("of an earlier image")

    environment.create_dockerfile(folder)

    assert sorted(path.name for path in folder.iterdir()) == first
    assert {"Dockerfile", "mine.txt", "venv"} <= set(first)
    assert not (folder / "venv" / "stale").exists()
    (folder / "Dockerfile").write_text("FROM mine\n")
    with pytest.raises(PlanError, match=r"there is 'Dockerfile' in .* already"):
        environment.create_dockerfile(folder)
    assert (folder / "Dockerfile").read_text() == "FROM mine\n"
    assert sorted(path.name for path in folder.iterdir()) == first


@pytest.mark.engine
def test_a_dockerfile_on_a_layout_says_what_it_needs(
    base_layout: Path, tmp_path: Path, tag: str, engine: Engine
) -> None:
    environment = ContainerEnvironment(f"oci:{base_layout}")

    environment.create_dockerfile(tmp_path)

    text = (tmp_path / "Dockerfile").read_text()
    found = re.search(r"--build-context (\S+)FOLDER(\S+)\.$", text, re.MULTILINE)
    assert found is not None
    context = f"{found[1]}{base_layout}{found[2]}"
    folder = str(tmp_path)
    engine.docker("buildx", "build", "--build-context", context, "-t", tag, folder)
    assert engine.docker("run", "--rm", tag, "python3", "-c", "print(1)") == "1\n"
